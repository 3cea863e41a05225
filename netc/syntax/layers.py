"""The kinds of layers and their options."""

from __future__ import annotations

from collections.abc import Sequence

from netc.errors import Diagnostic, Span, SyntaxProblem
from netc.ir.ops import ACTIVATIONS
from netc.syntax.domains import (
    BELOW_ONE,
    BOOLEAN,
    COUNT,
    FRACTION,
    NON_NEGATIVE,
    PADDING,
    PADDING_OR_SAME,
    PAIR,
    PAIR_OR_GLOBAL,
    POSITIVE,
    REAL,
    Domain,
)
from netc.syntax.network import NamedValues, Value
from netc.syntax.signature import Argument, Option, Signature

LOSS = "softmax_loss"
"""The kind that ends a network."""

COMBINING = ("add", "concat")
"""The kinds with two inputs or more, written with braces."""

IDENTITY = "identity"
"""The word for a branch that passes its input on; it makes no layer."""

_WEIGHTS = (
    Option("bias", BOOLEAN, True),
    Option("std", NON_NEGATIVE, None),
    Option("bias_value", REAL, 0.0),
)


def _pool(name: str, size: Domain, *more: Option) -> Signature:
    options = (
        Option("size", size, required=True),
        Option("stride", PAIR),
        Option("pad", PADDING, (0, 0)),
        Option("ceil", BOOLEAN, False),
        *more,
    )
    return Signature(name, options, positional=1)


_SIGNATURES = (
    Signature(
        "conv",
        (
            Option("size", PAIR, required=True),
            Option("filters", COUNT, required=True),
            Option("stride", PAIR, (1, 1)),
            Option("pad", PADDING_OR_SAME, (0, 0)),
            Option("groups", COUNT, 1),
            *_WEIGHTS,
        ),
        positional=2,
    ),
    Signature("fc", (Option("filters", COUNT, required=True), *_WEIGHTS), positional=1),
    _pool("maxpool", PAIR),
    _pool("avgpool", PAIR_OR_GLOBAL, Option("count_pad", BOOLEAN, True)),
    *map(Signature, ACTIVATIONS),
    Signature("dropout", (Option("rate", BELOW_ONE, required=True),), positional=1),
    Signature(
        "lrn",
        (
            Option("size", COUNT, 5),
            Option("alpha", NON_NEGATIVE, 1e-4),
            Option("beta", NON_NEGATIVE, 0.75),
            Option("k", POSITIVE, 2.0),
        ),
        positional=1,
    ),
    Signature(
        "bn",
        (
            Option("eps", POSITIVE, 1e-5),
            Option("momentum", FRACTION, 0.1),
            Option("group", COUNT, None),
        ),
    ),
    Signature("flatten"),
    Signature("add"),
    Signature("concat"),
    Signature(LOSS, (Option("smoothing", BELOW_ONE, 0.0),)),
)

KINDS: dict[str, Signature] = {each.name: each for each in _SIGNATURES}
"""Every kind of layer, by name."""


def bind_layer(kind: str, arguments: Sequence[Argument], span: Span) -> NamedValues:
    """Return the options of a layer of `kind`, all filled in.

    Raise `SyntaxProblem` for unknown options (E012), too many, missing or repeated ones (E013) and
    wrong values (E014).
    """
    options = KINDS[kind].bind(arguments, span)
    if kind in ("maxpool", "avgpool"):
        return _pool_options(kind, options, arguments, span)
    if kind == "conv":
        _check_groups(options, span)
    return options


def _pool_options(
    kind: str, options: NamedValues, arguments: Sequence[Argument], span: Span
) -> NamedValues:
    """Let the stride be the size where it is not given; `global` takes nothing else."""
    size = options["size"]
    if size == "global" and len(arguments) > 1:
        message = f"'{kind} global' takes no other option."
        raise SyntaxProblem(Diagnostic("E013", message, arguments[1].span))
    filled: dict[str, Value] = dict(options)
    filled["stride"] = options["stride"] or ((1, 1) if size == "global" else size)
    return NamedValues.of(**filled)


def _check_groups(options: NamedValues, span: Span) -> None:
    filters, groups = options["filters"], options["groups"]
    if filters % groups:
        message = f"{filters} filters cannot be divided into {groups} groups."
        raise SyntaxProblem(Diagnostic("E014", message, span))
