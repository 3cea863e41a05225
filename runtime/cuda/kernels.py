"""Which CUDA kernels compute a launch, and launches as functions of a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netc.errors import DeviceError, Diagnostic
from netc.ir.kernels import JOINED, Call, Choice
from netc.ir.launches import plain_name
from netc_kernels.cuda import table
from netc_kernels.cuda.block import Block
from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.conv import vendor
from netc_kernels.cuda.source import stream_of
from netc_runtime.cpu.bind import Attributes, Step, groups_of
from netc_runtime.cpu.kernels import cuts_groups, is_empty, joinable

Start = Callable[[int], None]
"""Starts work on a stream, given by its pointer."""
_RELUS = {"conv_dx": "positive", "add": "positive", "maxpool_dx": "relu", "lrn_dx": "relu"}
"""What kernels call a relu's slope that is joined to them: its result, or whether they go through
it, since they have that anyway.
"""
RUNS = 5
"""Of each kernel in a race."""
_UPDATES = ("sgd", "adam")
"""Kernels with several results, the optimizer's state and the weight."""
_STATISTICS = ("bn_moments", "bn_slopes")
"""Kernels with two results, sums over the same images."""
_ONLY_ELSEWHERE = ("fc_dw_sgd", "fc_dw_adam")
"""Joined launches that other backends have kernels for."""


class CudaKernels:
    """The kernels' table of a CUDA device."""

    def __init__(
        self, precision: str, kernels: str = "auto", known: Mapping[str, str] = {}
    ) -> None:
        """`kernels` is native (this package's own alone), vendor or auto, the faster of both.

        `known` has what was found faster on the machine, by `race_key`. What is not known is named
        "fastest": it is measured when a program that needs it is first loaded.
        """
        self.precision, self.kernels, self.known = precision, kernels, known

    def choose(self, calls: tuple[Call, ...]) -> Choice | None:
        """A kernel for every step of a launch; None where no kernel is a launch of this kind."""
        names: list[str] = []
        workspace = 0
        while len(names) < len(calls):
            call = calls[len(names)]
            if call.kernel in _ONLY_ELSEWHERE:
                return None
            joined = _joined(calls[len(names) :])
            variant = self._variant(call, tuple(c.kernel for c in calls[len(names) + 1 :][:joined]))
            workspace = max(workspace, self.workspace_bytes(call, variant))
            names += [variant, *[JOINED] * joined]
        return Choice(tuple(names), workspace)

    def _variant(self, call: Call, joined: Sequence[str]) -> str:
        if call.kernel not in table.PRODUCTS or self.kernels == "native" or is_empty(call):
            return "native"
        product = _product(call, self.precision)
        if not product.supported() or cuts_groups(call):
            return "native"
        if self.kernels == "vendor":
            return "vendor"
        return self.known.get(race_key(_with(product, joined)), "fastest")

    def has(self, calls: Sequence[Call], variant: str, joined: int) -> bool:
        """Whether a kernel of that name does the first call, and so many after it as well."""
        if not variant:
            return not joined
        if calls[0].kernel in _ONLY_ELSEWHERE or joined != _joined(calls):
            return False
        vendors = CudaKernels(self.precision, "vendor")._variant(calls[0], ())
        return variant == "native" or (variant in ("vendor", "fastest") and vendors != "native")

    def workspace_bytes(self, call: Call, variant: str) -> int:
        """Scratch memory of a call's kernel."""
        if variant == "fastest":
            return max(self.workspace_bytes(call, each) for each in ("native", "vendor"))
        if variant == "vendor":
            return vendor.workspace_bytes(_product(call, self.precision))
        shapes = (call.result, *call.operands)
        told = {"first_filter": 0, **dict(call.attributes)}
        return table.workspace_bytes(call.kernel, shapes, told, self.precision)


def race_key(product: vendor.Product) -> str:
    """Under what name it is kept which kernel is faster."""
    return f"fastest {product}"


def _with(product: vendor.Product, joined: Sequence[str]) -> vendor.Product:
    return replace(
        product, bias="bias" in joined, relu="relu" in joined, relu_dx="relu_dx" in joined
    )


def _product(call: Call, precision: str) -> vendor.Product:
    told = dict(call.attributes)
    geometry = {k: told[k] for k in ("stride", "pad", "groups") if k in told}
    first, second = call.operands[:2]
    return vendor.Product(
        call.kernel, call.result, (first, second), call.dtype, precision, **geometry
    )


def _joined(calls: Sequence[Call]) -> int:
    """How many steps the kernel of the first call does besides its own."""
    kernels = tuple(call.kernel for call in calls[1:3])
    if calls[0].kernel == "fc":
        return 2 if kernels == ("bias", "relu") else int(kernels[:1] == ("bias",))
    return joinable(calls)


@dataclass(frozen=True, slots=True)
class _Group:
    """A kernel with the steps that it does as well, and their memory."""

    kernel: str
    variant: str
    told: Attributes
    out: Block
    operands: Sequence[Block]
    joined: tuple[str, ...]
    extra: Sequence[Block]
    """Operands of the joined steps: a bias, or a relu's output."""
    work: Block | None


class Plans(dict[str, str]):
    """The vendor's plans by what they compute, and by `race_key` which kernel is faster."""

    def keep(self) -> None:
        """Remember them beyond this process, where there is a place for that."""


class Binder:
    """Makes launches ready on one device."""

    def __init__(self, precision: str, stream: int, plans: Plans) -> None:
        """`plans` has the vendor's plans by what they compute, and which kernel is faster; what is
        found here is added.
        """
        self.precision, self.stream, self.plans = precision, stream, plans
        self.library: Any = None

    def bind(
        self, kernel: str, told: Attributes, writes: Sequence[Block], inputs: Sequence[Block]
    ) -> Start:
        """A launch as a function: its kernel, or those of a fused launch in turn.

        Raises DeviceError (E079) where the vendor's kernel is named and there is none.
        """
        name = plain_name(kernel)
        if name in _UPDATES:
            return _starter(table.KERNELS[name], [*writes, *inputs], told)
        if name in _STATISTICS:
            told = {**told, "work": writes[2] if len(writes) > 2 else None}
            return _starter(table.KERNELS[name], [*writes[:2], *inputs], told)
        out, work = writes[0], writes[1] if len(writes) > 1 else None
        steps: list[Step] = [(kernel, tuple(range(len(inputs))), told)]
        if kernel == "fused":
            steps = list(told["steps"])
        starts = [self._start(_group(each, out, inputs, work)) for each in groups_of(steps)]
        return starts[0] if len(starts) == 1 else partial(_all, starts)

    def _start(self, group: _Group) -> Start:
        if group.variant in ("", "native"):
            return self._native(group)
        try:
            return self._vendor(group) if group.variant == "vendor" else self._fastest(group)
        except vendor.UnsupportedError as error:
            hint = "take '--kernels native'."
            raise DeviceError(Diagnostic("E079", f"{error}.", help=hint)) from error

    def _native(self, group: _Group) -> Start:
        told = dict(group.told)
        if "bias" in group.joined:
            told["bias"] = group.extra[0]
        if "relu" in group.joined:
            told["relu"] = True
        if "add" in group.joined:
            told["other"] = group.extra[0]
        if "relu_dx" in group.joined:
            name = _RELUS[group.kernel]
            told[name] = group.extra[0] if name == "positive" else True
        if group.kernel in table.WITH_WORKSPACE:
            told["work"] = group.work
        if group.kernel in table.PRODUCTS:
            told["precision"] = self.precision
        return _starter(table.KERNELS[group.kernel], [group.out, *group.operands], told)

    def _fastest(self, group: _Group) -> Start:
        """The vendor's kernel or the hand-written one, by measurement."""
        native, key = self._native(group), race_key(self._product(group))
        if self.plans.get(key) == "native":
            return native
        try:
            rival = self._vendor(group)
        except vendor.UnsupportedError:
            return native
        if key not in self.plans:
            faster = self._seconds(native) < self._seconds(rival)
            self.plans[key] = "native" if faster else "vendor"
        return native if self.plans[key] == "native" else rival

    def _seconds(self, start: Start) -> float:
        """The shortest of some runs."""
        return min(elapsed(partial(start, self.stream), stream_of(self.stream), RUNS))

    def _product(self, group: _Group) -> vendor.Product:
        geometry = {k: group.told[k] for k in ("stride", "pad", "groups") if k in group.told}
        a, b = (block.shape for block in group.operands)
        out = group.out
        product = vendor.Product(
            group.kernel, out.shape, (a, b), out.dtype, self.precision, **geometry
        )
        return _with(product, group.joined)

    def _vendor(self, group: _Group) -> Start:
        product = self._product(group)
        try:
            return self._plan(product, group)
        except vendor.UnsupportedError:
            if not product.relu_dx:
                raise
        plain = self._plan(replace(product, relu_dx=False), replace(group, extra=()))
        slope = [group.out, *group.extra, group.out]
        return partial(_all, [plain, _starter(table.KERNELS["relu_dx"], slope, {})])

    def _plan(self, product: vendor.Product, group: _Group) -> Start:
        assert group.work is not None, "a vendor's kernel has a workspace"
        if lacking := vendor.missing():
            raise vendor.UnsupportedError(lacking)
        self.library = self.library or vendor.Vendor()
        key, extra = repr(product), group.extra[0] if group.extra else None
        plan = vendor.Planned(
            self.library, product, group.out, group.operands, extra, group.work, self.stream,
            self.plans.get(key, ""),
        )  # fmt: skip
        self.plans[key] = plan.name
        run: Start = plan.run
        return run


def _group(
    steps: list[Step], out: Block, inputs: Sequence[Block], work: Block | None
) -> _Group:  # fmt: skip
    (name, args, told), *joined = steps
    kernel, _, variant = name.partition(".")
    operands = [out if a < 0 else inputs[a] for a in args]
    names = tuple(plain_name(step[0]) for step in joined)
    extra = [inputs[a] for _, more, _ in joined for a in more if a >= 0]
    return _Group(kernel, variant, told, out, operands, names, extra, work)


def _starter(
    kernel: Callable[..., None], blocks: Sequence[Block], told: Mapping[str, Any]
) -> Start:
    def start(stream: int) -> None:
        kernel(*blocks, stream=stream, **told)

    return start


def _all(starts: Sequence[Start], stream: int) -> None:
    for start in starts:
        start(stream)
