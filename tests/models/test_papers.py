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


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_images_a_second_are_ordered_as_in_figure_7(name: str) -> None:
    """Data, hybrid, layer-wise, with overlap; of one GPU's rate comes that of `data` on 16."""
    published = papers.RATES[name]["data"]
    one = papers.IMAGES / papers._one_gpu(name, papers.as_fast(name))
    assert one == pytest.approx(published[0], rel=0.01)
    order = [papers.images_a_second(name, each, 16)[1] for each in ("data", "hybrid", "layer-wise")]
    assert order == sorted(order)
    assert order[0] == pytest.approx(published[-1], rel=0.07)


def test_layers_are_split_as_in_table_5() -> None:
    """By samples in four blocks, by channels in dense layers; the last block has a price."""
    priced, best = papers.searched("nkhw")
    splits = priced.splits(best.choices)
    assert best.cost == pytest.approx(best.bound, rel=1e-9)
    for layer, split in splits.items():
        if layer.startswith(("stage1", "stage2", "stage3", "stage4")):
            assert split == ("n", "n")
    assert splits["fc6"] == splits["fc7"] == ("k", "k") and "k" in splits["fc8"]
    assert splits["softmax_loss1"] == ("r", "r")
    theirs = papers.as_published(splits, ("h", "w"), ("k", "r"))
    cost = papers.total(priced.number(theirs), priced.tables())
    assert best.cost < cost < 1.05 * best.cost


@pytest.mark.parametrize("gpus", [2, 4])
@pytest.mark.parametrize("name", papers.CROSSED)
def test_dense_layers_cross_over_where_bytes_say(name: str, gpus: int) -> None:
    """K B < W / (R + N): 3,367 for AlexNet, 3,715 for VGG-16."""
    found = papers.crossed(name, gpus, "sent_bytes")
    assert found == pytest.approx(papers.CROSSED[name], abs=2)
