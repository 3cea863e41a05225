"""A process's GPU made ready for a program: the device, its memory, the vendor's plans."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Program
from netc_kernels.cuda import vendor
from netc_kernels.cuda.source import digest
from netc_runtime.comm.ranks import Ranks
from netc_runtime.cuda import CudaBackend
from netc_runtime.launch import check_memory
from netc_runtime.tuning import table_path

VERSION = 1


def open_cuda(
    graph: bool, programs: Sequence[Program], precision: str, ranks: Ranks | None
) -> CudaBackend:
    """The backend on this process's GPU: that of its rank, or the first.

    Raises DeviceError where the GPU has too little memory.
    """
    import cupy

    if ranks is not None:
        local, gpus = ranks.local, cupy.cuda.runtime.getDeviceCount()
        if local >= gpus:
            message = f"this machine has {gpus} GPUs for {local + 1} processes or more."
            raise DeviceError(Diagnostic("E071", message, help="start one process a GPU."))
        cupy.cuda.Device(local).use()
    devices = range(programs[0].mesh.size) if ranks is None else (ranks.rank,)
    free, _ = cupy.cuda.runtime.memGetInfo()
    check_memory(programs, devices, free, "the GPU")
    return CudaBackend(programs, precision, ranks, graph, _KeptPlans())


def known_plans() -> dict[str, str]:
    """What was measured on this machine's GPU; nothing where there is none."""
    from netc_runtime.launch import visible_gpus

    return dict(_KeptPlans()) if visible_gpus() else {}


class _KeptPlans(dict[str, str]):
    """The vendor's plans by what they compute, kept in a file for this GPU and library."""

    def __init__(self) -> None:
        import cupy

        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        library = "none" if vendor.missing() else vendor.version()
        self.machine = f"{found['name'].decode()}, cuDNN {library}, kernels {digest()}"
        self.path = table_path().with_name("plans.json")
        super().__init__(self._read().get(self.machine, {}))

    def __setitem__(self, product: str, plan: str) -> None:
        """Remember a plan, in the file too if it is new."""
        if self.get(product) == plan:
            return
        super().__setitem__(product, plan)
        machines = self._read()
        machines[self.machine] = {**machines.get(self.machine, {}), **self}
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"version": VERSION, "machines": machines}, indent=1, sort_keys=True)
            temporary.write_text(text + "\n", encoding="utf-8")
            temporary.replace(self.path)
        except OSError:
            # A cache that cannot be written costs time at the next start, nothing else.
            return

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            machines: dict[str, Any] = found["machines"] if found["version"] == VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return machines
