"""Kernels are timed from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_cases import refused, tiny

import netc
from netc_kernels import cpu

NETWORK = "net one\ninput image 8x8x8\nconv 3x3 8 pad=1 | relu\nfc 10\nsoftmax_loss\n"


@pytest.mark.skipif(bool(cpu.available()), reason="there are no fast kernels")
def test_plans_choose_by_what_was_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    network = netc.parse(NETWORK)
    found = network.tune(batch=4)
    assert {each.call.kernel for each in found.calls} >= {"conv"}
    assert found.path.is_file() and found.path.parent == tmp_path
    forward = next(each for each in found.calls if each.call.kernel == "conv")
    assert forward.seconds[forward.fastest] == min(forward.seconds.values())
    (conv,) = (
        each for each in network.plan(batch=4, kernels="fast").kernels()
        if (each.layer, each.phase) == ("conv1", "forward")
    )  # fmt: skip
    assert conv.kernels.startswith(f"conv.{forward.fastest}")
    assert conv.seconds == forward.seconds[forward.fastest]
    assert f"kept {len(found.calls)} times in {found.path}" in repr(found)
    assert found._repr_html_().count("<tr>") == len(found.calls) + 1


def test_where_there_is_nothing_to_choose_from() -> None:
    refused(lambda: tiny().tune(kernels="reference"), "E077")
    refused(lambda: tiny().tune(precision="fp64"), "E077")
