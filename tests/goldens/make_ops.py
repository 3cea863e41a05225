"""Write `ops.safetensors`: what PyTorch computes for every op that it shares with netc.

Made with PyTorch 2.13.0 on a CPU; any version since 2.0 will do. In an environment that has torch,
numpy and safetensors, from the root of the repository:

    python tests/goldens/make_ops.py

All numbers are float64. The file's metadata lists the calls, in JSON: a call has the kernel's name
and attributes, the names of the tensors that go in, and the name of the one that PyTorch says comes
out. The test has no list of its own. Only dropout is missing: its masks are netc's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from op_book import Book, leaf, normal
from op_updates import adam_updates, momentum_updates, rmsprop_updates, updates
from torch.nn import functional

Shape = tuple[int, ...]
Pair = tuple[int, int]
Pad = tuple[int, int, int, int]
"""Top, bottom, left, right."""
FROM_OPERAND = ("gelu",)
"""Activations whose gradient reads what they do; that of others reads their result."""


def whole(*shape: int) -> torch.Tensor:
    """Whole numbers from 0 to 2, so that windows have many equal elements."""
    numbers = np.random.default_rng(2).integers(0, 3, shape)
    return torch.from_numpy(numbers.astype(np.float64))


def padded(x: torch.Tensor, pad: Pad, value: float = 0.0) -> torch.Tensor:
    top, bottom, left, right = pad
    return functional.pad(x, (left, right, top, bottom), value=value)


def same(image: Pair, size: Pair, stride: Pair) -> Pad:
    """The padding for ceil(extent / stride) outputs, the odd pixel behind."""
    sides = []
    for extent, window, step in zip(image, size, stride, strict=True):
        total = max((-(-extent // step) - 1) * step + window - extent, 0)
        sides += [total // 2, total - total // 2]
    return (sides[0], sides[1], sides[2], sides[3])


def told(size: Pair, stride: Pair, pad: Pad) -> str:
    return f"{size[0]}x{size[1]} /{stride[0]}x{stride[1]} pad={','.join(map(str, pad))}"


# images, filters, groups, size, stride, padding
CONVOLUTIONS: list[tuple[Shape, int, int, Pair, Pair, Pad]] = [
    ((2, 2, 7, 6), 2, 1, size, stride, pad)
    for size, stride, pad in [
        ((1, 1), (1, 1), (0, 0, 0, 0)),
        ((1, 1), (2, 2), (0, 0, 0, 0)),
        ((1, 1), (1, 1), (1, 1, 1, 1)),
        ((2, 2), (1, 1), (0, 0, 0, 0)),
        ((2, 2), (2, 2), (0, 0, 0, 0)),
        ((2, 2), (2, 2), (1, 0, 0, 1)),
        ((2, 2), (4, 4), (0, 0, 0, 0)),
        ((3, 3), (1, 1), (0, 0, 0, 0)),
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 3), (1, 1), (2, 2, 2, 2)),
        ((3, 3), (2, 2), (0, 0, 0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (3, 3), (1, 1, 1, 1)),
        ((3, 3), (2, 1), (1, 1, 0, 0)),
        ((3, 3), (1, 3), (0, 2, 1, 0)),
        ((3, 3), (4, 5), (1, 0, 0, 0)),
        ((3, 2), (1, 1), (1, 0, 2, 1)),
        ((2, 3), (2, 3), (0, 1, 3, 0)),
        ((1, 3), (1, 1), (0, 0, 1, 1)),
        ((3, 1), (1, 1), (1, 1, 0, 0)),
        ((5, 5), (1, 1), (2, 2, 2, 2)),
        ((5, 5), (2, 2), (2, 1, 0, 2)),
        ((7, 6), (1, 1), (0, 0, 0, 0)),
        ((4, 4), (3, 2), (4, 3, 2, 5)),
    ]
]
CONVOLUTIONS += [
    ((2, 2, *image), 2, 1, size, stride, same(image, size, stride))
    for image, size, stride in [
        ((7, 6), (3, 3), (1, 1)),
        ((7, 6), (3, 3), (2, 2)),
        ((6, 7), (2, 2), (1, 1)),
        ((6, 7), (4, 5), (3, 2)),
        ((5, 8), (5, 2), (2, 3)),
        ((7, 7), (1, 7), (1, 1)),
        ((7, 7), (7, 1), (1, 1)),
        ((7, 7), (2, 2), (3, 3)),
    ]
]
CONVOLUTIONS += [
    ((2, 4, 5, 5), 6, 2, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((2, 4, 5, 6), 4, 4, (3, 2), (2, 1), (1, 0, 0, 1)),
    ((1, 6, 4, 5), 9, 3, (2, 3), (1, 2), (0, 1, 1, 1)),
    ((2, 6, 3, 3), 6, 2, (1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 3, 1, 1), 4, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
    ((1, 2, 1, 1), 3, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 1, 1, 1), 1, 1, (5, 5), (2, 2), (2, 2, 2, 2)),
    ((1, 1, 8, 8), 1, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((1, 3, 13, 13), 2, 1, (11, 11), (4, 4), (2, 2, 2, 2)),
    ((5, 1, 3, 4), 2, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
]


def convolutions(book: Book) -> None:
    for shape, filters, groups, size, stride, pad in CONVOLUTIONS:
        x, w = leaf(normal(*shape)), leaf(normal(filters, shape[1] // groups, *size, seed=1))
        y = functional.conv2d(padded(x, pad), w, stride=stride, groups=groups)
        dy = normal(*y.shape, seed=2)
        y.backward(dy)
        case = f"{told(size, stride, pad)} groups={groups} of {'x'.join(map(str, shape))}"
        window = {"stride": stride, "pad": pad, "groups": groups}
        held = {**window, "filters": filters, "first_filter": 0}
        book.call(case, "conv", y, x, w, **held)
        book.call(case, "conv_dx", x.grad, dy, w, **held)
        book.call(case, "conv_dw", w.grad, x, dy, **held)


# size, stride, padding, ceil mode
POOLS: list[tuple[Pair, Pair, Pad, bool]] = [
    ((2, 2), (2, 2), (0, 0, 0, 0), False),
    ((2, 2), (2, 2), (0, 0, 0, 0), True),
    ((2, 2), (1, 1), (0, 0, 0, 0), False),
    ((2, 2), (3, 3), (0, 0, 0, 0), True),
    ((2, 2), (3, 3), (1, 1, 1, 1), True),
    ((3, 3), (2, 2), (0, 0, 0, 0), False),
    ((3, 3), (2, 2), (0, 0, 0, 0), True),
    ((3, 3), (2, 2), (1, 1, 1, 1), False),
    ((3, 3), (2, 2), (1, 1, 1, 1), True),
    ((3, 3), (1, 1), (1, 1, 1, 1), False),
    ((3, 3), (3, 3), (1, 1, 1, 1), True),
    ((3, 2), (2, 3), (1, 1, 0, 0), True),
    ((3, 2), (2, 1), (1, 1, 1, 1), False),
    ((1, 4), (1, 2), (0, 0, 2, 2), True),
    ((4, 1), (3, 1), (1, 1, 0, 0), True),
    ((2, 3), (2, 2), (1, 0, 0, 2), False),
    ((3, 3), (2, 2), (0, 1, 2, 0), False),
    ((5, 5), (4, 4), (2, 2, 2, 2), True),
    ((1, 1), (2, 2), (0, 0, 0, 0), False),
]
IMAGES: list[Shape] = [(2, 1, 7, 6), (1, 1, 8, 5)]
SMALL_POOLS: list[tuple[Shape, Pair, Pair, Pad, bool]] = [
    ((1, 2, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), False),
    ((1, 2, 1, 1), (2, 2), (2, 2), (1, 1, 1, 1), True),
    ((2, 1, 1, 1), (3, 3), (2, 2), (1, 1, 1, 1), False),
    ((2, 3, 5, 4), (5, 4), (5, 4), (0, 0, 0, 0), False),
]


def pool_cases() -> Iterator[tuple[Shape, Pair, Pair, Pad, bool]]:
    yield from ((shape, *pool) for pool in POOLS for shape in IMAGES)
    yield from SMALL_POOLS


def pools(book: Book) -> None:
    for shape, size, stride, pad, ceil in pool_cases():
        case = f"{told(size, stride, pad)} ceil={ceil} of {'x'.join(map(str, shape))}"
        window = {"size": size, "stride": stride, "pad": pad, "ceil": ceil}
        # PyTorch pads evenly, and by half the window at most; in ceil mode it must know the padding
        even = (pad[0], pad[2]) if pad[::2] == pad[1::2] else (0, 0)
        around = (0, 0, 0, 0) if any(even) else pad
        for kind, image in (("distinct", normal(*shape)), ("ties", whole(*shape))):
            x = leaf(image)
            y = functional.max_pool2d(
                padded(x, around, -np.inf), size, stride, even, ceil_mode=ceil
            )
            dy = normal(*y.shape, seed=2)
            y.backward(dy)
            book.call(f"{kind} {case}", "maxpool", y, x, **window)
            book.call(f"{kind} {case}", "maxpool_dx", x.grad, x, y, dy, **window)
        x = leaf(normal(*shape))
        y = functional.avg_pool2d(padded(x, around), size, stride, even, ceil_mode=ceil)
        dy = normal(*y.shape, seed=2)
        y.backward(dy)
        book.call(case, "avgpool", y, x, **window)
        book.call(case, "avgpool_dx", x.grad, dy, **window)


def inside_means(book: Book) -> None:
    """Means over windows with their padding, and over the pixels of the image alone."""
    for shape, size, stride, pad, ceil in pool_cases():
        even = (pad[0], pad[2])
        if ceil or not any(pad) or pad[::2] != pad[1::2]:
            continue
        window = {"kernel_size": size, "stride": stride, "padding": even}
        x = leaf(normal(*shape))
        means = functional.avg_pool2d(x, **window, count_include_pad=True)
        inside = functional.avg_pool2d(x, **window, count_include_pad=False)
        case = f"{told(size, stride, pad)} of {'x'.join(map(str, shape))}"
        whole = {"size": size, "stride": stride, "around": pad, "image": shape[2:]}
        place = {"shape": tuple(means.shape), "offset": (0, 0, 0, 0)}
        book.call(case, "inside_mean", inside, means, **whole, **place)
        # What the means have of the gradient is scaled alike, and then theirs is PyTorch's of x.
        dy = normal(*inside.shape, seed=2)
        (wanted,) = torch.autograd.grad(inside, x, dy)
        share = functional.avg_pool2d(torch.ones_like(x), **window, count_include_pad=True)
        book.call(f"gradient {case}", "inside_mean", dy / share, dy, **whole, **place)
        pool = {"size": size, "stride": stride, "pad": pad, "ceil": ceil}
        book.call(f"inside {case}", "avgpool_dx", wanted, dy / share, **pool)


def products(book: Book) -> None:
    for n, c, k in [(3, 5, 4), (1, 1, 1), (1, 9, 2), (4, 1, 3), (7, 33, 11)]:
        x, w, b = leaf(normal(n, c)), leaf(normal(k, c, seed=1)), leaf(normal(k, seed=3))
        product = functional.linear(x, w)
        y = functional.linear(x, w, b)
        dy = normal(n, k, seed=2)
        y.backward(dy)
        case = f"{n} images, {c} to {k}"
        book.call(case, "fc", product, x, w)
        book.call(case, "bias", y, product, b)
        book.call(case, "fc_dx", x.grad, dy, w)
        book.call(case, "fc_dw", w.grad, x, dy)
        book.call(case, "bias_db", b.grad, dy)


def biases(book: Book) -> None:
    for shape in [(2, 3, 5, 4), (1, 1, 1, 1), (1, 4, 1, 3)]:
        x, b = normal(*shape), leaf(normal(shape[1], seed=3))
        weight = torch.eye(shape[1], dtype=torch.float64)[:, :, None, None]
        y = functional.conv2d(x, weight, b)
        dy = normal(*shape, seed=2)
        y.backward(dy)
        case = "x".join(map(str, shape))
        book.call(case, "bias", y, x, b)
        book.call(case, "bias_db", b.grad, dy)


def activations(book: Book) -> None:
    functions = {
        "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
        "gelu": partial(functional.gelu, approximate="tanh"),
    }  # fmt: skip
    special = torch.tensor([[-800.0, -30.0, -1.0, -0.0, 0.0, 1e-9, 1.0, 30.0, 800.0]]).double()
    images = {"normal": normal(2, 3, 3, 2), "1x1": normal(1, 1, 1, 1), "special": special}
    for op, function in functions.items():
        for case, image in images.items():
            x = leaf(image)
            y = function(x)
            dy = normal(*x.shape, seed=2)
            y.backward(dy)
            book.call(case, op, y, x)
            book.call(case, f"{op}_dx", x.grad, x if op in FROM_OPERAND else y, dy)


def response_normalizations(book: Book) -> None:
    for shape, size, alpha, beta, k in [
        ((2, 7, 3, 2), 5, 1e-4, 0.75, 2.0),
        ((2, 7, 3, 2), 5, 0.3, 0.75, 2.0),
        ((2, 7, 3, 2), 5, 2e-5, 0.75, 1.0),
        ((1, 6, 2, 2), 3, 0.5, 0.5, 1.0),
        ((1, 6, 2, 2), 4, 0.5, 1.25, 1.0),
        ((1, 6, 2, 2), 2, 0.5, 1.0, 0.5),
        ((2, 3, 2, 2), 1, 0.5, 0.75, 1.0),
        ((2, 3, 2, 2), 7, 0.5, 0.75, 1.0),
        ((1, 1, 1, 1), 5, 0.5, 0.75, 2.0),
    ]:
        x = leaf(normal(*shape))
        y = functional.local_response_norm(
            x, size, alpha * size, beta, k
        )  # PyTorch divides by the size
        dy = normal(*shape, seed=2)
        y.backward(dy)
        case = f"{size} alpha={alpha} beta={beta} k={k} of {'x'.join(map(str, shape))}"
        attributes = {"size": size, "alpha": alpha, "beta": beta, "k": k}
        book.call(case, "lrn", y, x, **attributes)
        book.call(case, "lrn_dx", x.grad, x, dy, **attributes)


def batch_normalizations(book: Book) -> None:
    for shape, eps, momentum in [
        ((3, 4, 3, 2), 1e-5, 0.1),
        ((3, 4, 3, 2), 1e-3, 0.3),
        ((1, 3, 3, 3), 1e-5, 0.1),
        ((5, 1, 1, 1), 1e-3, 0.1),
        ((6, 3), 1e-5, 0.1),
    ]:
        c, dims = shape[1], [i for i in range(len(shape)) if i != 1]
        count = int(np.prod([shape[i] for i in dims]))
        x = leaf(normal(*shape) * 2 + 0.7)
        gamma, beta = leaf(normal(c, seed=3)), leaf(normal(c, seed=4))
        old_mean, old_var = normal(c, seed=5), normal(c, seed=6) ** 2
        new_mean, new_var = old_mean.clone(), old_var.clone()
        y = functional.batch_norm(x, new_mean, new_var, gamma, beta, True, momentum, eps)
        dy = normal(*shape, seed=2)
        y.backward(dy)
        mean, var = x.detach().mean(dims), x.detach().var(dims, unbiased=False)
        case = f"eps={eps} momentum={momentum} of {'x'.join(map(str, shape))}"
        book.call(case, "bn_mean", mean, x, count=count)
        book.call(case, "bn_var", var, x, mean, count=count)
        book.call(case, "bn_norm", y, x, mean, var, gamma, beta, eps=eps)
        book.call(case, "bn_dgamma", gamma.grad, x, mean, var, dy, eps=eps)
        book.call(case, "bias_db", beta.grad, dy)
        sums = (gamma, gamma.grad, beta.grad)
        book.call(case, "bn_dx", x.grad, x, mean, var, *sums, dy, eps=eps, count=count)
        running = {"momentum": momentum, "correction": 1.0}
        book.call(f"mean {case}", "bn_running", new_mean, old_mean, mean, **running)
        running["correction"] = count / (count - 1)
        book.call(f"variance {case}", "bn_running", new_var, old_var, var, **running)
        evaluated = functional.batch_norm(x, old_mean, old_var, gamma, beta, False, momentum, eps)
        statistics = (old_mean, old_var, gamma, beta)
        book.call(f"evaluation {case}", "bn_norm", evaluated, x, *statistics, eps=eps)


def normalizations_by_groups(book: Book) -> None:
    """PyTorch's batch norm of each group by itself."""
    for shape, group, eps in [((6, 4, 3, 2), 2, 1e-5), ((6, 3), 3, 1e-3), ((3, 2, 3, 3), 1, 1e-5)]:
        c, dims = shape[1], [i for i in range(len(shape)) if i != 1]
        x, dy = normal(*shape) * 2 + 0.7, normal(*shape, seed=2)
        gamma, beta = normal(c, seed=3), normal(c, seed=4)
        found: list[list[torch.Tensor]] = []
        for part, slope in zip(x.split(group), dy.split(group), strict=True):
            own = leaf(part), leaf(gamma), leaf(beta)
            y = functional.batch_norm(own[0], None, None, own[1], own[2], True, 0.1, eps)
            y.backward(slope)
            statistics = part.mean(dims), part.var(dims, unbiased=False)
            slopes = [each.grad for each in own if each.grad is not None]
            found.append([*statistics, y, *slopes])
        mean, var, dgamma, dbeta = (torch.stack([each[i] for each in found]) for i in (0, 1, 4, 5))
        y, dx = (torch.cat([each[i] for each in found]) for i in (2, 3))
        case, told = f"{group} of {'x'.join(map(str, shape))}", {"group": group, "before": 0}
        count = x[:group].numel() // c
        book.call(case, "grouped_mean", mean, x, count=count, **told)
        book.call(case, "grouped_var", var, x, mean, count=count, **told)
        book.call(case, "grouped_norm", y, x, mean, var, gamma, beta, eps=eps, **told)
        book.call(case, "grouped_dgamma", dgamma, x, mean, var, dy, eps=eps, **told)
        book.call(case, "grouped_dbeta", dbeta, dy, **told)
        inputs = (x, mean, var, gamma, dgamma, dbeta, dy)
        book.call(case, "grouped_dx", dx, *inputs, eps=eps, count=count, **told)


def losses(book: Book) -> None:
    large = normal(3, 4) * 500
    for case, logits in {
        "normal": normal(5, 7), "one image": normal(1, 3), "one class": normal(2, 1),
        "large": large, "ties": whole(6, 4),
    }.items():  # fmt: skip
        n, k = logits.shape
        labels = torch.arange(n) * 2 % k
        x = leaf(logits)
        loss = functional.cross_entropy(x, labels)
        loss.backward()
        peak = logits.amax(1)
        total = (logits - peak[:, None]).exp().sum(1)
        picked = logits.gather(1, labels[:, None])[:, 0]
        best, count = logits.argmax(1), torch.tensor(max(1, n - 2))
        book.call(case, "row_max", peak, x)
        book.call(case, "row_sum_exp", total, x, peak)
        book.call(case, "row_pick", picked, x, labels, first_class=0)
        book.call(case, "row_argmax", best, x, peak, first_class=0, classes=k)
        book.call(case, "ce_loss", loss, peak, total, picked, batch=n)
        softmax = {"batch": n, "first_class": 0}
        book.call(case, "softmax_dx", x.grad, x, labels, peak, total, **softmax)
        smoothing = {"smoothing": 0.1, "classes": k}
        smoothed = leaf(logits)
        loss = functional.cross_entropy(smoothed, labels, label_smoothing=0.1)
        loss.backward()
        targets = functional.one_hot(labels, k).double() * 0.9 + 0.1 / k
        aims = (targets * logits).sum(1)
        book.call(case, "row_pick_smoothed", aims, x, labels, first_class=0, **smoothing)
        book.call(case, "ce_loss", loss, peak, total, aims, batch=n)
        book.call(
            case, "softmax_dx_smoothed", smoothed.grad, x, labels, peak, total,
            **softmax, **smoothing,
        )  # fmt: skip
        mixed_losses(book, case, logits, labels)
        some = functional.cross_entropy(logits[:count], labels[:count], reduction="sum")
        right = (best == labels)[:count].sum().double()
        rows: dict[str, Any] = {"offset": [0], "rows": []}
        book.call(case, "ce_loss_masked", some, peak, total, picked, count, **rows)
        book.call(case, "correct", right, best, labels, count, **rows)


def mixed_losses(book: Book, case: str, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Of two labels an image, smoothed or not."""
    (n, k), x = logits.shape, leaf(logits)
    peak = logits.amax(1)
    total = (logits - peak[:, None]).exp().sum(1)
    softmax = {"batch": n, "first_class": 0}
    others, share = labels.roll(1), torch.linspace(0, 1, n, dtype=torch.float64)
    for part in (0.0, 0.1):
        blurred = {"smoothing": part, "classes": k}
        mixed = leaf(logits)
        both = (functional.cross_entropy(mixed, of, reduction="none", label_smoothing=part)
                for of in (labels, others))  # fmt: skip
        loss = sum((each * by).mean() for each, by in zip(both, (share, 1 - share), strict=True))
        loss.backward()
        aims = (
            peak
            + total.log()
            - sum(
                functional.cross_entropy(x.detach(), of, reduction="none", label_smoothing=part)
                * by
                for of, by in ((labels, share), (others, 1 - share))
            )
        )
        targets = x, labels, others, share
        book.call(case, "row_pick_mixed", aims, *targets, first_class=0, **blurred)
        book.call(case, "ce_loss", loss, peak, total, aims, batch=n)
        book.call(case, "softmax_dx_mixed", mixed.grad, *targets, peak, total, **softmax, **blurred)


def joins(book: Book) -> None:
    for shape in [(2, 3, 3, 2), (1, 1, 1, 1)]:
        case = "x".join(map(str, shape))
        xs = [normal(*shape, seed=s) for s in range(3)]
        book.call(f"{case}, two", "add", xs[0] + xs[1], *xs[:2])
        book.call(f"{case}, three", "add", xs[0] + xs[1] + xs[2], *xs)
        other = normal(shape[0], 2, *shape[2:], seed=4)
        joined = torch.cat([xs[0], other, xs[1]], 1)
        book.call(case, "concat", joined, xs[0], other, xs[1])
        widths = [0, shape[1], shape[1] + 2, 2 * shape[1] + 2]
        for start, end in pairwise(widths):
            part = joined[:, start:end]
            book.call(f"{case} from {start}", "slice", part, joined, dim=1, start=start)


def main() -> None:
    """Make the file."""
    book = Book()
    for make in (
        convolutions, products, biases, activations, pools, inside_means, response_normalizations,
        batch_normalizations, normalizations_by_groups, losses, joins, updates, momentum_updates,
        adam_updates, rmsprop_updates,
    ):  # fmt: skip
        make(book)
    book.save()


if __name__ == "__main__":
    main()
