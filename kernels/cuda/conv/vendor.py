"""Convolutions and matrix products by cuDNN's graph API (package `nvidia-cudnn-frontend`).

A product is described once as a graph; cuDNN offers several plans for it, each an engine with its
settings (`ready`). The fastest of those that fit the workspace is known by its name once they were
timed; where they were not, cuDNN's own order chooses. Engines whose sums depend on the order of
threads are left out: results repeat to the bit. Images and filters of few channels are folded in
the workspace (`space_to_depth`, `planned`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

from netc_kernels.cuda.conv.space_to_depth import Folded, fold
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

WORKSPACE_BYTES = 256 * 2**20
"""What a plan may use besides folded operands."""
ALIGNMENT_BYTES = 256
_MULTIPLE = {"bf16": 8, "tf32": 4, "fp32": 1}
"""Channels that tensor cores take at a time, by precision."""
ROLES = {"conv": (1, 2, 0), "conv_dx": (0, 2, 1), "conv_dw": (1, 0, 2)}
"""Which of result and operands are image, filters and the convolution's result."""


@cache
def library() -> Any:
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
        cudnn = library()
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
    return str(library().backend_version())


def front_version() -> str:
    """Of its front end, such as 1.26.0."""
    return str(library().__version__)


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
        x, w, y = ((self.out, *self.operands)[role] for role in ROLES[self.op])
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
    return WORKSPACE_BYTES + sum(
        room_bytes(each, product) for each in (folded.image, folded.filters)
    )


def room_bytes(shape: Sequence[int], product: Product) -> int:
    """Of a folded tensor in the workspace."""
    nbytes = prod(shape) * ITEM_BYTES[product.dtype]
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class UnsupportedError(Exception):
    """A product that cuDNN has no plan for."""


def blocks_of(
    product: Product, out: Tensor, operands: Sequence[Tensor], extra: Tensor | None
) -> list[Tensor]:
    """The memory of a product, in the order of its numbers in the graph, which begin with 1."""
    wanted = extra is not None and (product.bias or product.relu_dx)
    return [*operands, *([extra] if extra is not None and wanted else []), out]


def described(product: Product, handle: Any, blocks: Sequence[Tensor]) -> Any:
    """The graph of a product."""
    cudnn = library()
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
