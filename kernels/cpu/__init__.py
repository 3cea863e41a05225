"""Fast kernels for CPUs: vectors by Numba, and products held in registers.

They work on row-major arrays, images as (N, H, W, C), float32. The caller gives every output,
scratch memory `work` (float32, 1-D, best aligned to 64 bytes; every kernel with a workspace has a
function that tells its bytes), and a `Pool` of threads. Calls with pools of their own may run at
once. Results do not depend on which thread did what, and differ from the reference by rounding
only.

`netc_kernels.cpu.table.IMPLEMENTATIONS` lists them by op. Importing this package is cheap; its
modules import Numba, and compile a kernel when it is first called, or before (`ahead`), with its
pieces in it (`pieces`). Compiled kernels are kept on disk, in `__pycache__` or, where that is
read-only, in Numba's cache folder of the user; in `NUMBA_CACHE_DIR` alone where that is set.
"""

from functools import cache
from importlib.util import find_spec

__all__ = ["available"]


@cache
def available() -> str:
    """Tell why these kernels cannot run here; empty if they can."""
    if find_spec("numba") is None:
        return "Numba is not installed"
    return ""
