"""Devices that are threads of one process: what becomes of the others when one does not come."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import compiled, data, options, session, tiny

from netc.errors import DeviceError
from netc_runtime.cpu.backend import CpuBackend

HANGS = """
import sys, time
from netc.cli.main import main
from netc_runtime.watch import words
from netc_runtime.executor import Executor

words.HOST_SECONDS = 2.0
make = Executor.__init__
def stuck(self, programs, *more):
    make(self, programs, *more)
    for lane in self.lanes.get(1, []):
        for place, number in enumerate(lane.numbers):
            each = self.programs[1].instructions[number]
            if lane.computes and (each.layer, each.phase) == ("conv2", "forward"):
                lane.tasks = (*lane.tasks[:place], lambda: time.sleep(99), *lane.tasks[place + 1:])
                break
Executor.__init__ = stuck
sys.exit(main(["run", "digits", "--devices", "2", "--batch", "90", "--out", sys.argv[1]]))
"""


def test_a_device_that_hangs_ends_the_run_and_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(tmp_path)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "NETC_STALL_SECONDS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert "device 1 has not moved for 2 s: it is at conv2 (forward); device 0 waits in the " in (
        done.stderr
    )


@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("device", [0, 2])
def test_when_a_device_fails_the_others_stop(device: int, error: type[BaseException]) -> None:
    bundle, _ = compiled(tiny(), options(tiny(), 3, 12, strategy="hybrid"))
    made = session(bundle, CpuBackend([bundle.init, bundle.train, bundle.eval]))
    images, labels = data(tiny(), 12, 0)

    def fail() -> bool:
        raise error("no luck")

    lane = next(lane for lane in made.train.executor.lanes[device] if lane.computes)  # type: ignore[attr-defined]
    lane.tasks = (fail, *lane.tasks[1:])
    began = time.monotonic()
    with pytest.raises((DeviceError, SystemExit), match="no luck"):
        made.step(images, labels, step=0, seed=0, learning_rate=0.1)
    assert time.monotonic() - began < 30
