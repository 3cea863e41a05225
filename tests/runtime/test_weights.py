"""Weights from files: both namings, the strict report, and files that are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netc.errors import DataError, UsageError
from netc_runtime.io import tensors as files
from netc_runtime.io.weights import read_weights

WANTED = {
    "conv1.weight": (4, 3, 3, 3), "bn1.running_mean": (4,), "fc.weight": (10, 4), "fc.bias": (10,),
}  # fmt: skip
FOREIGN = {
    "conv1.weight": "features.0.weight", "bn1.running_mean": "features.1.running_mean",
    "fc.weight": "classifier.0.weight", "fc.bias": "classifier.0.bias",
}  # fmt: skip
Tensors = dict[str, NDArray[Any]]


def filled() -> Tensors:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in WANTED.items()}


def renamed(tensors: Tensors) -> Tensors:
    return {FOREIGN[name]: tensor for name, tensor in tensors.items()}


def reading(folder: Path, tensors: Tensors, **allowed: Any) -> Tensors:
    path = folder / "w.safetensors"
    files.write(path, tensors, {})
    return read_weights(path, WANTED, FOREIGN, **allowed)


def complaints(folder: Path, tensors: Tensors, **allowed: Any) -> dict[str, list[str]]:
    with pytest.raises(DataError) as caught:
        reading(folder, tensors, **allowed)
    return {each.code: list(each.notes) for each in caught.value.diagnostics}


def assert_equal(found: Tensors, wanted: Tensors) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_both_namings(tmp_path: Path) -> None:
    assert_equal(reading(tmp_path, filled()), filled())
    assert_equal(reading(tmp_path, renamed(filled())), filled())


def test_state_of_optimizers_and_counters_are_left_aside(tmp_path: Path) -> None:
    extra = {"fc.weight.velocity": np.ones((10, 4), "f4")}
    assert_equal(reading(tmp_path, filled() | extra), filled())
    extra = {"features.1.num_batches_tracked": np.array(7)}
    assert_equal(reading(tmp_path, renamed(filled()) | extra), filled())


def test_everything_wrong_is_reported_at_once_under_the_names_of_the_file(tmp_path: Path) -> None:
    tensors = renamed(filled())
    del tensors["features.0.weight"]
    tensors["AuxLogits.fc.weight"] = np.ones(3, "f4")
    tensors["classifier.0.weight"] = np.ones((5, 4), "f4")
    tensors["classifier.0.bias"] = np.ones(10, "i8")
    assert complaints(tmp_path, tensors) == {
        "E080": ["features.0.weight"],
        "E081": ["AuxLogits.fc.weight"],
        "E082": ["classifier.0.weight is 5x4, not 10x4", "classifier.0.bias holds int64"],
    }


def test_patterns_let_pass_under_either_name(tmp_path: Path) -> None:
    kept = filled()
    del kept["fc.weight"], kept["fc.bias"]
    for pattern in ("fc.*", "classifier.*"):
        assert_equal(reading(tmp_path, renamed(kept), allow_missing=[pattern]), kept)
    extra = {"AuxLogits.fc.weight": np.ones(3, "f4")}
    assert_equal(reading(tmp_path, filled() | extra, allow_unexpected=["AuxLogits.*"]), filled())
    assert complaints(tmp_path, kept, allow_missing=["fc.w*"]) == {"E080": ["fc.bias"]}


def test_a_pattern_that_matches_no_weight_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fcc\.bias"):
        reading(tmp_path, filled(), allow_missing=["fcc.bias"])


def test_a_weight_of_another_shape_may_be_missing_but_not_of_another_kind(tmp_path: Path) -> None:
    other = filled() | {"fc.weight": np.ones((7, 4), "f4"), "fc.bias": np.ones(7, "f4")}
    kept = {name: t for name, t in filled().items() if not name.startswith("fc.")}
    assert_equal(reading(tmp_path, other, allow_missing=["fc.*"]), kept)
    assert list(complaints(tmp_path, other, allow_missing=["fc.bias"])) == ["E082"]
    whole = filled() | {"fc.bias": np.ones(10, "i8")}
    assert list(complaints(tmp_path, whole, allow_missing=["fc.*"])) == ["E082"]


def test_what_to_do_about_other_classes_helps(tmp_path: Path) -> None:
    other = filled() | {"fc.weight": np.ones((7, 4), "f4"), "fc.bias": np.ones(7, "f4")}
    for file in (other, renamed(other)):
        with pytest.raises(DataError) as caught:
            reading(tmp_path, file)
        (said,) = caught.value.diagnostics
        patterns = re.findall(r"--allow-missing '(.+?)'", said.help)
        assert len(patterns) == 1
        kept = {name: t for name, t in filled().items() if not name.startswith("fc.")}
        assert_equal(reading(tmp_path, file, allow_missing=patterns), kept)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_what_wrappers_put_in_front_of_every_name(tmp_path: Path, prefix: str) -> None:
    heard: list[str] = []
    path = tmp_path / "w.safetensors"
    for file in (filled(), renamed(filled())):
        files.write(path, {prefix + name: tensor for name, tensor in file.items()}, {})
        assert_equal(read_weights(path, WANTED, FOREIGN, tell=heard.append), filled())
    assert len(heard) == 2
    assert f"begin with '{prefix}'" in heard[0]


def test_a_prefix_of_some_names_or_of_the_network_itself_stays(tmp_path: Path) -> None:
    some = {("module." * (n > 0)) + name: t for n, (name, t) in enumerate(filled().items())}
    assert set(complaints(tmp_path, some)) == {"E080", "E081"}
    own = {f"module.{name}": tensor for name, tensor in filled().items()}
    wanted = {name: tensor.shape for name, tensor in own.items()}
    path, heard = tmp_path / "w.safetensors", list[str]()
    files.write(path, own, {})
    assert_equal(read_weights(path, wanted, {n: n for n in wanted}, tell=heard.append), own)
    assert not heard


def test_long_lists_are_counted(tmp_path: Path) -> None:
    extra = {f"x{n:02}": np.ones(1, "f4") for n in range(25)}
    notes = complaints(tmp_path, filled() | extra)["E081"]
    assert len(notes) == 21
    assert notes[-1] == "... and 5 more"


@pytest.mark.parametrize("size", [0, 4, 8, 100, 300])
def test_a_file_cut_short(tmp_path: Path, size: int) -> None:
    path = tmp_path / "w.safetensors"
    files.write(path, filled(), {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        read_weights(path, WANTED, FOREIGN)


def test_folders_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="E069"):
        files.write(tmp_path / "no" / "x.safetensors", {"a": np.ones(3)}, {})
    assert list(tmp_path.iterdir()) == []
