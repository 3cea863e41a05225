"""`netc tune`: time the kernels that a plan could use, and keep the times."""

from __future__ import annotations

import argparse
from dataclasses import replace

from netc.api.figures import seconds_text
from netc.api.kernels import call_text
from netc.cli.common import request
from netc.cli.output import json_line, say
from netc.errors import DeviceError, Diagnostic
from netc.ir.kernels import KernelCall, KernelChoice
from netc.passes.pipeline import compile_network
from netc_kernels import cpu
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.measure.tuning import measure, save_times


def run(options: argparse.Namespace) -> int:
    """Compile, time what could be chosen otherwise, and write the table."""
    options.kernels = options.kernels or "fast"
    asked = request(options)
    threads = asked.options.target.threads
    if not threads:
        reason = cpu.available() or (
            "'--kernels reference', '--precision fp64' and '--cluster' leave none"
        )
        raise DeviceError(Diagnostic("E077", f"there are no kernels to choose from: {reason}."))
    kernels = CpuKernels(threads)
    seen: dict[KernelCall, None] = {}

    def choose(calls: tuple[KernelCall, ...]) -> KernelChoice | None:
        seen.update((c, None) for c in calls if len(kernels.variants(c)) > 1)
        return kernels.choose(calls)

    target = replace(asked.options.target, choose=choose)
    compile_network(asked.network, replace(asked.options, target=target))
    times = {}
    for call, found in measure(seen, threads):
        times[call] = found
        _show(options, call, found)
    path = save_times(threads, times)
    if options.json:
        json_line(event="result", calls=len(times), table=str(path))
    else:
        say(f"kept {len(times)} times in {path}; every command chooses by them")
    return 0


def _show(options: argparse.Namespace, call: KernelCall, found: dict[str, float]) -> None:
    if options.json:
        json_line(event="call", kernel=call.kernel, operands=call.operands, result=call.result,
                  seconds=found)  # fmt: skip
        return
    best = min(found, key=lambda variant: found[variant])
    shown = "  ".join(f"{name} {seconds_text(s)}" for name, s in sorted(found.items()))
    say(f"{call_text(call):44}  {best:9}  {shown}")
