"""Convolutions and matrix products by cuDNN's graph API (package `nvidia-cudnn-frontend`).

A product is described once as a graph; cuDNN offers several plans for it, each an engine with its
settings. The fastest of those that fit the workspace is known by its name once they were timed;
where they were not, cuDNN's own order chooses. Engines whose sums depend on the order of threads
are left out: results repeat to the bit. Images and filters of few channels are folded in the
workspace (`space_to_depth`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
TIMED = 5
"""Plans that are timed of those offered, which come in the order of what cuDNN expects of them,
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
    joined: str = field(default="", repr=False)
    """The launch that it is a part of; what is after it is not the library's."""

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
    """cuDNN on the current device, with what it offered so far."""

    def __init__(self) -> None:
        self.handle = _library().create_handle()
        self.offers: dict[object, Offer | str] = {}
        """By product and types; where there is none, why."""

    def offer(self, product: Product, blocks: Sequence[Tensor]) -> Offer:
        """What it offers for a product of blocks of such types. Equal ones share it: plans are made
        ready once, wherever their memory is.

        Raises UnsupportedError where that is nothing.
        """
        key = product, tuple(block.dtype for block in blocks)
        if key not in self.offers:
            try:
                self.offers[key] = Offer(self.handle, product, blocks)
            except UnsupportedError as error:
                self.offers[key] = str(error)
        found = self.offers[key]
        if isinstance(found, str):
            raise UnsupportedError(found)
        return found


class Offer:
    """A product as a graph of cuDNN's, with its plans, the most promising first."""

    def __init__(self, handle: Any, product: Product, blocks: Sequence[Tensor]) -> None:
        """Of the blocks the types count; they are in the order of `_blocks`."""
        cudnn = _library()
        self.handle, self.graph = handle, _describe(product, handle, blocks)
        graph = self.graph
        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.deselect_numeric_notes(_unwanted(cudnn, product.precision))
            graph.deselect_workspace_greater_than(WORKSPACE_BYTES)
            graph.check_support()
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError) as error:
            raise UnsupportedError(f"cuDNN has no plan for {product}: {error}") from error
        count = graph.get_execution_plan_count()
        self.names = [graph.get_plan_name_at_index(i) for i in range(count)]
        self.built: dict[int, bool] = {}

    def is_ready(self, index: int) -> bool:
        """Whether a plan can run here; it is made ready."""
        if index not in self.built:
            self.built[index] = _built(self.graph, index)
        return self.built[index]

    def run(self, index: int, pack: Mapping[int, int], work: int, stream: int) -> None:
        """Start a plan on a stream; `pack` has the addresses of blocks by their numbers."""
        _library().set_stream(self.handle, stream)
        # Its private namesake, which skips a look at types, is not in every version.
        self.graph.execute_plan_at_index(pack, work, index, self.handle)


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
        known: str = "",
        near: Sequence[str] = (),
        timed_on: int | None = None,
    ) -> None:
        """Choose a plan: the one named `known` if cuDNN offers it. Else the first that can run of
        those named in `near`, which were the fastest of products like this one, and of what cuDNN
        expects most of; or, where they are `timed_on` a stream, the fastest.

        `extra` is the bias, or the relu's output for its slope.
        Raises UnsupportedError where cuDNN has no plan for the product.
        """
        folded = product.folded
        if product.relu_dx and folded is not None:
            raise UnsupportedError("a relu's slope has no padded channels")
        if any(b.pointer % 16 for b in (out, *operands, *([extra] if extra else []))):
            raise UnsupportedError("cuDNN wants tensors that begin at multiples of 16 bytes")
        self.product = product
        self.before: list[Callable[[int], None]] = []
        self.after: list[Callable[[int], None]] = []
        self.work = work.pointer
        if folded is not None:
            out, *operands = self._fold(folded, [out, *operands])
        blocks = _blocks(product, out, operands, extra)
        self.pack = {number: block.pointer for number, block in enumerate(blocks, 1)}
        self.offer = vendor.offer(product, blocks)
        self.index = self._choose(known, near, timed_on)

    @property
    def name(self) -> str:
        """Of the plan."""
        return str(self.offer.names[self.index])

    def run(self, stream: int) -> None:
        """Start the product on a stream."""
        for step in self.before:
            step(stream)
        if not compiles_only():
            self.offer.run(self.index, self.pack, self.work, stream)
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

    def _choose(self, known: str, near: Sequence[str], timed_on: int | None) -> int:
        offer = self.offer
        names = offer.names
        if known in names and offer.is_ready(names.index(known)):
            return names.index(known)
        likely = [names.index(each) for each in dict.fromkeys(near) if each in names]
        order = [*likely, *(i for i in range(len(names)) if i not in likely)]
        able = (i for i in order if offer.is_ready(i))
        if timed_on is None:
            best = next(able, None)
        else:
            tried = [(self._time(i, timed_on), i) for i in islice(able, TIMED + len(likely))]
            _, best = min(((s, i) for s, i in tried if s is not None), default=(0.0, None))
        if best is None:
            raise UnsupportedError(f"cuDNN has no plan for {self.product}")
        return best

    def _time(self, index: int, stream: int) -> float | None:
        """Seconds of a plan, the shortest of some runs; None where it fails."""
        run = partial(self.offer.run, index, self.pack, self.work, stream)
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


def _blocks(
    product: Product, out: Tensor, operands: Sequence[Tensor], extra: Tensor | None
) -> list[Tensor]:
    """The memory of a product, in the order of its numbers in the graph, which begin with 1."""
    wanted = extra is not None and (product.bias or product.relu_dx)
    return [*operands, *([extra] if extra is not None and wanted else []), out]


def _describe(product: Product, handle: Any, blocks: Sequence[Tensor]) -> Any:
    """The graph of a product."""
    cudnn = _library()
    types = {"f32": cudnn.data_type.FLOAT, "bf16": cudnn.data_type.BFLOAT16}
    graph = cudnn.pygraph(
        name=product.op, io_data_type=types[product.dtype],
        intermediate_data_type=cudnn.data_type.FLOAT, compute_data_type=cudnn.data_type.FLOAT,
        handle=handle,
    )  # fmt: skip
    writer = _Writer(graph, types)
    *operands, out = blocks
    extra = operands.pop() if len(operands) > 2 else None
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
    writer.number(result)
    return graph


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
    image, gradient = writer.matrix(a), writer.matrix(b, turned=True)
    return [gradient, image]


class _Writer:
    """Adds tensors to a graph, numbered in turn."""

    def __init__(self, graph: Any, types: dict[str, Any]) -> None:
        self.graph, self.types = graph, types
        self.count = 0

    def number(self, tensor: Any) -> Any:
        """Give a tensor its number."""
        self.count += 1
        tensor.set_uid(self.count)
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
        return self.number(tensor)
