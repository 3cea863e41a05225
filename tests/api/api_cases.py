"""A network and images that tests of the interface share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netc

TINY = """net tiny(classes = 3)
input image 1x8x8
conv 3x3 4 pad=1
relu | maxpool 2x2 /2 | flatten
fc classes
softmax_loss
train { batch 16; sgd lr=0.05 momentum=0.9; epochs 2 }
"""
LABELS = np.arange(96) % 3
IMAGES = np.random.default_rng(0).normal(0, 0.3, (96, 1, 8, 8))
for _image, _label in zip(IMAGES, LABELS, strict=True):
    _image[:, 2 * _label : 2 * _label + 2] += 1
ARRAYS = IMAGES[:80], LABELS[:80], IMAGES[80:], LABELS[80:]


def tiny(**given: Any) -> netc.Model:
    """The network."""
    return netc.parse(TINY, **given)


def refused(work: Any, code: str) -> str:
    """The text of the error with which some work is refused."""
    with pytest.raises(netc.NetError) as caught:
        work()
    assert caught.value.diagnostics[0].code == code
    return str(caught.value)
