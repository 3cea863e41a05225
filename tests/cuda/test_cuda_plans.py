"""The vendor's plans that are known: read back, shipped, and likely for products like others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import netc
import netc_kernels.cuda.plans as folder
from netc.ir.program import Launch
from netc_kernels.cuda.conv.vendor import Product
from netc_runtime.cuda.kernels import products_of
from netc_runtime.cuda.plans import (
    RACE,
    VERSION,
    Plans,
    chosen_by,
    product_of,
    race_key,
    shipped,
)

ONE = Product("conv", (128, 64, 56, 56), ((128, 64, 56, 56), (64, 64, 3, 3)), "bf16", "bf16",
              pad=(1, 1, 1, 1), bias=True)  # fmt: skip
FILES = sorted(Path(folder.__file__).parent.glob("*.json"))


def of_batch(product: Product, batch: int) -> Product:
    image, filters = product.operands
    return replace(product, out=(batch, *product.out[1:]), operands=((batch, *image[1:]), filters))


def test_a_product_reads_back_what_it_prints() -> None:
    assert product_of(repr(ONE)) == ONE


def test_products_of_other_batches_say_what_is_likely() -> None:
    plans = Plans({
        repr(of_batch(ONE, 32)): "of 32", repr(of_batch(ONE, 512)): "of 512",
        repr(of_batch(ONE, 1024)): "of 1024", race_key(of_batch(ONE, 128)): "native",
        repr(replace(ONE, bias=False)): "without bias", "no product": "x", "Product(": "y",
        repr(replace(ONE, operands=(ONE.operands[0], (64, 64, 5, 5)))): "other windows",
    })  # fmt: skip
    assert plans.near(ONE) == ["of 32", "of 512"]
    assert plans.near(of_batch(ONE, 600)) == ["of 512", "of 1024"]
    assert plans.near(replace(ONE, stride=(2, 2))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_shipped_names_products_and_kernels(path: Path) -> None:
    table = json.loads(path.read_text(encoding="utf-8"))
    assert table["netc_plans"] == VERSION and table["plans"]
    for key, name in table["plans"].items():
        product = product_of(key.removeprefix(RACE))
        assert key in (repr(product), race_key(product))
        assert name in ("native", "vendor") if key.startswith(RACE) else name.startswith("eng")
    assert table["plans"].items() <= shipped(table["gpu"], table["cudnn"]).items()


@pytest.mark.parametrize("asked", ["vgg16:128", "resnet50:256", "inception_v3:128"])
def test_a_start_of_these_networks_knows_all_plans(asked: str) -> None:
    name, batch = asked.split(":")
    made = netc.load(name).plan(batch=int(batch), precision="bf16", backend="cuda").bundle
    plans = Plans(shipped("NVIDIA H200", "91900"))
    found = {
        repr(product): chosen_by(plans, product, steps[0].variant or "")
        for program in (made.train, made.eval) for launch in program.instructions
        if isinstance(launch, Launch)
        for steps, _, product in products_of(program, launch, "bf16")
    }  # fmt: skip
    assert len(found) > 30
    assert [product for product, by in found.items() if by != "measured"] == []


def test_other_machines_and_libraries_get_nothing() -> None:
    assert shipped("NVIDIA H200", "91900") and shipped("NVIDIA H200", "92000")
    assert not shipped("NVIDIA H200", "80000") and not shipped("NVIDIA H200", "")
    assert not shipped("another GPU", "91900")
