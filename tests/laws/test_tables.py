"""Tables of kernels name what there is: every operation, and nothing else."""

from __future__ import annotations

import pytest

from netc.ir.codec import kernels
from netc.ir.comm import Comm
from netc.ir.joined import JOINED
from netc.ir.ops import ACTIVATIONS, Fused, RoundSlice, SourceOp
from netc_kernels import cpu
from netc_kernels.cuda import elementwise
from netc_kernels.cuda import table as cuda
from netc_kernels.reference import KERNELS, activation

ON_GPU = {"bias_db_relu_dx", "mark", "stamp"}
"""What a GPU's table has besides: a joined gradient, and what tells how far a stream has come."""
LAUNCHED = {
    op.kernel
    for op in kernels().values()
    if not op.view and not issubclass(op, Comm | SourceOp | Fused | RoundSlice)
}


def test_the_reference_has_every_operation() -> None:
    assert set(KERNELS) == LAUNCHED


def test_the_cpu_has_kernels_of_operations() -> None:
    if reason := cpu.available():
        pytest.skip(reason)
    from netc_kernels.cpu.table import IMPLEMENTATIONS

    assert set(IMPLEMENTATIONS) <= LAUNCHED | set(JOINED)
    for kernel, found in IMPLEMENTATIONS.items():
        assert len({each.name for each in found}) == len(found) > 0, kernel
        assert all(callable(each.run) for each in found)


def test_a_gpu_has_every_operation() -> None:
    assert LAUNCHED <= set(cuda.KERNELS) <= LAUNCHED | set(JOINED) | ON_GPU
    assert set(cuda.KERNELS) >= cuda.WITH_WORKSPACE


def test_activations_are_the_same_everywhere() -> None:
    assert set(ACTIVATIONS) == set(activation.ACTIVATIONS) == set(elementwise.ACTIVATIONS)
