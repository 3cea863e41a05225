"""Optimizers: how the weights move by their gradients.

Each is declared once, in `OPTIMIZERS`: the language, the nodes of its updates, `--help` and tests
follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase

from netc.errors import Span
from netc.ir.ops.update import (
    AdamApply,
    AdamMoment1,
    AdamMoment2,
    MomentumVelocity,
    NesterovApply,
    RmspropVelocity,
    SgdApply,
    SgdVelocity,
    Update,
    VelocityApply,
)
from netc.numbers import BELOW_ONE, NON_NEGATIVE, POSITIVE, NamedNumber

RATE = "lr"
WEIGHT, GRADIENT, NUMBERS = "w", "g", (RATE, "step")
UPDATE = "update"
"""The input of a program that counts updates, where that is not the step."""
SUM = ".sum"
"""What the gradients of several batches are called behind the weight's name."""
AVERAGE = ".average"
"""What a weight's moving average is called behind the weight's name."""
BESIDE = (SUM, AVERAGE)
"""What recipes keep beside weights, whatever the optimizer."""
SQUARES = "gradient_squares"
"""The output of a step that clips: the sum of squares of all gradients, as they were."""
Numbers = Mapping[str, float]
"""Options by name."""


@dataclass(frozen=True, slots=True)
class Move:
    """One operation of an update."""

    op: type[Update]
    """Its fields are options by the same name, but for those that rounds set."""
    reads: str
    """Words: "w", "g" (the gradient), "lr", "step", a state by its role, as it was, or with a prime
    as it is now: "velocity'". The first one is overwritten."""

    @property
    def operands(self) -> tuple[str, ...]:
        """What it reads, one by one."""
        return tuple(self.reads.split())

    @property
    def makes(self) -> str:
        """The weight, or the role of the state, that it makes anew."""
        return self.operands[0]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """One way to move weights."""

    word: str
    about: str
    """What is done to a weight w by its gradient g, for lists."""
    arguments: tuple[NamedNumber, ...]
    """Its options; the rate, which may change from step to step, is the first."""
    moves: tuple[Move, ...]
    """In order; the last one moves the weight, the others the states beside it."""
    attributes: Callable[[Numbers], Numbers] = lambda options: options
    """From its options to what operations call them."""

    @property
    def joined(self) -> str:
        """What all moves in one launch are called: the first optimizer's word that has them."""
        return next(word for word, each in OPTIMIZERS.items() if each.moves == self.moves)

    @property
    def numbers(self) -> tuple[str, ...]:
        """What its operations read that is one number for all weights."""
        read = (word for move in self.moves for word in move.operands)
        return tuple(dict.fromkeys(word for word in read if word in NUMBERS))

    def __reduce__(self) -> tuple[Callable[[str], Optimizer], tuple[str]]:
        """Copies are the one that is declared."""
        return _declared, (self.word,)


def _declared(word: str) -> Optimizer:
    return OPTIMIZERS[word]


@dataclass(frozen=True, slots=True)
class WeightRule:
    """How some weights are moved otherwise than the rest."""

    pattern: str
    """Of their names, as a shell has it: "*.bias"."""
    decay: float | None = None
    """In place of the optimizer's."""
    rate: float = 1.0
    """By which the rate is multiplied."""
    frozen: bool = False
    """Whether they stay as they are: no gradient is computed, or sent."""
    span: Span | None = field(default=None, compare=False)
    """Where it is written."""

    def __str__(self) -> str:
        decay = () if self.decay is None else (f"decay={self.decay:g}",)
        rate = () if self.rate == 1.0 else (f"rate={self.rate:g}",)
        return " ".join((self.pattern, *decay, *rate, *(("frozen",) if self.frozen else ())))

    def matches(self, weight: str) -> bool:
        """Whether it is for a weight."""
        return fnmatchcase(weight, self.pattern)


@dataclass(frozen=True, slots=True)
class Chosen:
    """An optimizer with its options, but for the rate."""

    optimizer: Optimizer
    options: tuple[tuple[str, float], ...]
    rules: tuple[WeightRule, ...] = ()
    """For some weights; of several that match, the last counts."""
    clip: float | None = None
    """What the norm of all gradients together is limited to."""
    ema: float | None = None
    """What a weight's moving average keeps of itself in an update; None where there is none."""
    accumulate: int = 1
    """Batches whose gradients are added up before weights move."""

    def __str__(self) -> str:
        options = (f"{name}={value:g}" for name, value in self.options)
        return "; ".join((" ".join((self.optimizer.word, *options)), *self.besides))

    @property
    def besides(self) -> tuple[str, ...]:
        """What is told besides the optimizer's options, in words."""
        batches = self.accumulate if self.accumulate > 1 else None
        told = (("clip", self.clip), ("ema", self.ema), ("accumulate", batches))
        words = (f"{name} {value:g}" for name, value in told if value is not None)
        return (*map(str, self.rules), *words)

    def rule(self, weight: str) -> WeightRule:
        """What holds for a weight."""
        found = [each for each in self.rules if each.matches(weight)]
        return found[-1] if found else WeightRule(weight)

    def under(self, rule: WeightRule) -> Chosen:
        """With a rule's decay in place of its own."""
        known = dict(self.options)
        if rule.decay is not None and "decay" in known:
            known["decay"] = rule.decay
        return replace(self, options=tuple(known.items()))

    def operations(self, dims: str) -> Iterator[tuple[Move, Update]]:
        """The operations of an update of a weight with these labels, in order."""
        known = self.optimizer.attributes(dict(self.options))
        for move in self.optimizer.moves:
            told = {f.name: known[f.name] for f in fields(move.op) if f.name in known}
            yield move, move.op(dims, **told)


def choose_optimizer(word: str, **options: float) -> Chosen:
    """An optimizer with these options, the others at their defaults."""
    optimizer = OPTIMIZERS[word]
    known = {each.name: each.default for each in optimizer.arguments[1:]}
    assert options.keys() <= known.keys(), f"{word} has no such option"
    told = {name: options.get(name, default) for name, default in known.items()}
    return Chosen(optimizer, tuple((n, value) for n, value in told.items() if value is not None))


def rate_port(factor: float) -> str:
    """The input of a program that has the rate times a factor."""
    return RATE if factor == 1.0 else f"{RATE}.x" + f"{factor:.12f}".rstrip("0").rstrip(".")


def rate_factor(port: str) -> float | None:
    """The inverse: None of an input that has no rate."""
    if port == RATE:
        return 1.0
    start = f"{RATE}.x"
    return float(port.removeprefix(start)) if port.startswith(start) else None


_MOMENTS = (
    Move(AdamMoment1, "moment1 w g"),
    Move(AdamMoment2, "moment2 w g"),
    Move(AdamApply, "w moment1' moment2' lr step"),
)


def _adam(decay: float) -> tuple[NamedNumber, ...]:
    return (
        NamedNumber("lr", NON_NEGATIVE, 1e-3),
        NamedNumber("beta1", BELOW_ONE, 0.9),
        NamedNumber("beta2", BELOW_ONE, 0.999),
        NamedNumber("eps", POSITIVE, 1e-8),
        NamedNumber("decay", NON_NEGATIVE, decay),
    )


def _momentum(apply: Move) -> tuple[tuple[NamedNumber, ...], tuple[Move, ...]]:
    options = (
        NamedNumber("lr", NON_NEGATIVE),
        NamedNumber("momentum", BELOW_ONE, 0.9),
        NamedNumber("decay", NON_NEGATIVE, 0.0),
    )
    return options, (Move(MomentumVelocity, "velocity w g"), apply)


OPTIMIZERS: Mapping[str, Optimizer] = {
    each.word: each
    for each in (
        Optimizer(
            "sgd",
            "v := momentum v - lr (g + decay w); w := w + v",
            (
                NamedNumber("lr", NON_NEGATIVE),
                NamedNumber("momentum", BELOW_ONE, 0.0),
                NamedNumber("decay", NON_NEGATIVE, 0.0),
            ),
            (Move(SgdVelocity, "velocity w g lr"), Move(SgdApply, "w velocity'")),
        ),
        Optimizer(
            "momentum",
            "s := g + decay w; v := momentum v + s; w := w - lr v",
            *_momentum(Move(VelocityApply, "w velocity' lr")),
        ),
        Optimizer(
            "nesterov",
            "s := g + decay w; v := momentum v + s; w := w - lr (s + momentum v)",
            *_momentum(Move(NesterovApply, "w velocity' g lr")),
        ),
        Optimizer(
            "adam",
            "s := g + decay w; m := beta1 m + (1 - beta1) s; v := beta2 v + (1 - beta2) s^2; "
            "w := w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)",
            _adam(decay=0.0),
            _MOMENTS,
            lambda options: {**options, "decoupled": 0.0},
        ),
        Optimizer(
            "adamw",
            "as `adam` with s := g, and w := w - lr decay w beside it",
            _adam(decay=0.01),
            _MOMENTS,
            lambda options: {**options, "decay": 0.0, "decoupled": options["decay"]},
        ),
        Optimizer(
            "rmsprop",
            "s := g + decay w; r := alpha r + (1 - alpha) s^2; "
            "v := momentum v + s / (sqrt(r) + eps); w := w - lr v",
            (
                NamedNumber("lr", NON_NEGATIVE, 1e-2),
                NamedNumber("alpha", BELOW_ONE, 0.99),
                NamedNumber("eps", POSITIVE, 1e-8),
                NamedNumber("momentum", BELOW_ONE, 0.0),
                NamedNumber("decay", NON_NEGATIVE, 0.0),
            ),
            (
                Move(AdamMoment2, "square w g"),
                Move(RmspropVelocity, "velocity square' w g"),
                Move(VelocityApply, "w velocity' lr"),
            ),
            lambda options: {**options, "beta2": options["alpha"]},
        ),
    )
}
"""All optimizers by the word of the language."""
