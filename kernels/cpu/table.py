"""Which kernels there are for each op, for whoever chooses between them by measurement."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netc_kernels.cpu import (
    blas,
    blas_weights,
    channels,
    direct,
    direct_weights,
    elementwise,
    fold,
    grouped,
    linear,
    norm,
    pool,
    random,
    update,
    winograd,
    winograd_weights,
)
from netc_kernels.cpu.shape import ConvShape

__all__ = ["IMPLEMENTATIONS", "Implementation"]


def _always(*facts: Any) -> bool:
    return True


def _never(*facts: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Implementation:
    """One kernel for an op.

    `applies` and `workspace_bytes` take what their op's kernels depend on: a `ConvShape` for
    convolutions, (channels, size) for lrn, the channels for sums over them and for updates that
    make the gradient too, how many tensors for add, the dim for slice, nothing otherwise; so does
    `usual`. `workspace_bytes` takes the number of threads too.
    """

    name: str
    run: Callable[..., None]
    workspace_bytes: Callable[..., int]
    applies: Callable[..., bool]
    usual: Callable[..., bool] = _always
    """Whether it is taken before those that follow where nothing was measured."""
    pools: Callable[..., bool] = _never
    """Whether a convolution's kernel can take the maximum of windows at once: of a `ConvShape` and
    the windows' size, stride and padding."""


def _nothing(*facts: Any) -> int:
    return 0


def _only(
    run: Callable[..., None],
    workspace: Callable[..., int] = _nothing,
    applies: Callable[..., bool] = _always,
) -> Any:
    return (Implementation("vector", run, workspace, applies),)


def _up_to_four(tensors: int) -> bool:
    return 2 <= tensors <= 4


def _channels(dim: int) -> bool:
    return dim == 1


def _sums(count: int, threads: int) -> int:
    return elementwise.sums_workspace(count)


def _pairs(count: int, threads: int) -> int:
    return elementwise.pairs_workspace(count)


def _winograd(shape: ConvShape) -> bool:
    strided = fold.needed(shape)
    return fold.size(shape) in ((3, 3), (4, 4), (5, 5)) and not (strided and shape.groups > 1)


def _winograd_of_many(shape: ConvShape, few: int = 4) -> bool:
    # of few channels the transforms are mostly padding: `direct` is faster
    return _winograd(shape) and fold.channels(shape) // shape.groups > few


def _winograd_forward(shape: ConvShape) -> bool:
    # folding tiles costs as much as 7x7 with stride 2 saves over three channels
    return _winograd_of_many(shape, 12 if fold.needed(shape) else 4)


def _winograd_unfolded(shape: ConvShape) -> bool:
    return _winograd(shape) and not fold.needed(shape)


IMPLEMENTATIONS: Mapping[str, tuple[Implementation, ...]] = MappingProxyType(
    {
        "conv": (
            Implementation(
                "winograd",
                winograd.forward,
                winograd.workspace,
                _winograd_forward,
                pools=winograd.pools,
            ),
            Implementation(
                "blas", blas.forward, blas.forward_workspace, blas.applies, blas.is_usual
            ),
            Implementation("direct", direct.forward, direct.workspace, _always),
        ),
        "conv_dx": (
            Implementation(
                "winograd", winograd.backward_data, winograd.workspace, _winograd_unfolded
            ),
            Implementation(
                "blas", blas.backward_data, blas.backward_workspace, blas.applies, blas.is_usual
            ),
            Implementation("direct", direct.backward_data, direct.workspace, _always),
        ),
        "conv_dw": (
            Implementation(
                "winograd",
                winograd_weights.backward_weights,
                winograd_weights.workspace,
                _winograd_of_many,
            ),
            Implementation(
                "blas",
                blas_weights.backward_weights,
                blas_weights.workspace,
                blas.applies,
                blas.is_usual_for_filters,
            ),
            Implementation(
                "direct", direct_weights.backward_weights, direct_weights.workspace, _always
            ),
        ),
        "maxpool": _only(pool.maxpool),
        "maxpool_dx": _only(pool.maxpool_dx),
        "maxpool_places": _only(pool.maxpool_places),
        "maxpool_places_dx": _only(pool.maxpool_places_dx),
        "avgpool": _only(pool.avgpool),
        "avgpool_dx": _only(pool.avgpool_dx),
        "bias": _only(elementwise.bias),
        "bias_db": _only(elementwise.channel_sums, _sums),
        **{op: _only(run) for op, run in elementwise.ACTIVATIONS.items()},
        "add": _only(elementwise.add, applies=_up_to_four),
        "concat": _only(channels.concat),
        "slice": _only(channels.slice_channels, applies=_channels),
        "lrn": _only(norm.lrn, norm.lrn_workspace),
        "lrn_dx": _only(norm.lrn_dx, norm.lrn_workspace),
        "bn_mean": _only(norm.bn_mean, _sums),
        "bn_var": _only(norm.bn_var, _pairs),
        "bn_dgamma": _only(norm.bn_dgamma, _pairs),
        "bn_moments": _only(norm.bn_moments, _pairs),
        "bn_sums": _only(norm.bn_sums, _pairs),
        "sums_moments": _only(norm.sums_moments),
        "bn_slopes": _only(norm.bn_slopes, _pairs),
        "bn_norm": _only(norm.bn_norm),
        "bn_dx": _only(norm.bn_dx),
        "grouped_mean": _only(grouped.grouped_mean, _sums),
        "grouped_var": _only(grouped.grouped_var, _pairs),
        "grouped_dgamma": _only(grouped.grouped_dgamma, _pairs),
        "grouped_dbeta": _only(grouped.grouped_dbeta, _sums),
        "grouped_moments": _only(grouped.grouped_moments, _pairs),
        "grouped_sums": _only(grouped.grouped_sums, _pairs),
        "grouped_slopes": _only(grouped.grouped_slopes, _pairs),
        "grouped_norm": _only(grouped.grouped_norm),
        "grouped_dx": _only(grouped.grouped_dx),
        "fc": _only(linear.fc),
        "fc_dx": _only(linear.fc_dx),
        "fc_dw": _only(linear.fc_dw),
        **{
            name: _only(run, update.fc_dw_workspace if name.startswith("fc_dw_") else _nothing)
            for name, run in update.KERNELS.items()
        },
        "accumulate": _only(update.accumulate),
        "square_sum": _only(update.square_sum),
        "clipped": _only(update.clipped),
        "average": _only(update.average),
        "dropout": _only(random.dropout),
    }
)
"""Every kernel by the name of its op; those of `update` are all the ops of one at once,
`bn_moments` is bn_mean and bn_var, `bn_slopes` bn_dgamma and bias_db, those of groups likewise;
`sums_moments` is sums_mean and sums_var.
"""
