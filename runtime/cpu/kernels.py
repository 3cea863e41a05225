"""Which fast kernel of the CPU computes a launch: the compiler asks, measured times answer.

A program names a kernel for each step, or says that the kernel of the step before does it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from netc.ir.joined import JOINED
from netc.ir.kernels import KernelCall, KernelChoice
from netc_kernels import cpu


class CpuKernels:
    """The kernels' table for devices of so many threads, with what was measured on this machine."""

    parts_run = True
    """Parts of joined launches run one by one where no kernel is named: they are NumPy's."""

    def __init__(
        self, threads: int, measured: Mapping[KernelCall, Mapping[str, float]] = {}
    ) -> None:
        """`measured` has seconds by variant for calls that were timed."""
        self.threads, self.measured = threads, measured

    def variants(self, call: KernelCall) -> tuple[str, ...]:
        """Kernels that can compute a call besides the reference's, the usual one first."""
        if call.dtype != "f32" or cpu.available() or call.kernel not in _implementations():
            return ()
        if is_empty(call) or cuts_groups(call) or sums_more(call):
            return ()
        facts = _facts(call)
        able = [each for each in _implementations()[call.kernel] if each.applies(*facts)]
        return tuple(each.name for each in sorted(able, key=lambda each: not each.usual(*facts)))

    def has(self, calls: Sequence[KernelCall], variant: str, absorbed: int) -> bool:
        """Whether a kernel of that name does the first call, and so many after it as well."""
        if not variant:
            return not absorbed
        return variant in self.variants(calls[0]) and absorbed == self._absorbed(variant, calls)

    def workspace_bytes(self, call: KernelCall, variant: str) -> int:
        """Scratch memory of a call's kernel."""
        if not variant:
            return 0
        return int(
            implementation(call.kernel, variant).workspace_bytes(*_facts(call), self.threads)
        )

    def choose(self, calls: tuple[KernelCall, ...]) -> KernelChoice | None:
        """The fastest kernels measured for the steps of a launch, or the usual ones."""
        names: list[str | None] = []
        workspace, seconds, position = 0, 0.0, 0
        while position < len(calls):
            call = calls[position]
            variant, measured = self._best(call)
            seconds += measured
            names.append(variant)
            position += 1
            if variant:
                workspace = max(workspace, self.workspace_bytes(call, variant))
                absorbed = self._absorbed(variant, calls[position - 1 :])
                names += [None] * absorbed
                position += absorbed
        return KernelChoice(tuple(names), workspace, seconds) if any(names) else None

    def _absorbed(self, variant: str, calls: Sequence[KernelCall]) -> int:
        """How many steps the kernel of the first call does besides its own."""
        absorbed = absorbable(calls)
        if calls[0].kernel == "conv":
            return absorbed + _pooling(calls[0], variant, calls[absorbed + 1 :])
        return absorbed + int(calls[0].kernel == "slice" and _is_slope(calls[1:]))

    def _best(self, call: KernelCall) -> tuple[str, float]:
        variants = self.variants(call)
        times = {v: t for v, t in self.measured.get(call, {}).items() if v in variants}
        if times:
            best = min(times, key=lambda variant: (times[variant], variant))
            return best, times[best]
        return (variants[0] if variants else ""), 0.0


def is_empty(call: KernelCall) -> bool:
    """Whether a call reads or writes nothing."""
    return any(0 in shape for shape in (*call.operands, call.result))


def cuts_groups(call: KernelCall) -> bool:
    """Whether some filters of a grouped convolution are elsewhere, so that groups are not whole."""
    attributes = dict(call.attributes)
    if attributes.get("groups", 1) == 1:
        return False
    filters = call.result if call.kernel == "conv_dw" else call.operands[1]
    return bool(attributes["filters"] != filters[0])


def sums_more(call: KernelCall) -> bool:
    """Whether a response normalization reads channels that are not its own: those of a device's
    neighbours, on either side. Fast kernels have as many of each.
    """
    return call.kernel in ("lrn", "lrn_dx") and any(x != call.result for x in call.operands)


def absorbable(calls: Sequence[KernelCall]) -> int:
    """How many steps the kernel of the first call does besides its own."""
    head, rest = calls[0], calls[1:]
    kernels = tuple(call.kernel for call in rest)
    if head.kernel == "conv":
        return next((len(e) for e in _EPILOGUES if kernels[: len(e)] == e), 0)
    if head.kernel in _NORMS and kernels[:1] == ("add",):
        to_result = len(rest[0].args) == 2 and rest[0].args.count(-1) == 1
        return 1 + int(kernels[1:2] == ("relu",)) if to_result else 0
    if kernels[:1] == ("relu",) and head.kernel in ("bias", "add", *_NORMS):
        return 1
    if not _is_slope(rest):
        return 0
    if head.kernel in ("conv_dx", "add"):
        return 1
    return int(head.kernel in ("maxpool_dx", "lrn_dx") and rest[0].args[0] == head.args[0])


def _is_slope(rest: Sequence[KernelCall]) -> bool:
    """Whether a relu's slope follows, of what was made before."""
    return bool(rest) and rest[0].kernel == "relu_dx" and rest[0].args[1] == -1


def _pooling(call: KernelCall, variant: str, following: Sequence[KernelCall]) -> int:
    """How many steps a convolution's kernel does of a pooling that follows: none or all."""
    if not following or following[0].kernel != "maxpool":
        return 0
    attributes = dict(following[0].attributes)
    windows = attributes["size"], attributes["stride"], attributes["pad"]
    pools = implementation("conv", variant).pools(*_conv_facts(call), *windows)
    return len(following) if pools else 0


_NORMS = ("bn_norm", "grouped_norm")
_EPILOGUES = (("bias", "relu"), ("bias",), ("relu",))


def _conv_facts(call: KernelCall) -> tuple[Any, ...]:
    """The shapes and attributes of a convolution, forward or backward."""
    image, filters = call.operands[0], call.operands[1]
    if call.kernel == "conv_dw":
        filters = call.result
    elif call.kernel == "conv_dx":
        image = call.result
    return (conv_shape(image, filters, dict(call.attributes)),)


def conv_shape(image: Sequence[int], filters: Sequence[int], attributes: Mapping[str, Any]) -> Any:
    """The `ConvShape` of an image's and filters' shapes."""
    from netc_kernels.cpu.shape import ConvShape

    n, channels, height, width = image
    size = (filters[2], filters[3])
    return ConvShape(
        n,
        channels,
        filters[0],
        (height, width),
        size,
        attributes["stride"],
        attributes["pad"],
        attributes["groups"],
    )


def _channels(call: KernelCall) -> tuple[int, ...]:
    return (call.operands[0][1],)


def _lrn_facts(call: KernelCall) -> tuple[int, ...]:
    return call.operands[0][1], dict(call.attributes)["size"]


_FACTS: Mapping[str, Callable[[KernelCall], tuple[Any, ...]]] = {
    "conv": _conv_facts,
    "conv_dx": _conv_facts,
    "conv_dw": _conv_facts,
    "bias_db": _channels,
    "bn_mean": _channels,
    "bn_var": _channels,
    "bn_dgamma": _channels,
    "bn_moments": _channels,
    "bn_slopes": _channels,
    "bn_sums": _channels,
    "grouped_mean": _channels,
    "grouped_var": _channels,
    "grouped_dgamma": _channels,
    "grouped_dbeta": _channels,
    "grouped_moments": _channels,
    "grouped_slopes": _channels,
    "grouped_sums": _channels,
    **{name: _channels for name in JOINED if name.startswith("fc_dw_")},
    "add": lambda call: (len(call.operands),),
    "slice": lambda call: (dict(call.attributes)["dim"],),
    "lrn": _lrn_facts,
    "lrn_dx": _lrn_facts,
}
"""What kernels depend on, by operation; nothing for the others."""


def _facts(call: KernelCall) -> tuple[Any, ...]:
    return _FACTS[call.kernel](call) if call.kernel in _FACTS else ()


def _implementations() -> Mapping[str, tuple[Any, ...]]:
    # Imported here: it imports Numba, which the reference kernels do without.
    from netc_kernels.cpu.table import IMPLEMENTATIONS

    return IMPLEMENTATIONS


def implementation(kernel: str, variant: str) -> Any:
    """The kernel of a name such as conv.winograd, a netc_kernels.cpu.table.Implementation."""
    return next(each for each in _implementations()[kernel] if each.name == variant)
