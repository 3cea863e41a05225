"""The machine at hand is measured from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_cases import refused, tiny

import netc
from netc.api import exchange_times
from netc.cost import read_cluster
from netc_runtime.measure.machine import machine_name, own_cluster

WORDS: dict[str, Any] = {"batch": 8, "steps": 1, "kernels": "reference"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(exchange_times, "SIZES", (4096, 65536))
    monkeypatch.setattr(exchange_times, "REPEATS", 2)


def test_the_machine_is_measured_and_planned_for() -> None:
    found = netc.calibrate(tiny(), devices=1, **WORDS)
    assert found.own and found.path == own_cluster("cpu")
    kept = read_cluster(found.path)
    assert kept.machine == found.cluster.machine
    assert kept.launches.keys() == found.cluster.launches.keys()
    (row,) = found.steps
    assert row.measured.strategy == "single" and row.measured.name == "tiny 8"
    assert row.off == row.predicted_seconds / row.measured.seconds - 1
    assert "kept in" in repr(found) and found._repr_html_().count("<tr>") == 2
    plan = tiny().plan(batch=8, kernels="reference")
    assert plan.cluster == machine_name("cpu")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    found = netc.calibrate("digits", devices=1, output=file, **WORDS)
    assert not found.own and not own_cluster("cpu").exists()
    assert netc.load("digits").plan(cluster=file).cluster == found.cluster.name


def test_what_is_wrong_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    refused(lambda: netc.calibrate("no-such"), "E051")
    refused(lambda: netc.calibrate(3), "E051")  # type: ignore[arg-type]
    refused(lambda: netc.calibrate(only="links"), "E051")  # type: ignore[arg-type]
    refused(lambda: netc.calibrate(only="steps"), "E051")
    refused(lambda: netc.calibrate(step=3), "E051")  # type: ignore[call-arg]
    refused(lambda: netc.calibrate(output=tmp_path / "x.json"), "E054")
    refused(lambda: netc.calibrate(output=tmp_path / "no" / "x.toml"), "E056")
