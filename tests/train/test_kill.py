"""A training that is killed loses nothing; `--full` kills it 200 times."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

KILLS, MANY_KILLS = 10, 200


def test_kills_lose_nothing(request: pytest.FixtureRequest) -> None:
    kills = MANY_KILLS if request.config.getoption("--full") else KILLS
    seed = random.randrange(2**32)
    program = str(Path(__file__).parents[1] / "kill.py")
    command = [sys.executable, program, "--kills", str(kills), "--seed", str(seed)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0 and "nothing was lost" in run.stdout, run.stdout + run.stderr
