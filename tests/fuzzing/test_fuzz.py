"""A short run of every kind of hostile input."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = [
    name for _, name, _ in pkgutil.iter_modules([str(HERE)]) if not name.startswith(("_", "test_"))
]
CASES = {"onnx_graphs": 300}
"""How many the suite runs, where it is not 100."""


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault(kind: str) -> None:
    cases = str(CASES.get(kind, 100))
    command = [sys.executable, str(HERE.parent / "fuzz.py"), kind, "--cases", cases]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 faults " in run.stdout
