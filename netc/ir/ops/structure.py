"""Operations that move or join tensors without arithmetic, and the rounds of an exchange scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netc.ir.ops.base import Op, ShapeError, elementwise, image_text, letters, same_shape
from netc.ir.types import TensorType, units_of


@dataclass(frozen=True, slots=True)
class Add(Op):
    """The sum of two or more tensors of one shape."""

    kernel: ClassVar[str] = "add"
    inplace: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *operands: TensorType) -> TensorType:
        """The common shape."""
        return same_shape(*operands)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension, if shards of all operands end at the same places."""
        if len({tuple(t.unit(i) for i in range(t.rank)) for t in operands}) > 1:
            each = letters(operands[0].rank, "n...")
            return ",".join([each] * len(operands)) + "->" + each
        return elementwise(operands, len(operands))


@dataclass(frozen=True, slots=True)
class Sum(Add):
    """Gradients that meet at a fan-out; placements group them before they are exchanged."""

    printed: ClassVar[str] = "sum"


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Tensors joined along dimension 1."""

    kernel: ClassVar[str] = "concat"

    def infer(self, *operands: TensorType) -> TensorType:
        """Channels add up; all else must agree."""
        first = operands[0]
        for other in operands[1:]:
            if (other.shape[0], *other.shape[2:]) != (first.shape[0], *first.shape[2:]):
                raise ShapeError(
                    f"its inputs are {image_text(first)} and {image_text(other)}",
                    "all but the channels must agree.",
                )
        channels = sum(t.shape[1] for t in operands)
        return TensorType(first.dtype, (first.shape[0], channels, *first.shape[2:]))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Shards of the parts are not shards of the whole: no `k`."""
        each = letters(operands[0].rank, "n.hw")
        return ",".join([each] * len(operands)) + "->" + each


@dataclass(frozen=True, slots=True)
class SliceDim(Op):
    """Channels start .. start + size: the adjoint of concat."""

    kernel: ClassVar[str] = "slice"
    hidden: ClassVar[tuple[str, ...]] = ("size",)
    start: int
    size: int

    def infer(self, *operands: TensorType) -> TensorType:
        """As many channels as asked."""
        x = operands[0]
        return TensorType(x.dtype, (x.shape[0], self.size, *x.shape[2:]))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As concat."""
        each = letters(operands[0].rank, "n.hw")
        return f"{each}->{each}"

    def attributes(self) -> dict[str, Any]:
        """The kernel slices along any dimension."""
        return {"dim": 1, "start": self.start}


@dataclass(frozen=True, slots=True)
class Flatten(Op):
    """N C H W as N (C H W)."""

    kernel: ClassVar[str] = "flatten"
    view: ClassVar[bool] = True

    def infer(self, *operands: TensorType) -> TensorType:
        """Shards of the channels keep ending on whole channels."""
        n, c, h, w = operands[0].shape
        return TensorType(operands[0].dtype, (n, c * h * w), units_of(1, h * w))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Batch and whole channels."""
        return "nk..->nk"


@dataclass(frozen=True, slots=True)
class Unflatten(Op):
    """N (C H W) as N C H W: the adjoint of flatten."""

    kernel: ClassVar[str] = "unflatten"
    view: ClassVar[bool] = True
    image: tuple[int, int, int]
    """Channels, height and width."""

    def infer(self, *operands: TensorType) -> TensorType:
        """N C H W."""
        return TensorType(operands[0].dtype, (operands[0].shape[0], *self.image))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Batch and whole channels."""
        return "nk->nk.."


@dataclass(frozen=True, slots=True)
class Recut(Op):
    """The same values, whose shards end on multiples of other units.

    Where branches meet that cut a dimension differently, the gradient of one comes in the units of
    the other; no shard of one is a shard of the other.
    """

    kernel: ClassVar[str] = "recut"
    view: ClassVar[bool] = True
    units: tuple[int, ...]
    """As in TensorType."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The operand's type with these units."""
        return TensorType(operands[0].dtype, operands[0].shape, units_of(*self.units))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Dimensions whose units stay."""
        x, y = operands[0], self.infer(*operands)
        pairs = enumerate(letters(x.rank))
        each = "".join(c if x.unit(i) == y.unit(i) else "." for i, c in pairs)
        return f"{each}->{each}"


@dataclass(frozen=True, slots=True)
class Copy(Op):
    """The same values in another memory format."""

    kernel: ClassVar[str] = "copy"

    def infer(self, *operands: TensorType) -> TensorType:
        """The operand's type."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension."""
        return elementwise(operands, 1)


@dataclass(frozen=True, slots=True)
class RoundSlice(Op):
    """The rows that round `index` of an exchange scheme takes from a batch-sharded tensor.

    Scheme b: all rows of worker `index`. Scheme c: slice `index` of every worker's rows.
    Krizhevsky 2014, section 4; its result lives on one worker (b) or is sharded again (c).
    """

    kernel: ClassVar[str] = "round_slice"
    view: ClassVar[bool] = True
    scheme: str
    index: int
    worker: int
    """Scheme b: whose rows these are."""
    rounds: int
    size: int
    """Global rows of this round."""

    def infer(self, *operands: TensorType) -> TensorType:
        """As many rows as the round has."""
        x = operands[0]
        return TensorType(x.dtype, (self.size, *x.shape[1:]), x.units)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Never asked: rounds place their own operand."""
        raise AssertionError("a round is placed by its scheme")


@dataclass(frozen=True, slots=True)
class RoundMerge(Op):
    """The rows of all rounds, back on the workers they belong to: the adjoint of the slices."""

    kernel: ClassVar[str] = "concat_rows"
    hidden: ClassVar[tuple[str, ...]] = ("scheme", "workers")
    scheme: str
    workers: tuple[int, ...]
    """Scheme b: whose rows each operand has."""

    def infer(self, *operands: TensorType) -> TensorType:
        """All rows together."""
        x = operands[0]
        return TensorType(x.dtype, (sum(t.shape[0] for t in operands), *x.shape[1:]), x.units)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Never asked: rounds place their own operands."""
        raise AssertionError("a round is placed by its scheme")
