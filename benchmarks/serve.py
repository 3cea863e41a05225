"""What the peers of cpu.py share: the case they are told, and a step for every line they read."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

WARM_UP = 2
RATE, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4
"""Of SGD; nothing depends on them but that numbers stay finite."""


@dataclass(frozen=True)
class Case:
    """What a peer runs, from the JSON of its first argument."""

    network: str
    batch: int
    mode: str
    """One of the ways that the peer knows; for netc the number of devices."""
    forward: bool
    """Without backward and update, as for inference."""
    parameters: int
    """What netc's network has."""
    threads: int
    model: str
    """netc's network as an ONNX file, where `forward`."""

    def check(self, parameters: int) -> None:
        """Ends the process, and so the run, where this is not netc's network."""
        if parameters != self.parameters:
            told = f"{self.network} has {parameters} parameters, netc's {self.parameters}"
            raise SystemExit(f"{sys.argv[0]}: {told}")


def serve(prepare: Callable[[Case], Callable[[], object]], **versions: str) -> None:
    """Warm up, say so, then answer every line of standard input with a step's seconds.

    A peer that cannot run the case says why in place of that.
    """
    case = Case(**json.loads(sys.argv[1]))
    try:
        step = prepare(case)
        for _ in range(WARM_UP):
            step()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        print(json.dumps({"unsupported": f"{type(error).__name__}: {reason}"[:100]}), flush=True)
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**versions, "peak_bytes": peak}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        print(time.perf_counter() - began, flush=True)
