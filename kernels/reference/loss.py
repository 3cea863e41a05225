"""Cross-entropy and accuracy from the reduced pieces of softmax (see `rows`).

m, s and p (N,) are every row's maximum, sum of exp(x - m) and picked x of its label, over all
classes: a row's cross-entropy is m + log s - p. Row i of a block is the global row offset[0] + i,
or, where `rows` is not empty, comes from its segments (start, count) of global rows, in order.
"""

import numpy as np

from netc_kernels.reference.layout import Array, Rows, global_rows


def ce_loss(out: Array, m: Array, s: Array, p: Array, *, batch: int) -> None:
    """Compute this block's part of the mean cross-entropy, out (); `batch` is the global batch."""
    out[()] = np.sum(m + np.log(s) - p) / batch


def ce_loss_masked(
    out: Array,
    m: Array,
    s: Array,
    p: Array,
    count: Array,
    *,
    offset: tuple[int, ...],
    rows: Rows,
) -> None:
    """Sum the cross-entropy, out (), over the block's global rows below count (): no mean.

    Rows from `count` on only fill up the last batch; whatever they hold has no effect.
    """
    valid = global_rows(len(m), offset[0], rows) < int(count)
    out[()] = np.sum(m[valid] + np.log(s[valid]) - p[valid])


def correct(
    out: Array,
    argmax: Array,
    labels: Array,
    count: Array,
    *,
    offset: tuple[int, ...],
    rows: Rows,
) -> None:
    """Count, out (), the block's global rows below count () whose argmax equals the label."""
    valid = global_rows(len(labels), offset[0], rows) < int(count)
    out[()] = np.count_nonzero(valid & (argmax == labels))
