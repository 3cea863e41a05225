"""What needs no GPU: ops start kernels that their sources have, with all arguments of those."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from kernel_oracles import Call, example_calls
from update_calls import SLOW, WORDS, UpdateCall

from netc_kernels.cuda import source
from netc_kernels.cuda.native import KERNELS, WORKSPACE_BYTES
from netc_kernels.cuda.tensor import Tensor

DTYPES = {np.dtype(np.float32): "f32", np.dtype(np.int64): "i64", np.dtype(np.uint8): "u8",
          np.dtype(np.float64): "f64"}  # fmt: skip
SIGNATURE = re.compile(r'extern "C" __global__ (?:__launch_bounds__\([^)]*\) )?void\s+'
                       r"(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(([^)]*)\)")  # fmt: skip
STREAM = 7


def signatures(file: str) -> dict[str, int]:
    """How many arguments the kernels of a source take."""
    found = SIGNATURE.findall((source.FOLDER / file).read_text(encoding="utf-8"))
    return {name: arguments.count(",") + 1 for name, arguments in found}


class Launched:
    """Stands for CUDA: notes what is started."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []

    def function(self, file: str, name: str, arch: str = "", **defines: object) -> tuple[str, str]:
        return file, name

    def launch(
        self,
        kernel: tuple[str, str],
        grid: Any,
        block: Any,
        args: Any,
        stream: int,
        shared_bytes: int = 0,
    ) -> None:
        assert stream == STREAM
        self.calls.append((*kernel, len(args)))


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    found = Launched()
    monkeypatch.setattr(source, "function", found.function)
    monkeypatch.setattr(source, "launch", found.launch)
    return found


def blocks(*arrays: Any) -> Iterator[Tensor]:
    for number, x in enumerate(arrays, 1):
        dtype = DTYPES[np.asarray(x).dtype]
        yield Tensor(number << 20, np.shape(x), dtype, nhwc=np.ndim(x) == 4)


CALLS = [c for c in example_calls(np.float32) if c.op in KERNELS]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.op)
def test_a_call_fits_its_source(call: Call, launched: Launched) -> None:
    out: Any = np.empty(call.shape, call.own or np.float32)
    told = dict(call.attributes)
    if call.op in WORKSPACE_BYTES:
        bytes_ = WORKSPACE_BYTES[call.op](call.shape, *(np.shape(x) for x in call.inputs))
        told["work"] = Tensor(99 << 20, (bytes_,), "f32") if bytes_ else None
    result, *operands = blocks(out, *call.inputs)
    if call.op == "cast":
        result = replace(result, dtype="bf16")
    KERNELS[call.op](result, *operands, stream=STREAM, **told)
    assert launched.calls
    for file, name, count in launched.calls:
        assert signatures(file)[name] == count, name


IMAGE, STATISTIC = (4, 8, 3, 5), (8,)
NORM = (IMAGE, STATISTIC, STATISTIC)
BATCH_NORMS: dict[str, tuple[int, tuple[tuple[int, ...], ...]]] = {
    "bn_moments": (2, (IMAGE,)),
    "bn_slopes": (2, (*NORM, IMAGE)),
    "add_relu_slopes": (3, (IMAGE, IMAGE, IMAGE, *NORM)),
    "add_relu_two_slopes": (5, (IMAGE, IMAGE, IMAGE, *NORM, *NORM)),
    "slice_relu_slopes": (3, ((4, 16, 3, 5), IMAGE, *NORM)),
    "bn_norms_add_relu": (1, 2 * (*NORM, STATISTIC, STATISTIC)),
}
"""How many results joined launches of batch norm have, and what they read."""


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_batch_norm_at_once_fits_its_source(name: str, launched: Launched) -> None:
    results, reads = BATCH_NORMS[name]
    image = name not in ("bn_moments", "bn_slopes")
    shapes = [IMAGE if image and not place else STATISTIC for place in range(results)]
    told: dict[str, Any] = {} if name == "bn_moments" else {"eps": 1e-3}
    told |= {"dim": 1, "start": 8} if name.startswith("slice") else {}
    if name in WORKSPACE_BYTES:
        size = WORKSPACE_BYTES[name](shapes[0], *reads)
        sums = {"add_relu_two_slopes": 3}.get(name, 2)
        assert size == sums * 4 * 8 * 60, "sums of every row: there are less than blocks"
        told["work"] = Tensor(99 << 20, (size,), "f32")
    made = blocks(*(np.empty(shape, np.float32) for shape in (*shapes, *reads)))
    KERNELS[name](*made, stream=STREAM, **told)
    for file, kernel, count in launched.calls:
        assert signatures(file)[kernel] == count, kernel


@pytest.mark.parametrize("word", WORDS)
def test_an_update_at_once_fits_its_source(word: str, launched: Launched) -> None:
    call = UpdateCall(word, SLOW)
    values = call.values((6, 4, 3, 2), np.random.default_rng(0), 5)
    tensors = [values[name].astype(np.float32) for name in ("g", *call.results)]
    numbers = [values["lr"].astype(np.float32), values["step"]][: len(call.numbers)]
    made = blocks(*(np.zeros_like(tensors[0]) for _ in call.results))
    KERNELS[word](*made, *blocks(*tensors, *numbers), stream=STREAM, **call.told)
    ((file, name, count),) = launched.calls
    assert signatures(file)[name] == count
