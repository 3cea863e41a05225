"""Predictions reproduce what papers measured, with the inputs that `benchmarks/papers.py` lists."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _page() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "papers.py"
    spec = importlib.util.spec_from_file_location("papers_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


papers = _page()


def test_one_gpu_takes_what_it_took() -> None:
    """The one figure that goes in."""
    seconds = papers.step_seconds(1, "single", None, "step", False)
    assert seconds == pytest.approx(papers.ONE_GPU_SECONDS, rel=0.002)


@pytest.mark.parametrize("place", range(3), ids=("2", "4", "8"))
@pytest.mark.parametrize("row", papers.SPEEDUPS, ids=("step", "round"))
def test_krizhevskys_speedups_come_out(row: tuple[str, str, str], place: int) -> None:
    """Table 1, without overlap, within 5 %."""
    found = papers.speedup(papers.GPUS[place], *row, overlap=False)
    assert found == pytest.approx(papers.SPEEDUPS[row][place], rel=0.05)


def test_overlap_only_helps() -> None:
    for row in papers.ROWS:
        assert papers.speedup(8, *row, overlap=True) >= papers.speedup(8, *row, overlap=False)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [("alexnet", "data"), ("vgg16", "data"), ("inception_v3", "data"), ("alexnet", "hybrid")],
)
@pytest.mark.parametrize("gpus", papers.NODES)
def test_bytes_are_those_of_the_figure(name: str, strategy: str, gpus: int) -> None:
    """Fig. 8 of Jia et al. 2018, in the paper's accounting, within 1 %."""
    place = papers.NODES.index(gpus)
    published = papers.BYTES[name, strategy][place]
    assert papers.gibibytes(name, strategy, gpus) == pytest.approx(published, rel=0.01)
