"""Compare whole gradients of netc and of PyTorch, tensor by tensor.

Stronger than the goldens, which keep norms and projections only, but it needs PyTorch beside netc's
dependencies and is no test:

    python tests/goldens/compare.py resnet50 --side 224 --batch 3
    python tests/goldens/compare.py vgg16 --side 32 --strategy hybrid --devices 3 --precision fp32

Both start from netc's weights, images and dropout masks. It prints the relative L2 distance of the
loss, the class scores, the running statistics and every gradient, training and evaluating: netc
from PyTorch, both in float64; with `--precision fp32`, each in float32 from PyTorch in float64.
Gradients in float32 may then differ by far more than rounding, in netc or in PyTorch: where a unit
lies so near to 0, or two of a window so near to each other, that rounding moves one past, relu and
maxpool pass another gradient on. `--smooth` has none of these.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import golden_networks
import numpy as np
import torch
import torch_networks
from golden_networks import STATISTICS, Array, Case, Result, distances, run_netc
from torch.nn.functional import cross_entropy

SIDES = {"alexnet": 227, "inception_v3": 299}
"""Images of the full size, where they are not 224 pixels wide."""
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}


def run_torch(case: Case, given: Mapping[str, Array], precision: str) -> Result:
    """The same as `run_netc`, by PyTorch on one CPU."""
    dtype = DTYPES[precision]
    first = given.get("classifier.0.weight", given.get("classifier.1.weight"))
    inputs = 0 if first is None else first.shape[1]
    model = torch_networks.build(case.model, case.bn, inputs).to(dtype)
    if case.smooth:
        torch_networks.make_smooth(model)
    state = {name: torch.from_numpy(value).to(dtype) for name, value in given.items()}
    fit = model.load_state_dict(state, strict=False)
    assert not fit.unexpected_keys, fit.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in fit.missing_keys), fit.missing_keys
    masks = [torch.from_numpy(mask).to(dtype) for mask in golden_networks.masks(case)]
    torch_networks.set_masks(model, masks)
    images, labels = torch.from_numpy(case.images()).to(dtype), torch.from_numpy(case.labels())
    model.eval()
    with torch.no_grad():
        evaluated = model(images)
        evaluated_loss = cross_entropy(evaluated, labels)
    model.train()
    scores = model(images)
    loss = cross_entropy(scores, labels)
    loss.backward()
    return Result(
        loss.item(), scores.detach().numpy(), evaluated_loss.item(), evaluated.numpy(),
        {name: _numpy(value.grad) for name, value in model.named_parameters()},
        {name: _numpy(value) for name, value in model.named_buffers() if name.endswith(STATISTICS)},
    )  # fmt: skip


def _numpy(value: torch.Tensor | None) -> Array:
    assert value is not None, "every weight has a gradient"
    return np.asarray(value.detach().numpy())


def compare(case: Case, strategy: str, devices: int, precision: str) -> dict[str, dict[str, float]]:
    """Distances of netc, and in float32 of PyTorch too, by who is compared."""
    given = golden_networks.weights(case)
    exact = run_torch(case, given, "fp64")
    found = {"netc": distances(run_netc(case, given, strategy, devices, precision), exact)}
    if precision == "fp32":
        found["PyTorch"] = distances(run_torch(case, given, precision), exact)
    return found


def main() -> None:
    """Compare one network and print a table."""
    parser = argparse.ArgumentParser(description="gradients of netc and of PyTorch")
    parser.add_argument("model")
    parser.add_argument("--bn", action="store_true", help="a VGG network with batch norm")
    parser.add_argument("--smooth", action="store_true", help="tanh for relu, averages for maxima")
    parser.add_argument("--side", type=int, help="pixels; default: the full size")
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--strategy", default="single")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--precision", choices=DTYPES, default="fp64")
    args = parser.parse_args()
    side = args.side or SIDES.get(args.model, 224)
    case = Case(args.model, side, args.batch, args.bn, args.smooth)
    start = time.perf_counter()
    found = compare(case, args.strategy, args.devices, args.precision)
    for what in found["netc"]:
        print("  ".join(f"{each[what]:8.1e}" for each in found.values()), what)
    for who, each in found.items():
        what = max(each, key=each.__getitem__)
        print(f"{case.name}, {args.precision}: {who} at most {each[what]:.1e}, {what}")
    print(f"{time.perf_counter() - start:.0f} s, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
