"""The value `Network`: what a `.net` file says, blocks and repeats expanded."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from netc.errors import Source, Span
from netc.ir.pairs import Pairs

Value = int | float | bool | str | tuple[int, ...] | None
"""What an option holds. Two numbers are (height, width), four (top, bottom, left, right)."""


@dataclass(frozen=True, slots=True)
class NamedValues(Pairs):
    """Options by name, in the order in which the kind of layer declares them."""

    pairs: tuple[tuple[str, Value], ...] = ()
    """Name and value."""

    @classmethod
    def of(cls, **values: Value) -> NamedValues:
        """Return the options `values`, in the order given."""
        return cls(tuple(values.items()))


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of the network."""

    name: str
    """Its name, unique among inputs and layers."""
    shape: tuple[int, ...]
    """(C, H, W) of one example, each at least 1."""
    span: Span | None = field(default=None, compare=False)
    """Where it is declared."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, every option filled in. Shapes are not known yet."""

    name: str
    """Unique: `conv2`, or `stage2.conv1` inside the second call of block `stage`."""
    kind: str
    """A name of `netc.syntax.layers.KINDS`, for example `conv`."""
    options: NamedValues
    """Exactly the options of the kind, in its order."""
    inputs: tuple[str, ...]
    """Names of the layers and network inputs it reads: one, or two and more for add and concat."""
    span: Span | None = field(default=None, compare=False)
    """Where it is written, with the trail of blocks and repeats that led there."""


@dataclass(frozen=True, slots=True)
class Call:
    """A known word with arguments, for example `step(every=30ep, gamma=0.1)`."""

    name: str
    """The word: `imagefolder`, `sgd`, `step`, `shift` ..."""
    args: tuple[Value, ...] = ()
    """Positional arguments: a path, a distance."""
    kwargs: NamedValues = NamedValues()
    """Named arguments, every default filled in. Epochs are plain numbers."""
    span: Span | None = field(default=None, compare=False)
    """Where it is written."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The `train` block: defaults for training. What it does not say is `None`."""

    data: Call | None = None
    """`imagefolder(path)`, `digits()`, `idx(path)` or `cifar10(path)`."""
    batch: int | None = None
    """Examples a step, over all devices."""
    optimizer: Call | None = None
    """A word of `netc.syntax.recipe.OPTIMIZERS`."""
    schedule: Call | None = None
    """A word of `netc.syntax.recipe.SCHEDULES`."""
    epochs: int | None = None
    """Passes over the data."""
    augment: tuple[Call, ...] = ()
    """Words of `netc.syntax.recipe.AUGMENTATIONS`, applied in this order."""
    seed: int | None = None
    """Key of every random number, 0 to 2**63 - 1."""
    clip: float | None = None
    """What the norm of all gradients together is limited to."""
    ema: float | None = None
    """What moving averages of weights keep of themselves in a step."""
    accumulate: int = 1
    """Batches whose gradients are added up before weights move."""
    weights: tuple[Call, ...] = ()
    """`weights "PATTERN" ...`: what moves some weights otherwise."""
    rate_batch: int | None = None
    """Examples a step that the rate is for: it is in proportion to them (`scaled_rate`). None where
    it is for any batch."""
    spans: tuple[tuple[str, Span], ...] = field(default=(), compare=False)
    """Where each word is written."""


@dataclass(frozen=True, slots=True)
class WholeRecipe(Recipe):
    """A recipe with what is taken where a `train` block says nothing."""

    batch: int = 128
    optimizer: Call = Call("sgd", (), NamedValues.of(lr=0.01, momentum=0.9, decay=0.0))
    schedule: Call = Call("constant", (), NamedValues.of(warmup=0.0))
    epochs: int = 1
    seed: int = 0


def with_defaults(recipe: Recipe) -> WholeRecipe:
    """Return the recipe with defaults where it says nothing."""
    told = {each.name: getattr(recipe, each.name) for each in fields(Recipe)}
    return WholeRecipe(**{name: value for name, value in told.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Network:
    """A network: a directed acyclic graph of layers, and how to train it."""

    name: str
    """The word after `net`."""
    inputs: tuple[InputSpec, ...]
    """At least one."""
    layers: tuple[Layer, ...]
    """In topological order; the last is the loss."""
    recipe: Recipe = Recipe()
    """Training defaults."""
    source: Source | None = field(default=None, compare=False)
    """The file it was read from."""

    def __repr__(self) -> str:
        """One line."""
        return f"<Network {self.name}: {len(self.layers)} layers>"
