"""Softmax in pieces, each over one shard of the columns (classes).

x (N, K) holds classes `first_class` ... `first_class` + K - 1. The pieces of all shards are reduced
by maximum, by sum, or (row_argmax) by minimum. m (N,) is the maximum over all classes, s (N,) the
sum over all classes of exp(x - m), labels (N,) are global classes, int64.
"""

import numpy as np

from netc_kernels.reference.layout import Array, dense


def row_max(out: Array, x: Array) -> None:
    """Take every row's maximum, out (N,); -inf where the shard has no columns."""
    np.max(x, axis=1, initial=-np.inf, out=out)


def row_sum_exp(out: Array, x: Array, m: Array) -> None:
    """Sum exp(x - m) over every row's columns, out (N,)."""
    out[...] = np.exp(dense(x) - m[:, None]).sum(axis=1)


def row_pick(out: Array, x: Array, labels: Array, *, first_class: int) -> None:
    """Pick the label's column of every row, out (N,); 0 where another shard holds it."""
    held, columns = _held(x, labels, first_class)
    out[...] = 0
    out[held] = x[held, columns]


def row_pick_smoothed(
    out: Array, x: Array, labels: Array, *, smoothing: float, classes: int, first_class: int
) -> None:
    """Sum what the targets have of every row, out (N,): 1 - smoothing of the label's column where
    this shard holds it, and smoothing / classes of every column.
    """
    held, columns = _held(x, labels, first_class)
    out[...] = (smoothing / classes) * dense(x).sum(axis=1)
    out[held] += (1 - smoothing) * x[held, columns]


def row_pick_mixed(
    out: Array,
    x: Array,
    labels: Array,
    labels2: Array,
    share: Array,
    *,
    smoothing: float,
    classes: int,
    first_class: int,
) -> None:
    """Sum what the targets have of every row, out (N,): those of `row_pick_smoothed`, the first
    label's by `share` (N,), and the second's by what is left of 1.
    """
    out[...] = (smoothing / classes) * dense(x).sum(axis=1)
    for label, part in ((labels, share), (labels2, 1 - share)):
        held, columns = _held(x, label, first_class)
        out[held] += (1 - smoothing) * part[held] * x[held, columns]


def row_argmax(out: Array, x: Array, m: Array, *, first_class: int, classes: int) -> None:
    """Find the lowest global class whose x equals m, out (N,) int64; `classes` if none does."""
    numbers = np.arange(first_class, first_class + x.shape[1])
    hits = np.where(x == m[:, None], numbers, classes)
    np.min(hits, axis=1, initial=classes, out=out)


def softmax_dx(
    out: Array, x: Array, labels: Array, m: Array, s: Array, *, batch: int, first_class: int
) -> None:
    """Compute the gradient of the mean cross-entropy: (exp(x - m) / s - onehot) / batch.

    `batch` is the global batch. `out` may be x.
    """
    gradient = np.exp(x - m[:, None])
    gradient /= s[:, None]
    held, columns = _held(x, labels, first_class)
    gradient[held, columns] -= 1
    np.divide(gradient, batch, out=out)


def softmax_dx_smoothed(
    out: Array,
    x: Array,
    labels: Array,
    m: Array,
    s: Array,
    *,
    batch: int,
    smoothing: float,
    classes: int,
    first_class: int,
) -> None:
    """Compute the gradient of the mean cross-entropy with smoothed labels: (exp(x - m) / s -
    (1 - smoothing) onehot - smoothing / classes) / batch. `out` may be x.
    """
    gradient = np.exp(x - m[:, None])
    gradient /= s[:, None]
    gradient -= smoothing / classes
    held, columns = _held(x, labels, first_class)
    gradient[held, columns] -= 1 - smoothing
    np.divide(gradient, batch, out=out)


def softmax_dx_mixed(
    out: Array,
    x: Array,
    labels: Array,
    labels2: Array,
    share: Array,
    m: Array,
    s: Array,
    *,
    batch: int,
    smoothing: float,
    classes: int,
    first_class: int,
) -> None:
    """Compute the gradient of the mean cross-entropy with two labels a row: (exp(x - m) / s -
    targets) / batch, targets as `row_pick_mixed` has them. `out` may be x.
    """
    gradient = np.exp(x - m[:, None])
    gradient /= s[:, None]
    gradient -= smoothing / classes
    for label, part in ((labels, share), (labels2, 1 - share)):
        held, columns = _held(x, label, first_class)
        gradient[held, columns] -= (1 - smoothing) * part[held]
    np.divide(gradient, batch, out=out)


def _held(x: Array, labels: Array, first_class: int) -> tuple[Array, Array]:
    """Find the rows whose label this shard holds, and its column in each."""
    columns = labels - first_class
    held = np.flatnonzero((columns >= 0) & (columns < x.shape[1]))
    return held, columns[held]
