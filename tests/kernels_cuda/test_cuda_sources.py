"""What needs no GPU: sources compile without a warning, and every op has its kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from netc_kernels.cuda.native import KERNELS, WORKSPACE_BYTES
from netc_kernels.cuda.source import FOLDER
from netc_kernels.reference import KERNELS as REFERENCE

FILES = ["channels", "elementwise", "exchange", "lrn", "mark", "move", "pool", "random", "rows"]
FILES += ["conv/space_to_depth", "update"]
BF16, F32, SCALAR = ("BF16=1",), ("BF16=0",), ("BF16=1", "LANES=1")
VARIANTS: dict[str, list[tuple[str, ...]]] = {
    "move": [("UNIT=16",), ("UNIT=8",), ("UNIT=4",), ("UNIT=2",)],
    "update": [("BF16=1", "LANES=8"), ("BF16=0", "LANES=8"), SCALAR],
    "elementwise": [BF16, F32, SCALAR, ("BF16=1", "LANES=8")],
    "conv/space_to_depth": [BF16, F32],
    "mark": [("BF16=0",)],
    "exchange": [
        (f"TYPE={type_}", f"WIDTH={width}", f"OP={op}", f"RANKS={ranks}")
        for type_, width, op, ranks in [
            (0, 4, 0, 2),
            (1, 8, 0, 8),
            (1, 1, 1, 3),
            (2, 2, 2, 4),
            (3, 1, 1, 5),
            (1, 8, 0, 1),
        ]
    ],
    "pool": [BF16, F32, (*SCALAR, "SIZE_Y=7", "SIZE_X=5", "STEP_Y=8", "STEP_X=3")],
    "lrn": [BF16, F32, ("BF16=0", "SIZE=4", "THREE_QUARTERS=0"), (*SCALAR, "SIZE=1")],
}
PRODUCTS = {"conv", "conv_dx", "conv_dw", "fc", "fc_dx", "fc_dw"}


@pytest.mark.parametrize("file", FILES)
def test_compiles_without_a_warning(file: str, tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    variants = VARIANTS.get(file, [BF16, F32, SCALAR])
    for arch, macros in [("sm_80", variants[0]), *(("sm_90", each) for each in variants)]:
        defines = [f"-D{macro}" for macro in macros]
        target = ["-std=c++17", f"-arch={arch}", "-Werror", "all-warnings", "-cubin"]
        paths = [f"-I{FOLDER}", "-o", str(tmp_path / "out.cubin"), str(FOLDER / f"{file}.cu")]
        told = subprocess.run(
            ["nvcc", *target, *defines, *paths], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, f"{arch} {macros}: {told.stdout}{told.stderr}"


def test_every_op_has_a_kernel() -> None:
    assert set(REFERENCE) - PRODUCTS <= set(KERNELS)
    assert set(WORKSPACE_BYTES) <= set(KERNELS)
