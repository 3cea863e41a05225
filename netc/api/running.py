"""Compiled programs made ready to run: read, on a backend, with weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.api.compiled import is_compiled
from netc.api.kinds import PROGRAM, of_another_kind
from netc.api.listener import Told
from netc.api.train_choices import WeightChoices
from netc.errors import DeviceError, Diagnostic, PlanError, UsageError, clip
from netc.ir.facts import SHARDED
from netc.ir.load import read_bundle
from netc.ir.optimizers import AVERAGE
from netc.ir.plain import TextError
from netc.ir.program import Bundle, Launch
from netc.ir.programs import TRAIN
from netc_kernels import cpu
from netc_runtime.choose import (
    BackendChoice,
    choose_backend,
    open_backend,
    why_not_cuda,
)
from netc_runtime.io.checkpoint import latest, meta_of
from netc_runtime.io.problems import data_error, unreadable
from netc_runtime.io.weights import Tensors, read_weights
from netc_runtime.launch.ranks import Ranks
from netc_runtime.making import silent
from netc_runtime.named import problem_of
from netc_runtime.session import Session
from netc_runtime.train.resume import changed


def read_program(path: Path) -> Bundle:
    """A compiled program, fit to be run.

    Raises DataError where the file cannot be read (E061), or is not what this version of netc
    makes (E073); UsageError (E057) for a file that is by its suffix something else.
    """
    if not is_compiled(path) and (other := of_another_kind(path, PROGRAM)):
        raise UsageError(other)
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


@dataclass(frozen=True, slots=True)
class RunChoices:
    """By what a program is run."""

    backend: str | None = None
    """The one that it was compiled for, or "null"; None is the former."""
    share_gpus: bool = False
    no_graph: bool = False


def choose(bundle: Bundle, choices: RunChoices) -> BackendChoice:
    """The backend for a bundle: the one it was compiled for, or null.

    Raises DeviceError where it cannot run here, or another is asked for.
    """
    target, devices = bundle.facts.target, bundle.train.mesh.size
    asked = choices.backend or target
    if asked not in (target, "null"):
        message = f"the program was compiled for the {target} backend."
        hint = f"compile it with '--backend {asked}'."
        raise DeviceError(Diagnostic("E071", message, help=hint))
    precision = bundle.facts.precision
    choice = choose_backend(
        asked, devices, precision, choices.share_gpus, graph=not choices.no_graph
    )
    if choices.backend is not None:
        return choice
    lacking = why_not_cuda(devices, precision, choices.share_gpus)
    here = "GPUs are visible" if target == "cuda" else "the program was compiled for it"
    return replace(choice, reason=lacking or here)


def check_trains(bundle: Bundle) -> None:
    """Raise UsageError (E051) for a program that was planned for inference: neither its splits nor
    its memory are those of a training. PlanError (E040) where its batch cannot be trained.
    """
    if bundle.facts.goal != TRAIN:
        message = f"'{bundle.facts.network}' was planned for inference, and does not train."
        hint = "plan it for training: leave out '--goal inference'."
        raise UsageError(Diagnostic("E051", message, help=hint))
    _check_groups(bundle)


def _check_groups(bundle: Bundle) -> None:
    """Raise PlanError (E040) for a program of a batch by which its network cannot be trained."""
    batch = bundle.facts.batch
    for launch in bundle.train.instructions:
        for step in launch.steps if isinstance(launch, Launch) else ():
            if batch % (group := step.attributes.get("group", 1)):
                message = f"bn '{launch.layer}': groups of {group} images do not divide the batch, "
                hint = "compile the program for training."
                raise PlanError(Diagnostic("E040", f"{message}which is {batch}.", help=hint))


def kernel_notes(bundle: Bundle) -> Iterator[str]:
    """What there is to say, before a session is opened, where what runs then is slow."""
    lacking = cpu.available()
    if lacking and bundle.facts.kernels == "fast":
        yield f"{lacking}, so NumPy's kernels run, which are several times slower."


def open_session(
    choice: BackendChoice, bundle: Bundle, ranks: Ranks | None, training: bool = True,
    told: Told = silent,
) -> Session:  # fmt: skip
    """A session on the devices of this process; what takes long is `told`."""
    return Session(bundle, open_backend(choice, bundle, ranks, training, told), training)


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
    choices: WeightChoices, bundle: Bundle, file: Path, told: Told, evaluates: bool = False
) -> Tensors:
    """The weights and running statistics that a file has for a network; with `evaluates` the
    moving averages too that evaluation reads. What is left out is told.

    Raises DataError or UsageError as `read_weights`.
    """
    names = bundle.facts.torch_names
    wanted = {port.name: port.shape for port in bundle.train.state if port.name in names}
    averages = {port.name for port in bundle.eval.state if port.name.endswith(AVERAGE)}
    return read_weights(
        file, wanted, names, list(choices.allow_missing), list(choices.allow_unexpected), told,
        averages if evaluates else None,
    )  # fmt: skip


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


def restored_session(
    choice: BackendChoice,
    bundle: Bundle,
    ranks: Ranks | None,
    weights: Tensors,
    training: bool = False,
    told: Told = silent,
) -> Session:
    """A session with weights, which are the same in all processes; initial ones where some lack.
    What takes long is `told`.
    """
    session = open_session(choice, bundle, ranks, training, told)
    try:
        if training or not bundle.facts.torch_names.keys() <= weights.keys():
            session.initialize(bundle.facts.seed)
        session.restore(weights)
    except BaseException:
        session.close()
        raise
    return session


def describe(bundle: Bundle, choice: BackendChoice) -> str:
    """Two lines that say what runs where."""
    facts = bundle.facts
    scheme = f", scheme {facts.scheme}" if facts.scheme else ""
    devices = bundle.train.mesh.size
    many = f"{devices} device{'s' * (devices > 1)}"
    updates = f", updates {SHARDED}" if facts.updates == SHARDED else ""
    how = f"strategy {facts.strategy}{scheme}{updates}, batch {facts.batch}, {facts.precision}"
    return f"network   {facts.network}: {many}, {how}\nbackend   {choice.name} ({choice.reason})"


__all__ = [
    "RunChoices", "Session", "changes_since", "changes_text", "check_trains", "choose", "describe",
    "find_weights", "given_weights", "kernel_notes", "open_session", "read_program",
    "restored_session",
]  # fmt: skip
