"""Where calls of kernels are kept with what PyTorch says comes out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

FILE = Path(__file__).with_name("ops.safetensors")


class Book:
    """Calls of kernels, and their tensors, each kept once."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.calls: list[dict[str, Any]] = []

    def put(self, value: torch.Tensor) -> str:
        """Keep a tensor; its name follows from its contents."""
        kept = value.detach().contiguous().clone()
        told = f"{kept.dtype} {tuple(kept.shape)} ".encode() + kept.numpy().tobytes()
        name = hashlib.sha256(told).hexdigest()[:12]
        self.tensors[name] = kept
        return name

    def call(
        self, case: str, op: str, expected: torch.Tensor, *inputs: torch.Tensor, **attributes: Any
    ) -> None:
        """Add a call of a kernel with the result that PyTorch has for it."""
        names = [self.put(x) for x in inputs]
        self.calls.append(
            {"case": case, "op": op, "inputs": names, "expected": self.put(expected),
             "attributes": attributes}
        )  # fmt: skip

    def save(self) -> None:
        """Write the file."""
        told = {"torch": torch.__version__, "calls": self.calls}
        # One key only: safetensors writes several in any order.
        save_file(self.tensors, FILE, {"goldens": json.dumps(told, separators=(",", ":"))})
        FILE.chmod(0o644)
        print(f"{len(self.calls)} calls, {FILE.stat().st_size / 1024:.0f} KiB: {FILE}")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers, the same for the same shape and seed."""
    return torch.from_numpy(np.asarray(np.random.default_rng(seed).standard_normal(shape)))


def leaf(x: torch.Tensor) -> torch.Tensor:
    return x.clone().requires_grad_()
