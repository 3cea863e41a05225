"""Every op in plain NumPy: the definition that all other kernels are held to.

A kernel is called as `op(out, *inputs, **attributes)` and writes its result into `out`. Arrays are
views with logical shape (N, C, H, W) and any strides; all floating arrays of a call share one
type, float32 or float64, and the result keeps it, but that sums of which mean and variance are made
are float64 always. Empty arrays (an empty shard) are legal
everywhere. The result depends on the values given only, to the bit: inputs are brought into one
memory order before any sum whose order would otherwise follow their strides. Unless its docstring
allows it, a kernel's `out` may not overlap an input. Nothing is kept between calls, so kernels may
run in many threads at once.

Kernels check nothing that a verified program guarantees; NumPy raises `ValueError` on shapes that
do not fit.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from netc_kernels.reference import (
    activation,
    combine,
    conv,
    gradient,
    grouped,
    linear,
    loss,
    norm,
    pool,
    random,
    rows,
    update,
)

__all__ = ["KERNELS"]

KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "conv": conv.conv,
        "conv_dx": conv.conv_dx,
        "conv_dw": conv.conv_dw,
        "bias": linear.bias,
        "bias_db": linear.bias_db,
        "fc": linear.fc,
        "fc_dx": linear.fc_dx,
        "fc_dw": linear.fc_dw,
        **{op: each[0] for op, each in activation.ACTIVATIONS.items()},
        **{f"{op}_dx": each[1] for op, each in activation.ACTIVATIONS.items()},
        "maxpool": pool.maxpool,
        "maxpool_dx": pool.maxpool_dx,
        "maxpool_places": pool.maxpool_places,
        "maxpool_places_dx": pool.maxpool_places_dx,
        "avgpool": pool.avgpool,
        "avgpool_dx": pool.avgpool_dx,
        "inside_mean": pool.inside_mean,
        "dropout": random.dropout,
        "lrn": norm.lrn,
        "lrn_dx": norm.lrn_dx,
        "bn_mean": norm.bn_mean,
        "bn_var": norm.bn_var,
        "bn_sums": norm.bn_sums,
        "bn_norm": norm.bn_norm,
        "bn_dgamma": norm.bn_dgamma,
        "bn_dx": norm.bn_dx,
        "bn_running": norm.bn_running,
        "grouped_mean": grouped.grouped_mean,
        "grouped_var": grouped.grouped_var,
        "grouped_sums": grouped.grouped_sums,
        "sums_mean": norm.sums_mean,
        "sums_var": norm.sums_var,
        "grouped_norm": grouped.grouped_norm,
        "grouped_dgamma": grouped.grouped_dgamma,
        "grouped_dbeta": grouped.grouped_dbeta,
        "grouped_dx": grouped.grouped_dx,
        "add": combine.add,
        "accumulate": combine.accumulate,
        "concat": combine.concat,
        "concat_rows": combine.concat_rows,
        "slice": combine.slice_dim,
        "copy": combine.copy,
        "cast": combine.cast,
        "row_max": rows.row_max,
        "row_sum_exp": rows.row_sum_exp,
        "row_pick": rows.row_pick,
        "row_pick_smoothed": rows.row_pick_smoothed,
        "row_pick_mixed": rows.row_pick_mixed,
        "row_argmax": rows.row_argmax,
        "softmax_dx": rows.softmax_dx,
        "softmax_dx_smoothed": rows.softmax_dx_smoothed,
        "softmax_dx_mixed": rows.softmax_dx_mixed,
        "ce_loss": loss.ce_loss,
        "ce_loss_masked": loss.ce_loss_masked,
        "correct": loss.correct,
        "square_sum": gradient.square_sum,
        "clipped": gradient.clipped,
        **update.KERNELS,
        "init_normal": random.init_normal,
        "init_constant": random.init_constant,
    }
)
"""Every kernel by the name of its op."""
