"""Convolutions and matrix products by cuDNN's graph API (package `nvidia-cudnn-frontend`).

A product is described once as a graph; cuDNN offers several plans for it, each an engine with its
settings. All that fit the workspace are timed and the fastest is kept, by its name, so that a later
process can take it without measuring. Engines whose sums depend on the order of threads are left
out: results repeat to the bit. Images and filters of few channels are folded in the workspace
(`space_to_depth`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from math import prod
from typing import Any

from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.conv.space_to_depth import Folded, depth_to_space, fold, space_to_depth
from netc_kernels.cuda.source import compiles_only, stream_of
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

WORKSPACE_BYTES = 256 * 2**20
"""What a plan may use besides folded operands."""
ALIGNMENT_BYTES = 256
_MULTIPLE = {"bf16": 8, "tf32": 4, "fp32": 1}
"""Channels that tensor cores take at a time, by precision."""
_ROLES = {"conv": (1, 2, 0), "conv_dx": (0, 2, 1), "conv_dw": (1, 0, 2)}
"""Which of result and operands are image, filters and the convolution's result."""
_REPEATS = 5
TIMED, TIMED_BESIDE = 5, 1
"""Plans that are timed of those offered, which come in the order of what cuDNN expects of them, and
beside those that are likely: it takes up to a second to make each ready.
"""


@cache
def _library() -> Any:
    """The front end without PyTorch, which it imports where that is: two seconds for nothing."""
    there = "torch" in sys.modules
    if not there:
        # An import of None fails as that of a module that is not there.
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import cudnn
    finally:
        if not there:
            del sys.modules["torch"]
    return cudnn


@cache
def missing() -> str:
    """Why cuDNN cannot be used here; empty where it can."""
    try:
        cudnn = _library()
    except ImportError as error:
        return f"nvidia-cudnn-frontend is not installed ({error})"
    try:
        cudnn.backend_version()
    except Exception as error:
        # The front end raises plain exceptions of several types where the library is not found.
        return f"cuDNN cannot be loaded ({error})"
    return ""


def version() -> str:
    """Of the library, such as 91900."""
    return str(_library().backend_version())


@dataclass(frozen=True, slots=True)
class Product:
    """One convolution or matrix product to be planned."""

    op: str
    """conv, conv_dx, conv_dw, fc, fc_dx or fc_dw."""
    out: tuple[int, ...]
    operands: tuple[tuple[int, ...], ...]
    """Logical shapes of both, as the operation takes them."""
    dtype: str
    precision: str
    """fp32, tf32 or bf16."""
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    bias: bool = False
    relu: bool = False
    relu_dx: bool = False
    """Whether the result is the gradient before a relu, too."""

    @property
    def folded(self) -> Folded | None:
        """What is computed in place of a convolution whose channels tensor cores cannot take."""
        if self.op.startswith("fc") or self.groups > 1:
            return None
        x, w, y = ((self.out, *self.operands)[role] for role in _ROLES[self.op])
        # A gradient of the image keeps its stride: no first layer needs one.
        block = (1, 1) if self.op == "conv_dx" else self.stride
        return fold(x, w, y, block, (self.pad[0], self.pad[2]), _MULTIPLE[self.precision])

    @property
    def channels(self) -> int:
        """Input channels."""
        return self.out[1] if self.op == "conv_dx" else self.operands[0][1]

    def supported(self) -> bool:
        """Whether tensor cores take these channels, and cuDNN is known to compute this right.

        In fp32 it has matrix products only of tf32 (3e-4 of error, where float32 has 3e-7). With
        uneven padding some of its engines for gradients (1, 18, 50 in 9.19) are wrong.
        """
        step = _MULTIPLE[self.precision]
        if self.op.startswith("fc"):
            extents = [extent for shape in (self.out, *self.operands) for extent in shape[1:]]
            extents += self.out[:1] if self.op == "fc_dw" else ()
            return self.precision != "fp32" and all(each % step == 0 for each in extents)
        top, bottom, left, right = self.pad
        folded = self.folded
        if (top, left) != (bottom, right) and (folded is None or folded.block == (1, 1)):
            return False
        filters = self.operands[0][1] if self.op == "conv_dx" else self.operands[1][0]
        if self.op == "conv_dw":
            filters = self.out[0]
        each = (filters // self.groups, self.channels // self.groups)
        return each[0] % step == 0 and (self.groups == 1 or each[1] % step == 0)


def workspace_bytes(product: Product) -> int:
    """Scratch memory of a product: a plan's own, and that of folded tensors."""
    folded = product.folded
    if folded is None:
        return WORKSPACE_BYTES
    return WORKSPACE_BYTES + sum(_room(each, product) for each in (folded.image, folded.filters))


def _room(shape: Sequence[int], product: Product) -> int:
    nbytes = prod(shape) * ITEM_BYTES[product.dtype]
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class UnsupportedError(Exception):
    """A product that cuDNN has no plan for."""


class Vendor:
    """cuDNN on the current device."""

    def __init__(self) -> None:
        self.handle = _library().create_handle()


class Planned:
    """A product with its memory, ready to run."""

    def __init__(
        self,
        vendor: Vendor,
        product: Product,
        out: Tensor,
        operands: Sequence[Tensor],
        extra: Tensor | None,
        work: Tensor,
        stream: int,
        known: str = "",
        near: Sequence[str] = (),
    ) -> None:
        """Choose a plan: the one named `known` if cuDNN still offers it, else the fastest of what
        it expects most of, and of those named in `near`, which were the fastest of products like
        this one; then of fewer.

        `extra` is the bias, or the relu's output for its slope.
        Raises UnsupportedError where cuDNN has no plan for the product.
        """
        folded = product.folded
        if product.relu_dx and folded is not None:
            raise UnsupportedError("a relu's slope has no padded channels")
        if any(b.pointer % 16 for b in (out, *operands, *([extra] if extra else []))):
            raise UnsupportedError("cuDNN wants tensors that begin at multiples of 16 bytes")
        self.vendor, self.product = vendor, product
        self.before: list[Callable[[int], None]] = []
        self.after: list[Callable[[int], None]] = []
        self.work = work.pointer
        if folded is not None:
            out, *operands = self._fold(folded, [out, *operands])
        self.graph, self.pack = _describe(product, vendor.handle, out, operands, extra)
        self.index, self.name = self._choose(_library(), stream, known, near)

    def run(self, stream: int) -> None:
        """Start the product on a stream."""
        for step in self.before:
            step(stream)
        if not compiles_only():
            _library().set_stream(self.vendor.handle, stream)
            self.graph._execute_plan_at_index(self.pack, self.work, self.index, self.vendor.handle)
        for step in self.after:
            step(stream)

    def _fold(self, folded: Folded, tensors: list[Tensor]) -> list[Tensor]:
        """Folded copies of image and filters in the front of the workspace."""
        image, filters, _ = _ROLES[self.product.op]
        for position, shape in ((image, folded.image), (filters, folded.filters)):
            tensor = tensors[position]
            deep = Tensor(self.work, shape, tensor.dtype, True)
            self.work += _room(shape, self.product)
            tensors[position] = deep
            if position == 0:
                self.after.append(_starter(depth_to_space, tensor, deep, folded.block))
                continue
            margin = folded.margin if position == image else (0, 0)
            self.before.append(_starter(space_to_depth, deep, tensor, folded.block, margin=margin))
        return tensors

    def _choose(self, cudnn: Any, stream: int, known: str, near: Sequence[str]) -> tuple[int, str]:
        graph = self.graph
        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.deselect_numeric_notes(_unwanted(cudnn, self.product.precision))
            graph.deselect_workspace_greater_than(WORKSPACE_BYTES)
            graph.check_support()
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError) as error:
            raise UnsupportedError(f"cuDNN has no plan for {self.product}: {error}") from error
        count = graph.get_execution_plan_count()
        names = [graph.get_plan_name_at_index(i) for i in range(count)]
        if known in names:
            index = names.index(known)
            if _built(graph, index):
                return index, known
        likely = [names.index(each) for each in dict.fromkeys(near) if each in names]
        order = [*likely, *(i for i in range(count) if i not in likely)]
        timed = TIMED_BESIDE + len(likely) if likely else TIMED
        built = islice((i for i in order if _built(graph, i)), timed)
        tried = [(self._time(i, stream), i) for i in built]
        best = min(((time, i) for time, i in tried if time is not None), default=None)
        if best is None:
            raise UnsupportedError(f"cuDNN has no plan for {self.product}")
        return best[1], names[best[1]]

    def _time(self, index: int, stream: int) -> float | None:
        """Seconds of a plan, the shortest of some runs; None where it fails."""
        _library().set_stream(self.vendor.handle, stream)
        plan = self.graph._execute_plan_at_index
        run = partial(plan, self.pack, self.work, index, self.vendor.handle)
        try:
            run()
        except Exception:
            # A plan that cuDNN cannot run after all is one plan less.
            return None
        return min(elapsed(run, stream_of(stream), _REPEATS))


def _built(graph: Any, index: int) -> bool:
    try:
        graph.build_plan_at_index(index)
    except Exception:
        # The front end raises several types for a plan that this device or its notes rule out.
        return False
    return True


def _unwanted(cudnn: Any, precision: str) -> list[Any]:
    note = cudnn.numerical_note
    exact = [note.NONDETERMINISTIC, note.REDUCED_PRECISION_REDUCTION]
    return [*exact, note.TENSOR_CORE, note.DOWN_CONVERT_INPUTS] if precision == "fp32" else exact


def _starter(kernel: Callable[..., None], *blocks: Any, **attributes: Any) -> Callable[[int], None]:
    return lambda stream: kernel(*blocks, stream=stream, **attributes)


def _describe(
    product: Product, handle: Any, out: Tensor, operands: Sequence[Tensor], extra: Tensor | None
) -> tuple[Any, dict[int, int]]:
    """The graph of a product, and where its tensors lie by their numbers in it."""
    cudnn = _library()
    types = {"f32": cudnn.data_type.FLOAT, "bf16": cudnn.data_type.BFLOAT16}
    graph = cudnn.pygraph(
        name=product.op, io_data_type=types[product.dtype],
        intermediate_data_type=cudnn.data_type.FLOAT, compute_data_type=cudnn.data_type.FLOAT,
        handle=handle,
    )  # fmt: skip
    writer = _Writer(graph, types)
    a, b = _operands(product, writer, operands)
    result = _operation(product, graph, a, b)
    result.set_data_type(cudnn.data_type.FLOAT)
    shape, stride = writer.layout(out)
    result.set_dim(shape).set_stride(stride)
    if product.bias and extra is not None:
        result = graph.bias(input=result, bias=writer.vector(extra, len(shape)))
    if product.relu:
        result = graph.relu(input=result)
    if product.relu_dx and extra is not None:
        result = graph.relu_backward(loss=result, input=writer.image(extra))
    result.set_output(True).set_data_type(types[out.dtype]).set_dim(shape).set_stride(stride)
    writer.give(result, out)
    return graph, writer.pack


def _operation(product: Product, graph: Any, a: Any, b: Any) -> Any:
    if product.op.startswith("fc"):
        return graph.matmul(A=a, B=b)
    (top, bottom, left, right), stride = product.pad, product.stride
    folded = product.folded
    if folded is not None and folded.block != (1, 1):
        (top, left), bottom, right, stride = folded.pad, 0, 0, folded.stride
    geometry = {
        "pre_padding": [top, left], "post_padding": [bottom, right],
        "stride": list(stride), "dilation": [1, 1],
    }  # fmt: skip
    if product.op == "conv":
        return graph.conv_fprop(image=a, weight=b, **geometry)
    if product.op == "conv_dx":
        return graph.conv_dgrad(loss=a, filter=b, **geometry)
    return graph.conv_wgrad(image=a, loss=b, **geometry)


def _operands(product: Product, writer: _Writer, operands: Sequence[Tensor]) -> list[Any]:
    """Image, filters or gradient; or the factors of fc (x w'), fc_dx (dy w) and fc_dw (dy' x)."""
    a, b = operands
    if not product.op.startswith("fc"):
        return [writer.image(a), writer.image(b)]
    if product.op == "fc":
        return [writer.matrix(a), writer.matrix(b, turned=True)]
    if product.op == "fc_dx":
        return [writer.matrix(a), writer.matrix(b)]
    return [writer.matrix(b, turned=True), writer.matrix(a)]


class _Writer:
    """Adds tensors to a graph and keeps their addresses."""

    def __init__(self, graph: Any, types: dict[str, Any]) -> None:
        self.graph, self.types = graph, types
        self.pack: dict[int, int] = {}

    def give(self, tensor: Any, block: Tensor) -> Any:
        """Number a tensor, and say where it lies."""
        number = len(self.pack) + 1
        tensor.set_uid(number)
        self.pack[number] = block.pointer
        return tensor

    def layout(self, block: Tensor) -> tuple[list[int], list[int]]:
        """Dimensions and strides: channels innermost, matrices as a batch of one."""
        if len(block.shape) == 2:
            rows, columns = block.shape
            return [1, rows, columns], [rows * columns, columns, 1]
        n, c, h, w = block.shape
        assert block.nhwc, "cuDNN is given images with the channels innermost"
        return [n, c, h, w], [c * h * w, 1, c * w, c]

    def image(self, block: Tensor) -> Any:
        """An image or filters."""
        return self._tensor(block, *self.layout(block))

    def matrix(self, block: Tensor, turned: bool = False) -> Any:
        """A matrix, or its transpose."""
        (_, rows, columns), (size, pitch, one) = self.layout(block)
        if turned:
            return self._tensor(block, [1, columns, rows], [size, one, pitch])
        return self._tensor(block, [1, rows, columns], [size, pitch, one])

    def vector(self, block: Tensor, rank: int) -> Any:
        """A bias along the channels of images, or the columns of a matrix."""
        size = block.elements
        if rank == 3:
            return self._tensor(block, [1, 1, size], [size, size, 1])
        return self._tensor(block, [1, size, 1, 1], [size, 1, size, size])

    def _tensor(self, block: Tensor, shape: list[int], stride: list[int]) -> Any:
        tensor = self.graph.tensor(dim=shape, stride=stride, data_type=self.types[block.dtype])
        return self.give(tensor, block)
