"""What `run`, `eval` and `predict` share: a bundle, its devices, and weights."""

from __future__ import annotations

import argparse
import io
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path

from netc.api.compiled import is_compiled
from netc.cli.output import note
from netc.errors import DeviceError, Diagnostic, NetError, UsageError, clip, render
from netc.ir.facts import SHARDED
from netc.ir.load import read_bundle
from netc.ir.optimizers import AVERAGE
from netc.ir.plain import TextError
from netc.ir.program import Bundle
from netc_kernels import cpu
from netc_runtime.choose import (
    BackendChoice,
    choose_backend,
    join_ranks,
    open_backend,
    why_not_cuda,
)
from netc_runtime.io.checkpoint import latest, meta_of
from netc_runtime.io.problems import data_error, unreadable
from netc_runtime.io.weights import Tensors, read_weights
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.named import problem_of
from netc_runtime.session import Session
from netc_runtime.train.resume import changed

EXIT_INTERRUPTED = 130


def load_bundle(options: argparse.Namespace, images: int | None = None) -> Bundle:
    """A compiled program as it is, or a network compiled now; `images` bounds the batch."""
    path = Path(options.network)
    notes: tuple[str, ...] = ()
    if path.is_file() and is_compiled(path):
        bundle = _compiled(path, options)
    else:
        # Imported here: a compiled program needs no compiler.
        from netc.api.build import advice
        from netc.cli.common import build, request

        asked = request(options, images)
        bundle, compiled = build(asked, options)
        notes = compiled.notes
        if options.verb == "run" and not options.json:
            notes += advice(asked, compiled)
    for text in () if options.json else notes:
        note(text)
    return bundle


def note_kernels(options: argparse.Namespace, bundle: Bundle) -> None:
    """Say, before a session is opened, where that takes long or what runs then is slow."""
    lacking, tell = cpu.available(), teller(options)
    if lacking and bundle.facts.kernels == "fast":
        tell(f"{lacking}, so NumPy's kernels run, which are several times slower.")
    elif bundle.facts.threads and not cpu.compiled():
        tell("kernels are compiled for this machine now, once; it may take two minutes.")


def _compiled(path: Path, options: argparse.Namespace) -> Bundle:
    """Read a compiled program; what was fixed when it was compiled cannot be changed now."""
    bundle = read_program(path)
    _check_fixed(bundle, options)
    return bundle


def read_program(path: Path) -> Bundle:
    """A compiled program, fit to be run.

    Raises DataError where the file cannot be read (E061), or is not what this version of netc
    makes (E073).
    """
    try:
        bundle = read_bundle(path.read_bytes())
        if problem := problem_of(bundle):
            raise TextError(problem)
    except OSError as error:
        raise unreadable(path, error) from None
    except TextError as error:
        message = f"'{path}' is not a whole compiled program: {clip(str(error), 400)}."
        hint = "compile it again with this version of netc."
        raise data_error("E073", message, hint) from None
    return bundle


def _check_fixed(bundle: Bundle, options: argparse.Namespace) -> None:
    facts = bundle.facts
    asked = {
        "batch": options.batch, "strategy": options.strategy, "scheme": options.scheme,
        "precision": options.precision, "fc_update": options.fc_update, "mesh": options.mesh,
        "devices": options.devices, "pin": options.pin or None, "define": options.define or None,
        "set": options.set or None,
        "cluster": options.cluster, "save_strategy": options.save_strategy,
        "kernels": options.kernels, "search_labels": options.search_labels,
        "no_share": options.no_share or None,
        "memory": options.memory, "updates": options.updates, "recompute": options.recompute,
    }  # fmt: skip
    fixed = {
        "batch": facts.batch, "strategy": facts.strategy, "scheme": facts.scheme,
        "precision": facts.precision, "fc_update": facts.fc_update, "kernels": facts.kernels,
        "mesh": "x".join(map(str, facts.mesh)), "devices": bundle.train.mesh.size,
        "updates": facts.updates,
    }  # fmt: skip
    problems = []
    for name, value in asked.items():
        if value is not None and value != fixed.get(name):
            option = {"define": "-D"}.get(name, "--" + name.replace("_", "-"))
            was = f": it was compiled with {fixed[name]}" if name in fixed else ""
            message = f"'{option}' cannot change a compiled program{was}."
            problems.append(Diagnostic("E057", message, help="compile the network again."))
    if problems:
        raise UsageError(*problems)


def choose(options: argparse.Namespace, bundle: Bundle) -> BackendChoice:
    """The backend for a bundle: the one it was compiled for, or null.

    Raises DeviceError where it cannot run here, or another is asked for.
    """
    target, devices = bundle.facts.target, bundle.train.mesh.size
    asked = options.backend or target
    if asked not in (target, "null"):
        message = f"the program was compiled for the {target} backend."
        hint = f"compile it with '--backend {asked}'."
        raise DeviceError(Diagnostic("E071", message, help=hint))
    precision = bundle.facts.precision
    choice = choose_backend(
        asked, devices, precision, options.share_gpus, graph=not options.no_graph
    )
    if options.backend is not None:
        return choice
    lacking = why_not_cuda(devices, precision, options.share_gpus)
    here = "GPUs are visible" if target == "cuda" else "the program was compiled for it"
    return replace(choice, reason=lacking or here)


Work = Callable[[Ranks | None, Bundle], int]
"""What a process of a run does with its place among the others and the program; the exit code."""


def on_ranks(bundle: Bundle, choice: BackendChoice, work: Work) -> int:
    """Do the work in every process of a run, or in this one alone; the exit code.

    The first process speaks; when one fails, all end with its exit code.
    """
    ranks = join_ranks(bundle, choice)
    if ranks is None:
        return work(None, bundle)
    try:
        with redirect_stdout(io.StringIO()) if ranks.rank else nullcontext():
            code = work(ranks, ranks.agree(bundle))
        ranks.close()
        return code
    except NetError as error:
        ranks.fail(render(error.diagnostics), error.exit_code)
        raise
    except KeyboardInterrupt:
        ranks.fail("", EXIT_INTERRUPTED)
        raise
    except BaseException:
        ranks.fail(traceback.format_exc().rstrip(), 1)
        raise


def open_session(
    choice: BackendChoice, bundle: Bundle, ranks: Ranks | None, training: bool = True
) -> Session:
    """A session on the devices of this process."""
    return Session(bundle, open_backend(choice, bundle, ranks, training), training)


def find_weights(named: str | None, folder: Path) -> Path:
    """The file `named`, the newest checkpoint of the folder `named`, or of `folder` without it.

    Raises DataError (E068) where there is no checkpoint.
    """
    path = folder if named is None else Path(named)
    if named is not None and not path.is_dir():
        return path
    file = latest(path)
    if file is None:
        hint = "train first, with 'netc run', or name a file or folder with '--weights'."
        raise data_error("E068", f"there is no checkpoint in '{path}'.", hint)
    return file


def given_weights(
    options: argparse.Namespace, bundle: Bundle, file: Path, evaluates: bool = False
) -> Tensors:
    """The weights and running statistics that a file has for a network; with `evaluates` the
    moving averages too that evaluation reads.

    Raises DataError or UsageError as `read_weights`.
    """
    names = bundle.facts.torch_names
    wanted = {port.name: port.shape for port in bundle.train.state if port.name in names}
    averages = {port.name for port in bundle.eval.state if port.name.endswith(AVERAGE)}
    return read_weights(
        file, wanted, names, options.allow_missing, options.allow_unexpected, teller(options),
        averages if evaluates else None,
    )  # fmt: skip


def teller(options: argparse.Namespace) -> Callable[[str], None]:
    """Who hears of what is no result: nobody where JSON is asked for."""
    return (lambda _: None) if options.json else note


def changes_text(file: Path, differs: Mapping[str, tuple[str, str]]) -> str:
    """What a run has otherwise than the checkpoint that it reads, in a sentence."""
    told = [
        "the network's layers" if name == "network" else f"{name} ({before}, now {now})"
        for name, (before, now) in differs.items()
    ]
    return f"changed since '{file}' was saved: {', '.join(told)}."


def changes_since(bundle: Bundle, file: Path) -> str:
    """Where a network is no longer the one that a file's weights were trained in, in a sentence;
    nothing where it is.
    """
    given = {f"-D {name}": value for name, value in bundle.facts.parameters}
    differs = changed(meta_of(file), {"network": bundle.facts.text, **given})
    known = {name: pair for name, pair in differs.items() if name == "network" or name in given}
    return changes_text(file, known) if known else ""


def note_changes(options: argparse.Namespace, bundle: Bundle, file: Path) -> None:
    """Say where a network is no longer the one that a file's weights were trained in."""
    changes = changes_since(bundle, file)
    if changes and not options.json:
        note(changes)


def restored_session(
    options: argparse.Namespace,
    choice: BackendChoice,
    bundle: Bundle,
    ranks: Ranks | None,
    file: Path,
) -> Session:
    """A session that does not train, with the weights of a file, which the first process reads."""
    everyone = ranks or Alone()
    read = {} if everyone.rank else given_weights(options, bundle, file, evaluates=True)
    weights = everyone.share_tensors(read)
    note_kernels(options, bundle)
    session = open_session(choice, bundle, ranks, training=False)
    if not bundle.facts.torch_names.keys() <= weights.keys():
        session.initialize(bundle.facts.seed)
    session.restore(weights)
    return session


def out_folder(options: argparse.Namespace, bundle: Bundle) -> Path:
    """Where checkpoints are."""
    return Path(options.out or Path("runs") / bundle.facts.network)


def describe(bundle: Bundle, choice: BackendChoice) -> str:
    """Two lines that say what runs where."""
    facts = bundle.facts
    scheme = f", scheme {facts.scheme}" if facts.scheme else ""
    devices = bundle.train.mesh.size
    many = f"{devices} device{'s' * (devices > 1)}"
    updates = f", updates {SHARDED}" if facts.updates == SHARDED else ""
    how = f"strategy {facts.strategy}{scheme}{updates}, batch {facts.batch}, {facts.precision}"
    return f"network   {facts.network}: {many}, {how}\nbackend   {choice.name} ({choice.reason})"
