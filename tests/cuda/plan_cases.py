"""A network whose products the vendor's library is asked for, and what that offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cuda_cases import target
from harness import compiled, options
from networks import Maker

from netc.ir.program import Bundle, Launch, Program
from netc.syntax.network import Network
from netc_kernels.cuda.conv import vendor
from netc_runtime.cuda.kernels import products_of

SLOW_FIRST = {"eng1": 4.0, "eng2": 3.0, "eng3": 2.0, "eng4": 6.0, "eng5": 6.0, "eng6": 1.0}
"""What cuDNN expects most of is not the fastest, and the fastest is none of the first five."""


def blocks() -> Network:
    """Twice the same block."""
    net = Maker(8, 8, 8)
    x = net.relu(net.conv("image", 16, pad=1))
    for _ in range(2):
        x = net.relu(net.conv(x, 16, pad=1))
    return net.loss(net.fc(x, 16))


def bundle(batch: int = 8, kernels: str = "auto") -> Bundle:
    network = blocks()
    asked = replace(options(network, 1, batch, precision="bf16"), target=target("bf16", kernels))
    return compiled(network, asked)[0]


def products(of: Bundle) -> list[vendor.Product]:
    found = (product for program in (of.train, of.eval) for product in wanted(program))
    return list(dict.fromkeys(found))


def wanted(program: Program) -> Iterator[vendor.Product]:
    """What launches want of the library, one after the other."""
    for launch in program.instructions:
        if isinstance(launch, Launch):
            for _, _, product in products_of(program, launch, "bf16"):
                yield product
