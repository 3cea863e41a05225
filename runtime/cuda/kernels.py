"""Which CUDA kernels compute a launch, and launches as functions of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netc.errors import DeviceError, Diagnostic
from netc.ir.calls import calls_of
from netc.ir.joined import JOINED
from netc.ir.kernels import KernelCall, KernelChoice
from netc.ir.program import Launch, Program
from netc.ir.step import Attributes, Step, kernels_of
from netc.stages import staged
from netc_kernels.cuda import table
from netc_kernels.cuda.conv import pointwise, products, vendor
from netc_kernels.cuda.conv.planned import Planned
from netc_kernels.cuda.conv.ready import Vendor, WantedPlan
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.cpu.kernels import absorbable, cuts_groups, is_empty
from netc_runtime.cuda.plans import Plans, race_key, vendor_missing

Start = Callable[[int], None]
"""Starts work on a stream, given by its pointer."""
CHOSEN = ("vendor", "fastest")
"""Kernels whose making is chosen on the machine that runs them."""
_RELUS = {"conv_dx": "positive", "add": "positive", "maxpool_dx": "relu", "lrn_dx": "relu"}
"""What kernels call a relu's slope that they do as well: its result, or whether they go through
it, since they have that anyway.
"""


class CudaKernels:
    """The kernels' table of a CUDA device."""

    parts_run = False
    """There is no kernel of what is in no memory."""

    def __init__(self, precision: str, kernels: str = "auto") -> None:
        """`kernels` is native (this package's own alone), vendor or auto, the faster of both.

        That one is named "fastest" and measured when a program that needs it is first loaded on a
        machine: programs and what their launches are called do not depend on where they are made.
        """
        self.precision, self.kernels = precision, kernels

    def choose(self, calls: tuple[KernelCall, ...]) -> KernelChoice | None:
        """A kernel for every step of a launch; None where no kernel is a launch of this kind."""
        names: list[str | None] = []
        workspace = 0
        while len(names) < len(calls):
            call = calls[len(names)]
            if call.kernel not in table.KERNELS or not self._suits(call):
                return None
            absorbed = _absorbed(calls[len(names) :])
            variant = self._variant(call)
            workspace = max(workspace, self.workspace_bytes(call, variant))
            names += [variant, *[None] * absorbed]
        return KernelChoice(tuple(names), workspace)

    def _suits(self, call: KernelCall) -> bool:
        """Whether a convolution can be joined to what is after it, where that is asked for."""
        if call.kernel not in table.CONVOLUTIONS:
            return True
        conv, attributes = table.CONVOLUTIONS[call.kernel][0], dict(call.attributes)
        shapes = call.result, call.operands[:2]
        known = pointwise.suits(conv, *shapes, attributes, self.precision)
        return known and self.kernels != "vendor" and call.dtype == "bf16"

    def _variant(self, call: KernelCall) -> str:
        several = call.kernel in table.PRODUCTS or call.kernel in table.CONVOLUTIONS
        if not several or self.kernels == "native" or is_empty(call):
            return "native"
        product = _product(call, self.precision)
        if not product.supported() or cuts_groups(call):
            return "native"
        return "vendor" if self.kernels == "vendor" else "fastest"

    def has(self, calls: Sequence[KernelCall], variant: str, absorbed: int) -> bool:
        """Whether a kernel of that name does the first call, and so many after it as well."""
        if calls[0].kernel not in table.KERNELS:
            return False
        if not variant:
            return not absorbed
        if absorbed != _absorbed(calls):
            return False
        vendors = CudaKernels(self.precision, "vendor")._variant(calls[0])
        return variant == "native" or (variant in CHOSEN and vendors != "native")

    def workspace_bytes(self, call: KernelCall, variant: str) -> int:
        """Scratch memory of a call's kernel."""
        if variant == "fastest":
            return max(self.workspace_bytes(call, each) for each in ("native", "vendor"))
        if variant == "vendor":
            own = vendor.workspace_bytes(_product(call, self.precision))
            joined = call.kernel in table.CONVOLUTIONS
            return max(own, self.workspace_bytes(call, "native") if joined else 0)
        shapes = (call.result, *call.operands)
        attributes = {"first_filter": 0, **dict(call.attributes)}
        return table.workspace_bytes(call.kernel, shapes, attributes, self.precision)


def products_of(
    program: Program, launch: Launch, precision: str
) -> Iterator[tuple[Sequence[Step], KernelCall, vendor.Product]]:
    """What a launch computes that the vendor's library may, by the kernels that it names: the steps
    that one kernel does, the call of the first, and the product of them all.
    """
    calls, place = calls_of(program, launch), 0
    if launch.joined in table.CONVOLUTIONS and launch.steps[0].variant in CHOSEN:
        yield launch.steps, calls[0], _product(calls[0], precision)
    for steps in () if launch.joined else kernels_of(launch.steps):
        if steps[0].variant in CHOSEN:
            absorbed = [step.operation for step in steps[1:]]
            yield steps, calls[place], _with(_product(calls[place], precision), absorbed)
        place += len(steps)


def _with(product: vendor.Product, absorbed: Sequence[str]) -> vendor.Product:
    return replace(
        product, bias="bias" in absorbed, relu="relu" in absorbed, relu_dx="relu_dx" in absorbed
    )


def _product(call: KernelCall, precision: str) -> vendor.Product:
    attributes = dict(call.attributes)
    geometry = {k: attributes[k] for k in ("stride", "pad", "groups") if k in attributes}
    first, second = call.operands[:2]
    joined = call.kernel if call.kernel in table.CONVOLUTIONS else ""
    op = table.CONVOLUTIONS[joined][0] if joined else call.kernel
    return vendor.Product(
        op, call.result, (first, second), call.dtype, precision, **geometry,
        relu_dx=joined == "conv_dx_slopes", joined=joined,
    )  # fmt: skip


def _absorbed(calls: Sequence[KernelCall]) -> int:
    """How many steps the kernel of the first call does besides its own."""
    kernels = tuple(call.kernel for call in calls[1:3])
    if calls[0].kernel == "fc":
        return 2 if kernels == ("bias", "relu") else int(kernels[:1] == ("bias",))
    return absorbable(calls)


@dataclass(frozen=True, slots=True)
class _Group:
    """A kernel with the steps that it does as well, and their memory."""

    kernel: str
    variant: str
    attributes: Attributes
    out: Tensor
    operands: Sequence[Tensor]
    absorbed: tuple[str, ...]
    extra: Sequence[Tensor]
    """Operands of the steps that it does as well: a bias, or a relu's output."""
    work: Tensor | None


class LaunchBinder:
    """Makes launches ready on one device."""

    def __init__(self, precision: str, plans: Plans, timed_on: int | None = None) -> None:
        """`plans` has the vendor's plans by what they compute, and which kernel is faster; what is
        chosen here is added. Plans that it lacks are timed where a stream is given for that.
        """
        self.precision, self.plans, self.timed_on = precision, plans, timed_on
        self.library: Vendor | None = None
        self.noted: list[WantedPlan] | None = None
        """Plans that `bind` would make, where these are only to be known."""

    def bind(
        self, steps: Sequence[Step], joined: str, writes: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Start:
        """A launch as a function: its kernel, or those of its steps in turn.

        Raises DeviceError (E079) where the vendor's kernel is named and there is none.
        """
        if joined in table.CONVOLUTIONS:
            return self._convolution(steps, joined, writes, inputs)
        if joined:
            declared = JOINED[joined]
            given = declared.attributes(steps)
            if joined in table.WITH_WORKSPACE:
                given["work"] = next(iter(writes[declared.results :]), None)
            blocks = [*writes[: declared.results], *inputs]
            return _starter(table.KERNELS[joined], blocks, given)
        out, work = writes[0], writes[1] if len(writes) > 1 else None
        starts = [self._start(_group(each, out, inputs, work)) for each in kernels_of(steps)]
        return starts[0] if len(starts) == 1 else partial(_all, starts)

    def wanted(
        self, steps: Sequence[Step], joined: str, writes: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> tuple[list[WantedPlan], Start]:
        """The plans of the vendor's that a launch wants, and where that is none, the launch."""
        noted: list[WantedPlan] = []
        self.noted = noted
        try:
            start = self.bind(steps, joined, writes, inputs)
        finally:
            self.noted = None
        return noted, start

    def _convolution(
        self, steps: Sequence[Step], joined: str, writes: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Start:
        """A convolution with what is made of its result: by one kernel, where the GPU has it and it
        is faster or asked for, else by two.
        """
        declared, asked = JOINED[joined], [step.asked for step in steps]
        results, work = writes[: declared.results], writes[declared.results]
        given = {key: each[key] for each in asked[1:] for key in ("count", "eps") if key in each}
        if joined == "conv_moments":
            given = {}
        variant = steps[0].variant
        conv, after = table.CONVOLUTIONS[joined]
        out, others = results[0], list(inputs[2:])
        group = _Group(conv, variant, asked[0], out, inputs[:2], (), (), work)
        if joined == "conv_dx_slopes":
            group = replace(group, absorbed=("relu_dx",), extra=others[:1])
            others = [*others[1:], out]
        elif joined == "conv_dx_add_slopes":
            others = [others[0], out, *others[1:]]
        else:
            others = [out]
        if variant == "fastest":
            variant = self._faster(replace(self._product(group), joined=joined))
        if variant != "vendor" and products.hopper():
            blocks = [*results, *inputs]
            return _starter(table.KERNELS[joined], blocks, {**given, "work": work})
        first = self._native(group) if variant != "vendor" else self._start(group)
        results = results if after == "add_relu_slopes" else results[1:]
        then = _starter(table.KERNELS[after], [*results, *others], {**given, "work": work})
        return partial(_all, [first, then])

    def _faster(self, product: vendor.Product) -> str:
        """Whose kernel is, as was measured or is likely."""
        key = race_key(product)
        if key not in self.plans:
            self.plans[key] = self.plans.likely_faster(product)
        return self.plans[key]

    def _start(self, group: _Group) -> Start:
        if group.variant in ("", "native"):
            return self._native(group)
        try:
            return self._vendor(group) if group.variant == "vendor" else self._fastest(group)
        except vendor.UnsupportedError as error:
            hint = "take '--kernels native'."
            raise DeviceError(Diagnostic("E079", f"{error}.", help=hint)) from error

    def _native(self, group: _Group) -> Start:
        given = dict(group.attributes)
        if "bias" in group.absorbed:
            given["bias"] = group.extra[0]
        if "relu" in group.absorbed:
            given["relu"] = True
        if "add" in group.absorbed:
            given["other"] = group.extra[0]
        if "relu_dx" in group.absorbed:
            name = _RELUS[group.kernel]
            given[name] = group.extra[0] if name == "positive" else True
        if group.kernel in table.WITH_WORKSPACE:
            given["work"] = group.work
        if group.kernel in table.PRODUCTS:
            given["precision"] = self.precision
        return _starter(table.KERNELS[group.kernel], [group.out, *group.operands], given)

    def _fastest(self, group: _Group) -> Start:
        """The vendor's kernel or the hand-written one, as was measured or is likely."""
        if self._faster(self._product(group)) == "native":
            return self._native(group)
        try:
            return self._vendor(group)
        except vendor.UnsupportedError:
            return self._native(group)

    def _product(self, group: _Group) -> vendor.Product:
        geometry = {
            k: group.attributes[k] for k in ("stride", "pad", "groups") if k in group.attributes
        }
        a, b = (block.shape for block in group.operands)
        out = group.out
        product = vendor.Product(
            group.kernel, out.shape, (a, b), out.dtype, self.precision, **geometry
        )
        return _with(product, group.absorbed)

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
        if lacking := vendor_missing():
            raise vendor.UnsupportedError(lacking)
        key, extra = repr(product), group.extra[0] if group.extra else None
        known = self.plans.get(key, "")
        near = () if known else self.plans.near(product)
        planned = Planned(product, group.out, group.operands, extra, group.work, known, near)
        if self.noted is not None:
            self.noted.append(planned.wanted)
            return planned.run
        self.library = self.library or Vendor(self.plans.place)
        with staged("plans" if known else "tune"):
            self.plans[key] = planned.choose(self.library, self.timed_on)
        return planned.run


def _group(
    steps: Sequence[Step], out: Tensor, inputs: Sequence[Tensor], work: Tensor | None
) -> _Group:
    head, *absorbed = steps
    operands = [out if a < 0 else inputs[a] for a in head.operands]
    names = tuple(step.operation for step in absorbed)
    extra = [inputs[a] for step in absorbed for a in step.operands if a >= 0]
    return _Group(
        head.operation, head.variant, head.asked, out, operands, names, extra, work
    )  # fmt: skip


def _starter(
    kernel: Callable[..., None], blocks: Sequence[Tensor], attributes: Mapping[str, Any]
) -> Start:
    def start(stream: int) -> None:
        kernel(*blocks, stream=stream, **attributes)

    return start


def _all(starts: Sequence[Start], stream: int) -> None:
    for start in starts:
        start(stream)
