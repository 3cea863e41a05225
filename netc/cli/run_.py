"""`netc run`: train a network or a compiled program, with progress, metrics and checkpoints."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

from netc.cli.output import bytes_text, count, json_line, seconds_text
from netc.errors import DataError, Diagnostic, NetError, UsageError, render
from netc.ir.program import Bundle
from netc.ir.text import parse_bundle
from netc_runtime.backend import Backend
from netc_runtime.comm.mpi import Ranks
from netc_runtime.io.problems import data_error, unreadable
from netc_runtime.launch import Choice, choose_backend, join_ranks, open_backend
from netc_runtime.session import Session
from netc_runtime.train.datasets import Dataset, open_dataset
from netc_runtime.train.progress import Progress
from netc_runtime.train.trainer import EpochDone, Finished, StepDone, Trainer, Training

EXIT_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
BUNDLE_HEAD = "netc bundle "


def run(options: argparse.Namespace) -> int:
    """Compile if need be, then train to the end or to an interruption."""
    bundle = _bundle(options)
    choice = choose_backend(options.backend, bundle.train.mesh.size)
    if choice.name == "null":
        return _predict(options, bundle, choice)
    ranks = join_ranks(bundle)
    if ranks is None:
        return _run(options, bundle, choice, None)
    try:
        return _run_rank(options, bundle, choice, ranks)
    except NetError as error:
        print(render(error.diagnostics), file=sys.stderr, flush=True)
        ranks.abort(error.exit_code)
        raise


def _run_rank(options: argparse.Namespace, bundle: Bundle, choice: Choice, ranks: Ranks) -> int:
    """One of several processes: the first one speaks and keeps what is saved."""
    if ranks.rank == 0:
        return _run(options, bundle, choice, ranks)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        return _run(options, bundle, choice, ranks, Path(folder))


def _run(
    options: argparse.Namespace, bundle: Bundle, choice: Choice, ranks: Ranks | None,
    folder: Path | None = None,
) -> int:  # fmt: skip
    """Train; metrics and checkpoints go to `folder` if it is given."""
    training = _training(options, bundle)
    dataset = _dataset(options, bundle)
    backend = open_backend(choice, bundle, ranks)
    own = replace(training, folder=folder or training.folder)
    agree = ranks.any if ranks is not None else bool
    trainer = Trainer(Session(bundle, backend), dataset, own, agree)
    if options.resume is None:
        trainer.initialize()
    else:
        trainer.resume(Path(options.resume) if options.resume else training.folder)
    _announce(options, bundle, choice, backend, dataset, trainer)
    return _train(options, trainer)


def _bundle(options: argparse.Namespace) -> Bundle:
    """A compiled program as it is, or a network compiled now."""
    path = Path(options.network)
    if path.is_file() and _is_compiled(path):
        return _compiled(path, options)
    from netc.cli.common import build, note, request

    asked = request(options)
    bundle, compiled = build(asked, options)
    if not options.json:
        for text in compiled.notes:
            note(text)
    return bundle


def _is_compiled(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(BUNDLE_HEAD)) == BUNDLE_HEAD.encode()


def _compiled(path: Path, options: argparse.Namespace) -> Bundle:
    """Read a compiled program; what was fixed when it was compiled cannot be changed now."""
    try:
        bundle = parse_bundle(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError) as error:
        hint = "compile it again with this version of netc."
        raise data_error(
            "E073", f"'{path}' is not a whole compiled program: {error}.", hint
        ) from None
    facts = dict(bundle.facts)
    mesh = "x".join(map(str, facts["mesh"]))
    asked = {
        "batch": options.batch, "strategy": options.strategy, "scheme": options.scheme,
        "precision": options.precision, "fc_update": options.fc_update, "mesh": options.mesh,
        "devices": options.devices, "pin": options.pin or None, "define": options.define or None,
        "cluster": options.cluster, "save_strategy": options.save_strategy,
    }  # fmt: skip
    fixed = facts | {"devices": bundle.train.mesh.size, "mesh": mesh}
    problems = []
    for name, value in asked.items():
        if value is not None and value != fixed.get(name):
            option = {"define": "-D"}.get(name, "--" + name.replace("_", "-"))
            was = f": it was compiled with {fixed[name]}" if name in fixed else ""
            message = f"'{option}' cannot change a compiled program{was}."
            problems.append(Diagnostic("E057", message, help="compile the network again."))
    if problems:
        raise UsageError(*problems)
    return bundle


def _training(options: argparse.Namespace, bundle: Bundle) -> Training:
    facts = dict(bundle.facts)
    for name in ("epochs", "steps"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise UsageError(Diagnostic("E051", f"'--{name} {number}' must be at least 1."))
    if options.seed is not None and not 0 <= options.seed < 2**63:
        raise UsageError(Diagnostic("E051", f"'--seed {options.seed}' is not in 0 .. 2^63 - 1."))
    return Training(
        epochs=options.epochs or facts["epochs"],
        seed=facts["seed"] if options.seed is None else options.seed,
        rate=facts["lr"] if options.lr is None else options.lr,
        schedule=facts["schedule"],
        augment=facts["augment"],
        folder=Path(options.out or Path("runs") / facts["network"]),
        limit=options.steps,
    )


def _dataset(options: argparse.Namespace, bundle: Bundle) -> Dataset:
    facts = dict(bundle.facts)
    data = facts["data"]
    if options.data is not None:
        data = _call(options.data)
    if data is None:
        hint = "name one with '--data', for example --data 'idx(\"folder\")', or in a train block."
        raise DataError(Diagnostic("E060", "the network names no data set to train on.", help=hint))
    name, args, kwargs = data
    return open_dataset(name, args, kwargs, facts["image"], facts["classes"])


def _call(text: str) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A data set as written in a recipe: name("folder", option=value)."""
    import ast

    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name):
            return tree.id, (), {}
        assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
        args = tuple(ast.literal_eval(a) for a in tree.args)
        return tree.func.id, args, {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
    except (SyntaxError, ValueError, AssertionError):
        message = f"'--data {text}' is not a data set."
        hint = "write it as in a recipe, for example --data 'idx(\"folder\")'."
        raise UsageError(Diagnostic("E051", message, help=hint)) from None


def _announce(
    options: argparse.Namespace, bundle: Bundle, choice: Choice, backend: Backend,
    dataset: Dataset, trainer: Trainer,
) -> None:  # fmt: skip
    """Say what begins: plan, backend, data."""
    facts = dict(bundle.facts)
    if options.json:
        json_line(event="start", **facts, backend=dict(backend.describe()), reason=choice.reason,
                  data_set=dataset.description, steps=trainer.total_steps,
                  resumed_at=trainer.start_step)  # fmt: skip
        return
    scheme = f", scheme {facts['scheme']}" if facts["scheme"] else ""
    devices = bundle.train.mesh.size
    many = f"{devices} device{'s' * (devices > 1)}"
    how = f"strategy {facts['strategy']}{scheme}, batch {facts['batch']}, {facts['precision']}"
    print(f"network   {facts['network']}: {many}, {how}")
    print(f"backend   {choice.name} ({choice.reason})")
    print(f"data      {dataset.description}")
    begins = f"resumed at step {trainer.start_step}" if trainer.start_step else "from the start"
    print(f"training  {trainer.total_steps} steps, {trainer.training.epochs} epochs, {begins}")


@contextmanager
def _interruptible(trainer: Trainer, caught: list[int]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the training after its step; the second ends it at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        trainer.stop = True
        for asked, old in before.items():
            signal.signal(asked, old)

    before: dict[int, Any] = {}
    for known in EXIT_SIGNALS:
        before[known] = signal.signal(known, handle)
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)


def _train(options: argparse.Namespace, trainer: Trainer) -> int:
    caught: list[int] = []
    quiet = options.json
    with (
        _interruptible(trainer, caught),
        Progress(trainer.total_steps, quiet, options.plain) as bar,
    ):
        for event in trainer.run():
            if isinstance(event, StepDone):
                more = {"learning_rate": event.learning_rate}
                bar.update(event.step, event.epoch, event.loss, event.images_per_second, **more)
            elif isinstance(event, EpochDone):
                _epoch(options, bar, event)
            else:
                finished = event
    _finish(options, trainer, finished, caught)
    return EXIT_SIGNALS[signal.Signals(caught[0])] if caught else 0


def _epoch(options: argparse.Namespace, bar: Progress, event: EpochDone) -> None:
    if options.json:
        json_line(event="epoch", **asdict(event))
    else:
        accuracy = f"{100 * event.test_accuracy:.2f} %"
        bar.note(f"epoch {event.epoch:3}  loss {event.loss:.4f}  test accuracy {accuracy}")


def _finish(
    options: argparse.Namespace, trainer: Trainer, event: Finished, caught: list[int]
) -> None:
    dataset = trainer.dataset
    if options.json:
        values = asdict(event) | {"checkpoint": str(event.checkpoint)}
        json_line(event="result", **values, test_images=dataset.test_size,
                  held_out=dataset.description,
                  exposed_seconds=trainer.last_step.exposed_seconds,
                  sent_bytes=_sent(trainer))  # fmt: skip
        return
    if caught:
        print(f"interrupted after step {event.step}; '--resume' goes on from there")
    print(f"test accuracy {100 * event.test_accuracy:.2f} % on {count(dataset.test_size)} held-out "
          f"images, loss {event.test_loss:.4f}, after {event.seconds:.1f} s")  # fmt: skip
    print(f"saved     {event.checkpoint}")


def _sent(trainer: Trainer) -> list[int]:
    """Bytes that each device sent in the last program run."""
    report = trainer.last_step
    return [report.sent(d) for d in range(trainer.session.bundle.train.mesh.size)]


def _predict(options: argparse.Namespace, bundle: Bundle, choice: Choice) -> int:
    """The null backend: one step by the cost model, nothing is trained."""
    report = open_backend(choice, bundle).load(bundle.train).run()
    devices = bundle.train.mesh.size
    sent = [report.sent(d) for d in range(devices)]
    if options.json:
        json_line(event="result", backend="null", test_accuracy=None, step_seconds=report.seconds,
                  exposed_seconds=report.exposed_seconds, sent_bytes=sent)  # fmt: skip
        return 0
    speed = dict(bundle.facts)["batch"] / report.seconds
    print(f"backend   null ({choice.reason}): nothing is computed")
    print(f"step      {seconds_text(report.seconds)} predicted, {count(speed)} images/s, "
          f"{seconds_text(report.exposed_seconds)} not computing")  # fmt: skip
    print(f"sent      {bytes_text(max(sent))} by the device that sends most")
    return 0
