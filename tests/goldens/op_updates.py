"""Updates of weights by PyTorch's optimizers."""

from __future__ import annotations

import torch
from op_book import Book, leaf, normal


def updates(book: Book) -> None:
    """Steps of SGD at rates that stay: netc's velocity is PyTorch's buffer times minus the rate."""
    for lr, momentum, decay in [(0.1, 0.9, 0.01), (0.05, 0.0, 0.1), (0.3, 0.5, 0.0)]:
        w = leaf(normal(3, 4))
        sgd = torch.optim.SGD([w], lr, momentum, weight_decay=decay)
        velocity = torch.zeros_like(w)
        for step in range(4):
            before, g = w.detach().clone(), normal(3, 4, seed=7 + step)
            w.grad = g.clone()
            sgd.step()
            buffer = sgd.state[w].get("momentum_buffer")
            after = -lr * buffer if buffer is not None else w.detach() - before
            case = f"lr={lr} momentum={momentum} decay={decay} step {step}"
            attributes = {"momentum": momentum, "decay": decay, "scale": 1.0}
            rate = torch.tensor(lr, dtype=torch.float64)
            book.call(case, "sgd_velocity", after, velocity, before, g, rate, **attributes)
            book.call(case, "sgd_apply", w, before, after)
            velocity = after


def momentum_updates(book: Book) -> None:
    """Steps of SGD at rates that change; netc's velocity is PyTorch's buffer."""
    for momentum, decay, nesterov in [
        (0.9, 0.01, False), (0.5, 0.0, False), (0.9, 0.01, True), (0.3, 0.0, True),
    ]:  # fmt: skip
        w = leaf(normal(3, 4))
        sgd = torch.optim.SGD([w], 0.1, momentum, weight_decay=decay, nesterov=nesterov)
        velocity = torch.zeros_like(w)
        told = {"momentum": momentum, "decay": decay, "scale": 1.0}
        for step, lr in enumerate([0.1, 0.1, 0.01, 0.3]):
            before, g = w.detach().clone(), normal(3, 4, seed=7 + step)
            w.grad, sgd.param_groups[0]["lr"] = g.clone(), lr
            sgd.step()
            after = sgd.state[w]["momentum_buffer"].clone()
            case = f"SGD nesterov={nesterov} momentum={momentum} decay={decay} step {step}"
            rate = torch.tensor(lr, dtype=torch.float64)
            book.call(case, "momentum_velocity", after, velocity, before, g, **told)
            if nesterov:
                book.call(case, "nesterov_apply", w, before, after, g, rate, **told)
            else:
                book.call(case, "velocity_apply", w, before, after, rate, scale=1.0)
            velocity = after


def adam_updates(book: Book) -> None:
    """Steps of Adam and AdamW; netc's moments are PyTorch's."""
    for coupled, lr, betas, eps, decay in [
        (True, 0.1, (0.9, 0.999), 1e-8, 0.0),
        (True, 0.03, (0.5, 0.8), 1e-2, 0.1),
        (False, 0.1, (0.0, 0.9), 1e-8, 0.2),
    ]:
        w, slope = leaf(normal(3, 4)), {"decay": decay if coupled else 0.0, "scale": 1.0}
        make = torch.optim.Adam if coupled else torch.optim.AdamW
        adam = make([w], lr, betas, eps, decay)
        mean, square = torch.zeros_like(w), torch.zeros_like(w)
        beta1, beta2 = betas
        told = {"beta1": beta1, "beta2": beta2, "eps": eps, "decoupled": decay - slope["decay"]}
        for step in range(4):
            before, g = w.detach().clone(), normal(3, 4, seed=7 + step)
            w.grad = g.clone()
            adam.step()
            new = [adam.state[w][name].clone() for name in ("exp_avg", "exp_avg_sq")]
            case = f"{make.__name__} lr={lr} betas={betas} eps={eps} decay={decay} step {step}"
            book.call(case, "adam_moment1", new[0], mean, before, g, beta1=beta1, **slope)
            book.call(case, "adam_moment2", new[1], square, before, g, beta2=beta2, **slope)
            at = torch.tensor(lr, dtype=torch.float64), torch.tensor(step)
            more = {"scale": 1.0, "turn": 0, "turns": 1}
            book.call(case, "adam_apply", w, before, *new, *at, **told, **more)
            mean, square = new


def rmsprop_updates(book: Book) -> None:
    """Steps of RMSprop; netc's square and velocity are PyTorch's."""
    for lr, alpha, eps, decay, momentum in [
        (0.01, 0.99, 1e-8, 0.0, 0.0),
        (0.1, 0.9, 1e-2, 0.1, 0.9),
        (0.03, 0.0, 1e-8, 0.2, 0.5),
    ]:
        w = leaf(normal(3, 4))
        rmsprop = torch.optim.RMSprop([w], lr, alpha, eps, decay, momentum)
        square, velocity = torch.zeros_like(w), torch.zeros_like(w)
        slope = {"decay": decay, "scale": 1.0}
        for step in range(4):
            before, g = w.detach().clone(), normal(3, 4, seed=7 + step)
            w.grad = g.clone()
            rmsprop.step()
            new = rmsprop.state[w]["square_avg"].clone()
            told = f"lr={lr} alpha={alpha} eps={eps} decay={decay} momentum={momentum}"
            case, rate = f"RMSprop {told} step {step}", torch.tensor(lr, dtype=torch.float64)
            book.call(case, "adam_moment2", new, square, before, g, beta2=alpha, **slope)
            moved = rmsprop.state[w].get("momentum_buffer", (before - w.detach()) / lr).clone()
            book.call(
                case, "rmsprop_velocity", moved, velocity, new, before, g,
                momentum=momentum, eps=eps, **slope,
            )  # fmt: skip
            book.call(case, "velocity_apply", w, before, moved, rate, scale=1.0)
            square, velocity = new, moved
