"""A training that is killed loses nothing; `tests/kill.py` does more of it."""

import subprocess
import sys
from pathlib import Path


def test_kills_lose_nothing() -> None:
    command = [sys.executable, str(Path(__file__).parents[1] / "kill.py"), "--kills", "2"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0 and "nothing was lost" in run.stdout, run.stdout + run.stderr
