"""Layers, exchanges and numbers in a few words."""

from __future__ import annotations

from collections.abc import Callable

from netc.export.describe import ExchangeFacts, LayerFacts
from netc.ir.plan import Split
from netc.syntax.network import NamedValues, Value

MEANINGS = {
    "n": "split by batch",
    "k": "split by output channels",
    "c": "split by input channels",
    "h": "split by height",
    "w": "split by width",
    "r": "every device computes all",
    "@": "on one device only",
}
"""What a split does, by `letter`."""
_SUBJECTS = {"weights": "gradients", "statistics": "sums", "places": "places", "labels": "labels"}


def letter(label: str) -> str:
    """What stands for a split's label where colours and meanings are told: "@" for "@2"."""
    return label[0]


def split_text(split: Split) -> str:
    """A split as strategy files write it: "n" or "n,k"."""
    return ",".join(split)


def shape_text(shape: tuple[int, ...]) -> str:
    """Extents as network files write them: "64x224x224"."""
    return "x".join(map(str, shape))


def amount(value: float, unit: str = "") -> str:
    """A number with four digits and a decimal prefix: "1.792 k", "138.4 M", "14.16 MB"."""
    scale = 0
    while value >= 999.95 and scale < 4:
        value, scale = value / 1000, scale + 1
    return f"{value:.4g} {_PREFIXES[scale]}{unit}".rstrip()


_PREFIXES = ("", "k", "M", "G", "T")


def duration(seconds: float) -> str:
    """A time with three digits: "41.2 ms"."""
    scale, unit = next((s for s in _TIMES if seconds >= s[0]), _TIMES[-1])
    return f"{seconds / scale:.3g} {unit}"


_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def layer_text(layer: LayerFacts) -> str:
    """Kind and main options: "conv 3x3, 64 filters, stride 2"."""
    shown = _SHOWN.get(layer.kind)
    words = shown(layer.options) if shown else ""
    return f"{layer.kind} {words}".rstrip()


def brief_text(layer: LayerFacts) -> str:
    """Kind and main options beside a shape: "conv 3x3, stride 2"."""
    if layer.kind == "conv":
        return f"conv {', '.join(_conv_words(layer.options))}"
    return layer_text(layer)


def exchange_text(exchange: ExchangeFacts) -> str:
    """What happens and to what: "all-reduce gradients"; an activation needs no word."""
    kind = exchange.kind.replace("_", "-")
    if exchange.role == "weights" and exchange.kind == "all_gather":
        # Gradients of weights are sums; what is gathered are the weights.
        return f"{kind} weights"
    return f"{kind} {_SUBJECTS.get(exchange.role, '')}".rstrip()


def plural(count: int, word: str) -> str:
    """A count with its noun: "1 device", "4 devices"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def from_to(first: str, last: str) -> str:
    """Two names up to the first part that differs: "stage1.unit2 to unit4"."""
    ones, others = first.split("."), last.split(".")
    same = next((i for i, (a, b) in enumerate(zip(ones, others, strict=False)) if a != b), 0)
    return f"{'.'.join(ones[: same + 1])} to {others[same]}"


def _pair(value: Value) -> str:
    """A pair as network files write it."""
    return shape_text(value) if isinstance(value, tuple) else str(value)


def _stride(value: Value) -> str:
    return str(value[0]) if isinstance(value, tuple) and value[0] == value[1] else _pair(value)


def _conv(options: NamedValues) -> str:
    size, *rest = _conv_words(options)
    return ", ".join((size, f"{options['filters']} filters", *rest))


def _conv_words(options: NamedValues) -> list[str]:
    """All but the number of filters, which the result's shape says as well."""
    words = [_pair(options["size"])]
    if options["stride"] != (1, 1):
        words.append(f"stride {_stride(options['stride'])}")
    if options["groups"] != 1:
        words.append(f"{options['groups']} groups")
    return words


def _pool(options: NamedValues) -> str:
    if options["size"] == "global":
        return "global"
    return f"{_pair(options['size'])}, stride {_stride(options['stride'])}"


_SHOWN: dict[str, Callable[[NamedValues], str]] = {
    "conv": _conv,
    "fc": lambda options: str(options["filters"]),
    "maxpool": _pool,
    "avgpool": _pool,
    "dropout": lambda options: f"{options['rate']:g}",
    "lrn": lambda options: str(options["size"]),
}
