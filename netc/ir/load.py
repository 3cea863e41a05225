"""Program files: the one way in for a bundle that nobody vouches for."""

from __future__ import annotations

from collections.abc import Mapping

from netc.ir.augmentations import mixes
from netc.ir.facts import DTYPES, TARGETS, Facts
from netc.ir.ops.sums import WIDE
from netc.ir.optimizers import RATE, UPDATE, rate_factor
from netc.ir.plain import TextError
from netc.ir.program import Bundle, Launch, Port, Program
from netc.ir.programs import EVAL, INIT, LABEL_INPUTS, LABELS, PART, SHARE, TRAIN
from netc.ir.text import parse_bundle
from netc.ir.verify import VerifyError
from netc.ir.verify_program import verify_bundle


def read_bundle(content: bytes) -> Bundle:
    """The bundle that a file holds: whole, with all its facts, and sound.

    Raises TextError, which names the line or the instruction, where it is none that a compiler
    makes. Nothing but the file's own size decides how much memory and time that takes.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"byte {error.start} is no UTF-8") from None
    bundle = parse_bundle(text)
    check_facts(bundle)
    try:
        verify_bundle(bundle)
    except VerifyError as problem:
        raise TextError(str(problem)) from None
    return bundle


def check_facts(bundle: Bundle) -> None:
    """Raise TextError where the facts contradict each other or the programs."""
    facts = bundle.facts
    precisions, kernels = TARGETS[facts.target]
    if facts.precision not in precisions or facts.kernels not in kernels:
        about = f"precision {facts.precision} and kernels {facts.kernels}"
        raise TextError(f"{about} are not for target {facts.target}")
    if facts.mesh != bundle.train.mesh.shape:
        raise TextError(f"the mesh of the programs is not {facts.mesh}")
    if not facts.torch_names.keys() <= {port.name for port in bundle.init.state}:
        raise TextError("the fact torch_names names what is no weight")
    if (bundle.part is None) != (facts.accumulate == 1):
        raise TextError(f"gradients of {facts.accumulate} batches are added up by no program")
    known = {INIT: bundle.init, TRAIN: bundle.train, PART: bundle.part, EVAL: bundle.eval}
    for name, program in known.items():
        if program is None:
            continue
        if program.name != f"{facts.network}.{name}":
            raise TextError(f"{program.name} is not the program {name} of {facts.network}")
        _check_types(program, DTYPES[facts.precision])
        _check_inputs(program, facts, _filled(name, facts))
        _check_told(program, facts)
    if any(_images(each).keys() != _images(bundle.eval).keys() for each in bundle.programs[1:]):
        raise TextError("training and evaluation have different images")
    for step in (bundle.train, bundle.part or bundle.train):
        _check_outputs(step, {"loss": ()})
    scores = {facts.scores: (facts.batch, facts.classes)}
    _check_outputs(bundle.eval, {"loss_sum": (), "correct": (), **scores})
    if "count" not in {port.name for port in bundle.eval.inputs}:
        raise TextError("evaluation is not told how many images count")


def _check_told(program: Program, facts: Facts) -> None:
    """What kernels are told of the whole: how many images are in a batch, and what shape a tensor
    has that they fill.
    """
    filled = {
        _storage(program, view.buffer): port.shape for port in program.state for view in port.views
    }
    for launch in program.instructions:
        for step in launch.steps if isinstance(launch, Launch) else ():
            added = facts.accumulate if step.operation.startswith("softmax_dx") else 1
            known: dict[str, object] = {"batch": facts.batch * added}
            if step.operation == "init_normal":
                (place,) = {_storage(program, view.buffer) for view in launch.writes[:1]} or {""}
                known["shape"] = filled.get(place)
            for name, wanted in known.items():
                if name in step.attributes and step.attributes[name] != wanted:
                    told = f"{step.operation} with {name} {step.attributes[name]}"
                    raise TextError(f"{program.name}: {told}, not {wanted}")


def _storage(program: Program, buffer: str) -> str:
    """The storage of a buffer by its name; TextError where there is none of that name."""
    if buffer not in program.buffer:
        raise TextError(f"{program.name}: there is no buffer '{buffer}'")
    return program.buffer[buffer].storage


def _check_types(program: Program, floating: set[str]) -> None:
    """Sums between launches may be in float64 whatever the precision is."""
    for b in program.buffers:
        if b.dtype not in {"i64", "u8", WIDE, *floating}:
            raise TextError(f"{program.name}: {b.name} is of {b.dtype}")
    for port in (*program.inputs, *program.outputs, *program.state):
        if port.dtype not in {"i64", "u8", *floating}:
            raise TextError(f"{program.name}: {port.name} is of {port.dtype}")


_FILLED = {
    INIT: ("seed",),
    TRAIN: ("seed", "step", UPDATE, RATE, *LABEL_INPUTS),
    PART: ("seed", "step", *LABEL_INPUTS),
    EVAL: ("count", LABELS),
}
"""The inputs that the runtime fills, by program, besides images, which go with labels."""


def _filled(name: str, facts: Facts) -> tuple[str, ...]:
    """Those of a program: it has further labels only where images are mixed."""
    mixed = mixes(call.name for call in facts.augment)
    return tuple(each for each in _FILLED[name] if mixed or each not in LABEL_INPUTS[1:])


def _check_inputs(program: Program, facts: Facts, filled: tuple[str, ...]) -> None:
    """Every input is one that the runtime fills; images are among them where labels may be."""
    batch, images = (facts.batch,), LABELS in filled
    known = {name: batch if name in LABEL_INPUTS else () for name in filled}
    found = _images(program).values()
    for port in program.inputs:
        name = port.name if rate_factor(port.name) is None else RATE
        shape = (*batch, *port.shape[1:]) if port in found else known.get(name)
        whole = name in known and name not in (RATE, SHARE)
        if port.shape != shape or (port.dtype == "i64") != whole:
            raise TextError(f"{program.name}: no input is {_shown(port)}")
    labels = {port.name for port in program.inputs} & set(LABEL_INPUTS)
    # How many inputs are filled is for data sets to say.
    shapes = [port.shape[1:] for port in found]
    if (facts.image in shapes, bool(shapes)) != (images, images):
        raise TextError(f"{program.name}: its images are {shapes}")
    if labels != set(filled) & set(LABEL_INPUTS):
        raise TextError(f"{program.name}: its labels are {', '.join(sorted(labels)) or 'missing'}")


def _images(program: Program) -> dict[str, Port]:
    """The inputs that are filled with images, by name."""
    others = {name for names in _FILLED.values() for name in names}
    return {p.name: p for p in program.inputs if len(p.shape) == 4 and p.name not in others}


def _check_outputs(program: Program, wanted: Mapping[str, tuple[int, ...]]) -> None:
    ports = {port.name: port for port in program.outputs}
    for name, shape in wanted.items():
        if name not in ports:
            raise TextError(f"{program.name}: it does not put out {name}")
        if ports[name].shape != shape or ports[name].dtype == "i64":
            raise TextError(f"{program.name}: it puts out {_shown(ports[name])}")


def _shown(port: Port) -> str:
    return f"{port.name} {port.dtype}{list(port.shape)}"
