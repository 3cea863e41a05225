"""Options of the whole suite.

`pytest tests/models --wide` keeps the full widths of VGG-16's and AlexNet's last layers.
`pytest tests/compiler --cases 5000` runs that many random networks through the compiler instead of
the few hundred of the default suite. `pytest tests/goldens --full` compares whole networks with
PyTorch at full size, too, `pytest tests/models --full` splits all shipped networks by height; both
take minutes, the first 8 GiB. `pytest tests/export --full` draws and writes all shipped networks
under all fixed strategies, which takes an hour on one core; `-k 4-fast` takes some of them.
`pytest tests/train/test_kill.py --full` kills a training 200 times, in ten minutes.
A failure prints the example and how to run it again.
"""

from __future__ import annotations

import os
import tempfile

# Before NumPy is loaded: devices and test workers are the threads here, not BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What is printed is folded to so many columns, and tests want whole lines.
os.environ.pop("COLUMNS", None)
# What was measured on a machine decides which kernels its programs name; tests want the usual ones.
os.environ["NETC_CACHE"] = os.path.join(tempfile.gettempdir(), "no-cache-of-netc")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "netc",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("netc")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--cases`, `--full` and `--wide`."""
    parser.addoption("--wide", action="store_true", help="whole networks at their full widths")
    parser.addoption(
        "--full",
        action="store_true",
        help="goldens of networks at full size; every shipped network by height, and as files; "
        "200 kills of a training",
    )
    parser.addoption("--cases", type=int, help="random networks to compile and run (default: 300)")


def pytest_configure(config: pytest.Config) -> None:
    """Tell the tests of the compiler how many cases they run."""
    cases = config.getoption("--cases")
    if cases is not None:
        os.environ["NETC_CASES"] = str(cases)
    if config.getoption("--wide"):
        os.environ["NETC_WIDE"] = "1"
