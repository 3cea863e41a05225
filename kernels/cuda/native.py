"""The hand-written kernels by the name of their op.

Each is called as the reference's, `op(out, *inputs, stream=..., **attributes)`, with blocks, and
only adds work to the stream. Joined ones do what several ops do in a row: those of an optimizer,
`bias_db_relu_dx`, `bn_moments`, `sums_moments`, `bn_slopes`; those of groups likewise;
`add_relu_slopes`, `add_relu_two_slopes`, `slice_relu_slopes`, `bn_norms_add_relu`; and bias, add,
bn_norm, grouped_norm, maxpool_dx and lrn_dx take `relu=True`. Those of `WORKSPACE_BYTES` take
`work`, a block of so many bytes, given the shapes of result and operands.
`mark` and `stamp` are no ops: they tell how far a stream has come, and when.
A kernel is compiled when it is first called, which must not happen while a graph is captured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from netc_kernels.cuda import channels, elementwise, lrn, mark, move, pool, random, rows, update

__all__ = ["KERNELS", "WORKSPACE_BYTES"]

KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "bias": elementwise.bias,
        "bias_db": channels.bias_db,
        "bias_db_relu_dx": channels.bias_db_relu_dx,
        **elementwise.KERNELS,
        "maxpool": pool.maxpool,
        "maxpool_dx": pool.maxpool_dx,
        "maxpool_places": pool.maxpool_places,
        "maxpool_places_dx": pool.maxpool_places_dx,
        "avgpool": pool.avgpool,
        "avgpool_dx": pool.avgpool_dx,
        "inside_mean": pool.inside_mean,
        "dropout": random.dropout,
        "lrn": lrn.lrn,
        "lrn_dx": lrn.lrn_dx,
        "bn_mean": channels.bn_mean,
        "bn_var": channels.bn_var,
        "bn_moments": channels.bn_moments,
        "bn_sums": channels.bn_sums,
        "bn_norm": channels.bn_norm,
        "bn_dgamma": channels.bn_dgamma,
        "bn_slopes": channels.bn_slopes,
        "bn_dx": channels.bn_dx,
        "add_relu_slopes": channels.add_relu_slopes,
        "add_relu_two_slopes": channels.add_relu_two_slopes,
        "slice_relu_slopes": channels.slice_relu_slopes,
        "bn_norms_add_relu": channels.bn_norms_add_relu,
        "bn_running": channels.bn_running,
        "grouped_mean": channels.bn_mean,
        "grouped_var": channels.bn_var,
        "grouped_moments": channels.bn_moments,
        "grouped_sums": channels.bn_sums,
        "sums_mean": channels.sums_mean,
        "sums_var": channels.sums_var,
        "sums_moments": channels.sums_moments,
        "grouped_norm": channels.bn_norm,
        "grouped_dgamma": channels.bn_dgamma,
        "grouped_dbeta": channels.bias_db,
        "grouped_slopes": channels.bn_slopes,
        "grouped_dx": channels.bn_dx,
        "add": elementwise.add,
        "cast": elementwise.cast,
        "concat": move.concat,
        "concat_rows": move.concat_rows,
        "slice": move.slice_dim,
        "copy": move.copy,
        "row_max": rows.row_max,
        "row_sum_exp": rows.row_sum_exp,
        "row_pick": rows.row_pick,
        "row_pick_smoothed": rows.row_pick_smoothed,
        "row_pick_mixed": rows.row_pick_mixed,
        "row_argmax": rows.row_argmax,
        "softmax_dx": rows.softmax_dx,
        "softmax_dx_smoothed": rows.softmax_dx_smoothed,
        "softmax_dx_mixed": rows.softmax_dx_mixed,
        "ce_loss": rows.ce_loss,
        "ce_loss_masked": rows.ce_loss_masked,
        "correct": rows.correct,
        **update.KERNELS,
        "init_normal": random.init_normal,
        "init_constant": random.init_constant,
        "mark": mark.mark,
        "stamp": mark.stamp,
    }
)
"""Every hand-written kernel but convolutions and products."""

WORKSPACE_BYTES: Mapping[str, Callable[..., int]] = MappingProxyType(
    {
        "bias_db": channels.sums_workspace,
        "bias_db_relu_dx": channels.sums_workspace,
        "bn_mean": channels.sums_workspace,
        "bn_var": channels.sums_workspace,
        "bn_moments": channels.two_sums_workspace,
        "bn_sums": channels.pairs_workspace,
        "bn_dgamma": channels.two_sums_workspace,
        "bn_slopes": channels.two_sums_workspace,
        "add_relu_slopes": channels.two_slopes_workspace,
        "add_relu_two_slopes": channels.four_slopes_workspace,
        "slice_relu_slopes": channels.two_slopes_workspace,
        "grouped_mean": channels.sums_workspace,
        "grouped_var": channels.sums_workspace,
        "grouped_moments": channels.two_sums_workspace,
        "grouped_sums": channels.pairs_workspace,
        "grouped_dgamma": channels.two_sums_workspace,
        "grouped_dbeta": channels.sums_workspace,
        "grouped_slopes": channels.two_sums_workspace,
        "square_sum": update.squares_workspace,
    }
)
"""Bytes of the workspace, from the shapes of the (first) result and the operands."""
