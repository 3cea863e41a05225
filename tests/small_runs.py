"""Trainings of a small network by the command, into folders beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.cli.main import main
from netc_runtime.io import checkpoints, load

NETWORK = """
net small(classes = 10)
input image 1x8x8
fc 16 | relu | dropout 0.5
fc classes
softmax_loss
train { data digits() ; batch 96 ; epochs 3 ; sgd lr=0.01 momentum=0.9 }
"""
STEPS_AN_EPOCH = 14
MEASURED_TIMES = ("images_per_second",)


@dataclass
class SmallRuns:
    """What runs say and leave; they train in the folder `o` unless told otherwise."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __post_init__(self) -> None:
        (self.folder / "n.net").write_text(NETWORK)

    def __call__(self, *options: object, code: int = 0, out: str = "o") -> str:
        """Train; all that was said."""
        arguments = ["run", self.folder / "n.net", "--plain", "--kernels", "reference"]
        assert main([*map(str, [*arguments, "--out", self.folder / out, *options])]) == code
        shown = self.capsys.readouterr()
        return shown.out + shown.err

    def rows(self, out: str = "o") -> list[dict[str, Any]]:
        """The metrics, as they are now."""
        path = self.folder / out / "metrics.jsonl"
        return [json.loads(line) for line in path.open()] if path.exists() else []

    def curves(self, out: str = "o") -> list[dict[str, Any]]:
        """The metrics without what depends on the machine."""
        return [
            {name: value for name, value in row.items() if name not in MEASURED_TIMES}
            for row in self.rows(out)
        ]

    def files(self, out: str = "o") -> list[Path]:
        """The checkpoints, oldest first."""
        return checkpoints(self.folder / out)

    def steps(self, out: str = "o") -> list[int]:
        """What checkpoints there are."""
        return [int(path.stem.split("-")[1]) for path in self.files(out)]

    def check_same(self, out: str, other: str = "o") -> None:
        """Assert that two trainings came to the same, to the bit, in the same way."""
        assert self.curves(out) == self.curves(other)
        check_same_tensors(self.files(out)[-1], self.files(other)[-1])


def check_same_tensors(one: Path, other: Path) -> None:
    """Assert that two files have the same tensors, to the bit."""
    found, wanted = load(one)[0], load(other)[0]
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].tobytes() == value.tobytes(), name
        assert np.array_equal(found[name], value), name
