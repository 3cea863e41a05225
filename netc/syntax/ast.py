"""The tree of one file: what is written, before blocks are expanded and names resolved.

The nodes are named tuples: so many dataclasses would add 20 ms to the start of every command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from netc.errors import Source, Span


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit that is not a plain factor."""

    number: int | float
    """The number."""
    unit: str
    """`ep`: epochs."""


Scalar = int | float | bool | str | tuple[int, ...] | Quantity
"""What an expression yields; a tuple is a size such as 3x3, a str a string or a word."""


class Word(NamedTuple):
    """An identifier and its place."""

    text: str
    """The identifier; in a reference without the `$`."""
    span: Span
    """Its place."""


class Literal(NamedTuple):
    """A number, size or string."""

    value: Scalar
    """Its value."""
    span: Span
    """Its place."""


class Name(NamedTuple):
    """A parameter, or a word such as `true` or `same`, in an expression."""

    text: str
    """The name."""
    span: Span
    """Its place."""


class Prefixed(NamedTuple):
    """`-x` or `not x`."""

    operator: str
    """`-` or `not`."""
    operand: Expression
    """What it applies to."""
    span: Span
    """Its place."""


class Operation(NamedTuple):
    """Operands of one precedence, from left to right: `a - b + c`."""

    first: Expression
    """The leftmost operand."""
    rest: tuple[tuple[str, Expression], ...]
    """Operator and operand, at least one."""
    span: Span
    """Its place."""


Expression = Literal | Name | Prefixed | Operation


class Option(NamedTuple):
    """`name = value`."""

    name: Word
    """The name."""
    value: Expression
    """The value."""
    span: Span
    """Its place."""


class Stride(NamedTuple):
    """`/2` of a layer."""

    value: Expression
    """The stride."""
    span: Span
    """Its place."""


class Call(NamedTuple):
    """`stage(64, depth=2)`: a block, or a word of the recipe, with arguments."""

    name: Word
    """What is called."""
    arguments: tuple[Expression | Option, ...]
    """The arguments as written."""
    span: Span
    """Its place."""


class Layer(NamedTuple):
    """`conv 3x3 64 /2 pad=1`."""

    kind: Word
    """The first word."""
    values: tuple[Expression, ...]
    """The values between spaces."""
    options: tuple[Option | Stride, ...]
    """Options and stride, in the order written."""
    span: Span
    """Its place."""


class Group(NamedTuple):
    """`{ body }`: several lines where one is expected."""

    body: Body
    """What."""
    span: Span
    """Its place."""


class Repeat(NamedTuple):
    """`repeat times { body }`."""

    times: Expression
    """How often."""
    body: Body
    """What."""
    span: Span
    """Its place."""


class Combine(NamedTuple):
    """`add { branches }` or `concat { branches }`."""

    kind: Word
    """`add` or `concat`."""
    body: Body
    """One statement a branch."""
    span: Span
    """Its place."""


class Arm(NamedTuple):
    """A condition and what it guards."""

    test: Expression
    """The condition."""
    body: Body
    """Taken where it is true."""


class Condition(NamedTuple):
    """`if condition { body } else if ... else { body }`."""

    arms: tuple[Arm, ...]
    """The first whose condition is true is taken."""
    otherwise: Body | None
    """The last `else`."""
    span: Span
    """Its place."""


class Reference(NamedTuple):
    """`$name`."""

    name: Word
    """The name, without the `$`."""
    span: Span
    """Its place."""


Element = Layer | Call | Group | Repeat | Combine | Condition | Reference


class Chain(NamedTuple):
    """`name := element | element`."""

    label: Word | None
    """The name, if any."""
    elements: tuple[Element, ...]
    """At least one."""
    span: Span
    """Its place."""


class Parameter(NamedTuple):
    """A parameter of a block or of the network."""

    name: Word
    """Its name."""
    default: Expression | None
    """Its default, if it may be left out."""


class Net(NamedTuple):
    """`net name(parameters)`."""

    name: Word
    """The network's name."""
    parameters: tuple[Parameter, ...]
    """Its parameters."""
    span: Span
    """Its place."""


class Input(NamedTuple):
    """`input name 3x224x224`."""

    name: Word
    """The input's name."""
    shape: tuple[Expression, ...]
    """One size CxHxW, or three numbers."""
    span: Span
    """Its place."""


class Include(NamedTuple):
    """`include "file.net"`."""

    path: str
    """The path, relative to the file that includes."""
    span: Span
    """Its place."""


class Block(NamedTuple):
    """`block name(parameters) { body }`."""

    name: Word
    """Its name."""
    parameters: tuple[Parameter, ...]
    """Its parameters."""
    body: Body
    """Its statements."""
    span: Span
    """Its place, from `block` to `}`."""


class Setting(NamedTuple):
    """One line of `train { }`."""

    word: Word
    """The first word."""
    values: tuple[Expression | Call, ...]
    """Values and calls, in the order written."""
    options: tuple[Option, ...]
    """Options, in the order written."""
    span: Span
    """Its place."""


class Train(NamedTuple):
    """`train { settings }`."""

    settings: tuple[Setting, ...]
    """Its lines."""
    span: Span
    """Its place."""


Statement = Net | Input | Include | Block | Train | Chain
Body = tuple[Statement, ...]


class File(NamedTuple):
    """A parsed file."""

    source: Source
    """Its text."""
    statements: Body
    """Its statements, in order."""
