"""Compare strategies: predicted for a machine, and that what they compute is the same.

Run as `python compare_strategies.py [NETWORK]`.
"""

import sys

import numpy as np

import netc

network = netc.load(sys.argv[1] if len(sys.argv) > 1 else "digits")

# What each strategy would take on 1, 2 and 4 devices of a machine, under each exchange scheme.
found = network.compare(devices=[1, 2, 4], cluster="k20")
print(found)
for devices, (plan, speedup) in found.best.items():
    print(f"{devices} devices: '{plan.name}', {speedup:.2f} times one device")

# Why: what a layer would cost under each split that it may have.
print()
print(network.plan(devices=4, strategy="hybrid", cluster="k20").choices_of("fc1")[0])

# Any plan computes what one device computes, to rounding: train by some of them, and look.
weights = {}
for strategy in ("single", "data", "model", "hybrid"):
    devices = 1 if strategy == "single" else 2
    trained = network.run(devices=devices, strategy=strategy, steps=5)
    weights[strategy] = trained.weights()
    print(f"{strategy:7} loss {trained.loss:.6f}, accuracy {100 * trained.accuracy:.2f} %")

furthest = max(
    float(np.abs(weights[strategy][name] - value).max())
    for name, value in weights["single"].items()
    for strategy in weights
)
print(f"after 5 steps weights are {furthest:.1e} apart, at most")
