"""Learning rates against PyTorch's schedulers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netc.syntax import parse_text
from netc_runtime.train.schedule import learning_rate

FOUND = json.loads(Path(__file__).with_name("schedules.json").read_text())


@pytest.mark.parametrize("text", FOUND["rates"])
def test_rates(text: str) -> None:
    network = f"net t\ninput i 1x2x2\nfc 2 | softmax_loss\ntrain {{ schedule {text} }}"
    call = parse_text(network).recipe.schedule
    assert call is not None
    wanted = FOUND["rates"][text]
    told, rate, epoch = (call.name, call.kwargs), FOUND["rate"], FOUND["epoch"]
    found = [learning_rate(told, rate, step, epoch, len(wanted)) for step in range(len(wanted))]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
