"""Plan a network for machines that you do not have.

netc knows machines by their cluster files: devices, links, and how these are arranged. Nothing of a
machine is needed to plan for it. Run as `python plan_for_elsewhere.py [NETWORK]`.
"""

import sys

import netc

network = netc.load(sys.argv[1] if len(sys.argv) > 1 else "digits")

for cluster in ("k20", "p100", "h100"):
    plan = network.plan(devices=4, strategy="auto", cluster=cluster)
    print(f"{cluster:5} {plan.step_seconds * 1e3:8.3f} ms a step, "
          f"{max(plan.sent_bytes) / 1e6:6.2f} MB sent by a device, "
          f"{max(plan.memory_bytes) / 1e6:7.2f} MB of memory")  # fmt: skip

# The table of the last plan; in a notebook the plan itself is a picture.
print()
print(plan)

# Which splits could the last layers have, and what would they cost?
for layer in plan.choices_of("fc*"):
    print()
    print(layer)

# A machine of your own is a file like those in netc's folder 'clusters': cluster="mine.toml".
