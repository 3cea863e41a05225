"""What compiling costs: CPU seconds of the whole `netc compile` process, medians of several.

    python benchmarks/compile.py
    python benchmarks/compile.py --repeat 5 --out compile.json vgg16 resnet50

Every network is compiled with `data`, and with `hybrid` and scheme a, for 1, 4 and 16 devices, 8
images each; VGG-16 and AlexNet also with scheme b for 16, ResNet-50 with `data` for 1,024. The
processes run one at a time, in turn, so that all see the same machine. Printed are seconds of user
and system time, and for several devices the time beside that of fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import netc_models

IMAGES = 8
Case = tuple[str, str, str, int]
"""Network, strategy, scheme, devices."""
EXTRA: tuple[Case, ...] = (
    ("vgg16", "hybrid", "b", 16), ("alexnet", "hybrid", "b", 16), ("resnet50", "data", "a", 1024),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Time netc compile.")
    parser.add_argument("networks", nargs="*", help="shipped networks (all)")
    parser.add_argument("--repeat", type=int, default=3, help="processes of each case (3)")
    parser.add_argument("--out", help="keep every time in this JSON file")
    asked = parser.parse_args()
    shipped = sorted(p.stem for p in Path(netc_models.__file__).parent.glob("*.net"))
    networks = asked.networks or shipped
    cases = [
        (network, strategy, "a", devices)
        for network in networks
        for strategy in ("data", "hybrid")
        for devices in (1, 4, 16)
    ]
    cases += [case for case in EXTRA if case[0] in networks]
    times: dict[Case, list[float]] = {case: [] for case in cases}
    lengths: dict[Case, int] = {}
    for _ in range(asked.repeat):
        for case in cases:
            seconds, lengths[case] = compiled(*case)
            times[case].append(seconds)
    show(times, lengths)
    if asked.out:
        kept = [
            {"case": case, "seconds": each, "instructions": lengths[case]}
            for case, each in times.items()
        ]
        about = {"machine": platform.processor() or platform.machine(), "cases": kept}
        Path(asked.out).write_text(json.dumps(about, indent=1), encoding="utf-8")


def compiled(network: str, strategy: str, scheme: str, devices: int) -> tuple[float, int]:
    """CPU seconds of one process, and instructions of its training program."""
    command = [
        sys.executable, "-c", "import sys; from netc.cli.main import main; sys.exit(main())",
        "compile", network, "--strategy", strategy, "--scheme", scheme, "--devices", str(devices),
        "--batch", str(IMAGES * devices), "--json",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command[3:])} failed")
    result = json.loads(output.splitlines()[-1])
    return usage.ru_utime + usage.ru_stime, result["instructions"]


def show(times: dict[Case, list[float]], lengths: dict[Case, int]) -> None:
    """A table in Markdown."""
    usual = {case: statistics.median(each) for case, each in times.items()}
    print("| network | strategy | scheme | 1 | 4 | 16 | 4 / 1, an instruction | 16 / 4 |")
    print("|---|---|---|---|---|---|---|---|")
    for network, strategy, scheme, devices in usual:
        if devices != 4:
            continue
        one, four, sixteen = ((network, strategy, scheme, n) for n in (1, 4, 16))
        each = (usual[four] / lengths[four]) / (usual[one] / lengths[one])
        print(
            f"| {network} | {strategy} | {scheme} | {usual[one]:.2f} | {usual[four]:.2f} | "
            f"{usual[sixteen]:.2f} | {each:.2f} | {usual[sixteen] / usual[four]:.2f} |"
        )
    for case in usual:
        if case in EXTRA:
            network, strategy, scheme, devices = case
            print(
                f"\n{network}, {strategy}, scheme {scheme}, {devices} devices: {usual[case]:.2f} s"
            )


if __name__ == "__main__":
    main()
