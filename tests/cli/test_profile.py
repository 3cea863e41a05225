"""`netc profile`: what is measured of a step, and what is made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from netc.api.parts import parts, passes
from netc.cli.main import main
from netc.ir.program import Bundle, Launch
from netc.ir.text import parse_bundle
from netc_runtime.backend import Ceilings

NETWORK = """net one
input image 3x8x8
conv 3x3 8 pad=1 | relu
maxpool 2x2 /2
fc 10 | dropout 0.5
softmax_loss
"""
PASSES = ("forward", "backward", "update")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "one.net"
    path.write_text(NETWORK)
    return str(path)


@pytest.fixture
def bundle(file: str, tmp_path: Path) -> Bundle:
    assert main(["compile", file, "--batch", "4", "-o", str(tmp_path / "one.netc")]) == 0
    return parse_bundle((tmp_path / "one.netc").read_text())


def profiled(
    capsys: pytest.CaptureFixture[str], file: str, *more: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows and the result."""
    capsys.readouterr()
    assert main(["profile", file, "--steps", "2", "--json", *more]) == 0
    *rows, result = map(json.loads, capsys.readouterr().out.splitlines())
    return rows, result


def test_every_layer_has_its_passes_in_order(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    rows, result = profiled(capsys, file, "--batch", "4")
    found = [(row["layer"], row["phase"]) for row in rows]
    assert len(set(found)) == len(found)
    assert found[:3] == [("conv1", "forward"), ("maxpool1", "forward"), ("fc1", "forward")]
    assert ("conv1", "backward") in found and ("fc1", "update") in found
    assert [phase for _, phase in found] == sorted((p for _, p in found), key=PASSES.index)
    assert list(result["passes"]) == list(PASSES)


@pytest.mark.parametrize("devices", ["1", "2"])
def test_sums_are_those_of_the_rows(
    file: str, capsys: pytest.CaptureFixture[str], devices: str
) -> None:
    rows, result = profiled(
        capsys, file, "--batch", "4", "--devices", devices, "--strategy", "hybrid"
    )
    for phase, total in result["passes"].items():
        own = [row for row in rows if row["phase"] == phase]
        for key in ("launches", "flops", "moved_bytes", "seconds"):
            assert total[key] == pytest.approx(sum(row[key] for row in own))
    launches = sum(row["seconds"] for row in rows)
    assert result["step_seconds"] == pytest.approx(launches + result["other_seconds"])
    assert result["images_per_second"] == pytest.approx(4 / result["step_seconds"])
    stages = result["stages"]
    assert all(stages[name] > 0 for name in ("parse", "compile", "weights", "measure"))
    assert stages["data"] == stages["record"] == 0
    exposed = result["exposed_seconds"]
    assert 0 < exposed < result["step_seconds"] if devices == "2" else exposed == 0
    assert len(result["steps"]) == 2
    for row in rows:
        assert row["flops_per_second"] == pytest.approx(row["flops"] / row["seconds"])
        assert row["bound"] in ("compute", "memory", "launch")


def test_launches_of_a_compiled_program_name_their_kernels(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, result = profiled(capsys, str(tmp_path / "one.netc"), "--launches")
    launches = [i for i in bundle.train.instructions if isinstance(i, Launch)]
    assert len(rows) == len(launches)
    assert rows[0]["kernels"] == "conv.reference + bias.reference + relu.reference"
    assert rows[0]["flops"] == 2 * 4 * 8 * 64 * 27 + 2 * 4 * 8 * 64
    assert rows[0]["moved_bytes"] == 4 * (4 * 3 * 64 + 8 * 27 + 8 + 4 * 8 * 64)
    assert result["batch"] == 4


def test_table(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", file, "--batch", "4", "--steps", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[2].startswith("ceilings  ") and out[2].endswith(" a launch")
    starts = [line.split("  ")[0] for line in out]
    for name in ("conv1", "softmax_loss1", *PASSES, "communication and gaps", "step"):
        assert name in starts
    assert "of it, waiting" not in starts
    assert out[-2].startswith("median of 1 step, ")
    assert re.fullmatch(
        r"[\d.]+ [mu]?s predicted by rough defaults: 'netc calibrate' measures this machine",
        out[-1],
    )


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_roofline_is_written(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"roof{suffix}"
    _, result = profiled(capsys, file, "--batch", "4", "-o", str(path))
    assert result["written"] == str(path)
    if suffix == ".svg":
        texts = {element.text for element in ElementTree.parse(path).getroot().iter()}
        assert {"one", "conv1", "fc1", "FLOP/s"} <= texts
    elif suffix == ".png":
        with Image.open(path) as image:
            assert len(image.getcolors(1 << 24) or ()) > 20
    else:
        assert path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--steps", "0"], 2, "error[E051]: --steps: must be a whole number, 1 or more"),
        (["-o", "roof.gif"], 2, "error[E056]: cannot write a roofline as 'roof.gif'"),
        (["-o", "roof"], 2, "it has no suffix"),
        (["--backend", "cuda", "--precision", "fp64"], 6, "error[E071]"),
        (["--kernels", "vendor"], 2, "error[E051]: '--kernels vendor' is not for the cpu"),
        (["--steps", "1", "-o", "/no/where/roof.svg"], 2, "error[E056]: cannot write '/no/where/"),
    ],
)
def test_mistakes(
    file: str, capsys: pytest.CaptureFixture[str], more: list[str], code: int, message: str
) -> None:
    given = [] if "cuda" in more else ["--backend", "cpu"]
    assert main(["profile", file, "--batch", "4", *given, *more]) == code
    assert message in capsys.readouterr().err


def test_the_bound_is_the_nearest_ceiling(bundle: Bundle) -> None:
    program = bundle.train
    number = next(n for n, i in enumerate(program.instructions) if i.layer == "conv1")
    flops, moved = 114_688, 4 * (768 + 216 + 8 + 2048)

    def bound(seconds: float, peak: float, bandwidth: float) -> tuple[str, object]:
        (part,) = parts(program, {number: seconds}, Ceilings(peak, bandwidth, 1e-6), single=True)
        return part.bound, part.reached

    assert bound(1e-3, flops * 2e3, 1e12) == ("compute", pytest.approx(0.5))
    assert bound(1e-3, 1e15, moved * 4e3) == ("memory", pytest.approx(0.25))
    assert bound(2e-6, flops * 2e3, 1e12) == ("launch", pytest.approx(0.5))
    assert bound(2.1e-6, 1e15, 1e12)[0] == "memory"


def test_passes_take_what_their_launches_take(bundle: Bundle) -> None:
    seconds = {
        n: float(n + 1) for n, i in enumerate(bundle.train.instructions) if isinstance(i, Launch)
    }
    found = passes(bundle.train, seconds, Ceilings(1.0, 1.0, 1.0))
    assert sum(part.seconds for part in found) == sum(seconds.values())
