"""The facts of a bundle: what its compilation fixed, and what the recipe says of training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, NamedTuple

from netc.ir import plain
from netc.ir.optimizers import OPTIMIZERS
from netc.ir.plain import TextError
from netc.ir.programs import EVAL, TRAIN

Test = Callable[[Any], bool]
"""Whether a plain value may be a fact."""
THREADS = 1024
"""Of one device, at most."""
DTYPES = {"fp32": {"f32"}, "tf32": {"f32"}, "fp64": {"f64"}, "bf16": {"bf16", "f32"}}
"""Floating types of each precision."""
TARGETS = {
    "cpu": (("fp32", "fp64"), ("fast", "reference")),
    "cuda": (("fp32", "tf32", "bf16"), ("auto", "native", "vendor")),
}
"""The precisions and the kinds of kernels of each target."""
REPLICATED, SHARDED = UPDATES = ("replicated", "sharded")
"""How devices that have the same weights update them: each all of them, or each a shard."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
"""A word of the language, which also names files."""


class RecipeCall(NamedTuple):
    """A word of a recipe with arguments: a data set, a change of images."""

    name: str
    args: tuple[Any, ...]
    """Texts, numbers, true, false or None, as are those with names."""
    kwargs: Mapping[str, Any]


class Setting(NamedTuple):
    """A word of a recipe with named arguments only: an optimizer, a schedule."""

    name: str
    kwargs: Mapping[str, Any]


def _word(*known: str) -> Test:
    return lambda value: type(value) is str and value in known


def _text(value: Any) -> bool:
    return type(value) is str and bool(value)


def _whole(least: int, most: int) -> Test:
    return lambda value: type(value) is int and least <= value <= most


def _several(each: Test, count: int | None = None) -> Test:
    def tells(value: Any) -> bool:
        return (
            type(value) is tuple and len(value) == (count or len(value)) and all(map(each, value))
        )

    return tells


def _named(value: Any) -> bool:
    return type(value) is dict and all(map(_scalar, value.values()))


def _scalar(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _call(value: Any) -> bool:
    right = type(value) is tuple and len(value) == 3 and _text(value[0])
    return right and _several(_scalar)(value[1]) and _named(value[2])


def _optimizer(value: Any) -> bool:
    return _named(value) and _word(*OPTIMIZERS)(value.get("name"))


def _schedule(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and _text(value[0]) and _named(value[1])


def _names(value: Any) -> bool:
    return type(value) is dict and all(map(_text, value.values()))


def _fact(test: Test, make: Callable[[Any], Any] = lambda value: value) -> Mapping[str, Any]:
    """How a fact is read: the test of its plain value, and what makes a fact of that."""
    return {"test": test, "make": make}


_SIZE = _whole(1, 2**31 - 1)
_CALLS = _fact(_several(_call), lambda value: tuple(RecipeCall(*each) for each in value))
_DATA = _fact(
    lambda value: value is None or _call(value),
    lambda value: None if value is None else RecipeCall(*value),
)
_KERNELS = _fact(_word(*(word for _, kernels in TARGETS.values() for word in kernels)))
_RATE = _fact(lambda value: type(value) in (int, float) and value >= 0)
_CLIP = _fact(lambda value: value is None or (type(value) in (int, float) and 0 < value < inf))
_EMA = _fact(lambda value: value is None or (type(value) in (int, float) and 0 <= value < 1))
_RATE_BATCH = _fact(lambda value: value is None or _SIZE(value))
_NETWORK = _fact(lambda value: type(value) is str and _NAME.fullmatch(value) is not None)
_OPTIMIZER = _fact(
    _optimizer,
    lambda value: Setting(value["name"], {k: v for k, v in value.items() if k != "name"}),
)
_SCHEDULE = _fact(_schedule, lambda value: Setting(*value))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is fixed in a bundle, and the recipe of training, which a run may overrule.

    Fields are in the order of their names, as they are printed. Whole numbers without a range of
    their own are from 1 to 2^31 - 1.
    """

    accumulate: int = field(metadata=_fact(_SIZE))
    """Batches whose gradients are added up before weights move."""
    augment: tuple[RecipeCall, ...] = field(metadata=_CALLS)
    """The recipe's changes of training images, in order."""
    batch: int = field(metadata=_fact(_SIZE))
    """Images of a step, over all devices."""
    blas_threads: int = field(metadata=_fact(_whole(0, THREADS)))
    """Threads of NumPy's BLAS on the CPU, 1 to 1024; 0 on GPUs."""
    classes: int = field(metadata=_fact(_SIZE))
    """How many classes have a score."""
    clip: float | None = field(metadata=_CLIP)
    """What the norm of all gradients together is limited to, above 0; None without a limit."""
    data: RecipeCall | None = field(metadata=_DATA)
    """The recipe's data set, None where it names none."""
    ema: float | None = field(metadata=_EMA)
    """What a weight's moving average keeps of itself in a step, from 0 to below 1; None where
    evaluation reads the weights."""
    epochs: int = field(metadata=_fact(_SIZE))
    """The recipe's passes over the data."""
    fc_update: str = field(metadata=_fact(_word("step", "round")))
    """When fully connected weights are updated: after every step, or in every round of it."""
    goal: str = field(metadata=_fact(_word(TRAIN, EVAL)))
    """The program that was planned for: where it is eval, nothing is to be trained."""
    image: tuple[int, int, int] = field(metadata=_fact(_several(_SIZE, 3)))
    """Channels, height and width of the first input."""
    kernels: str = field(metadata=_KERNELS)
    """What computes: fast or reference on the CPU; auto, native or vendor on GPUs."""
    lr: float = field(metadata=_RATE)
    """The recipe's base learning rate, 0 or more, for `rate_batch` images."""
    mesh: tuple[int, ...] = field(metadata=_fact(_several(_SIZE)))
    """Devices along each axis."""
    network: str = field(metadata=_NETWORK)
    """The network's name: a word of the language."""
    optimizer: Setting = field(metadata=_OPTIMIZER)
    """A word of `OPTIMIZERS`, and what it is told besides the rate."""
    parameters: tuple[tuple[str, str], ...] = field(metadata=_fact(_several(_several(_text, 2))))
    """The network's parameters that the command gave, by name, sorted."""
    pins: tuple[str, ...] = field(metadata=_fact(_several(_text)))
    """Splits of layers that were asked for, as "pattern=split"."""
    precision: str = field(metadata=_fact(_word(*DTYPES)))
    """fp32, tf32, fp64 or bf16."""
    rate_batch: int | None = field(metadata=_RATE_BATCH)
    """Images of a step that the recipe's rate is for; None where it is for any batch."""
    schedule: Setting = field(metadata=_SCHEDULE)
    """How the learning rate changes."""
    scheme: str = field(metadata=_fact(_word("", "a", "b", "c")))
    """The exchange scheme in force; empty where nothing is exchanged in rounds."""
    scores: str = field(metadata=_fact(_text))
    """The output of `Bundle.eval` that has the class scores."""
    seed: int = field(metadata=_fact(_whole(0, 2**63 - 1)))
    """The recipe's key of every random number, 0 to 2^63 - 1."""
    strategy: str = field(metadata=_fact(_text))
    """The strategy, or its file, as it was named."""
    taken: str = field(metadata=_fact(lambda value: value == "" or _text(value)))
    """The plan that a search took, in words; empty where nothing was searched."""
    target: str = field(metadata=_fact(_word(*TARGETS)))
    """The backend that it is compiled for: cpu or cuda."""
    text: str = field(metadata=_fact(_text))
    """A hash of the network's layers, whatever its recipe."""
    threads: int = field(metadata=_fact(_whole(0, THREADS)))
    """Threads of fast CPU kernels, on each device; 0 where others run."""
    torch_names: Mapping[str, str] = field(metadata=_fact(_names))
    """Weights and running statistics by name, and what torchvision calls them."""
    updates: str = field(metadata=_fact(_word(*UPDATES)))
    """How devices that have the same weights update them: each all of them, or each a shard."""


def plain_facts(facts: Facts) -> dict[str, Any]:
    """Facts as plain values by name: what files and JSON say."""
    return {f.name: getattr(facts, f.name) for f in fields(facts)} | {
        "augment": tuple(map(tuple, facts.augment)),
        "data": None if facts.data is None else tuple(facts.data),
        "optimizer": {"name": facts.optimizer.name, **facts.optimizer.kwargs},
        "schedule": tuple(facts.schedule),
    }


def read_facts(pairs: Iterable[tuple[str, Any]]) -> Facts:
    """The facts that names and plain values stand for: the inverse of `plain_facts`.

    Raises TextError where some are missing, or are not what they may be.
    """
    told = list(pairs)
    found, known = dict(told), {f.name: f for f in fields(Facts)}
    if [name for name, _ in told] != list(known):
        wrong = sorted(found.keys() ^ known.keys()) or sorted(found)
        raise TextError(f"the facts are not those of a program: {', '.join(wrong[:5])}")
    for name, value in found.items():
        if not known[name].metadata["test"](value):
            raise TextError(f"the fact {name} cannot be {value!r}")
    return Facts(**{name: known[name].metadata["make"](value) for name, value in found.items()})


def read_fact(line: str) -> tuple[str, Any]:
    """The name and the plain value of a line of a file."""
    words = line.split(" ", 2)
    if len(words) != 3 or words[0] != "fact":
        raise TextError("not a fact")
    value = plain.loads(words[2])
    try:
        return words[1], plain.plain(value)
    except TextError as problem:
        raise TextError(f"{words[1]}: {problem}") from None
