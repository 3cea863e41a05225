"""CUDA sources below this folder, compiled when first asked for and launched on raw streams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock, local
from typing import Any
from zlib import crc32

from netc_kernels import cuda

FOLDER = Path(__file__).parent
_DEFAULT_SHARED_BYTES = 48 * 1024
"""Dynamic shared memory that a kernel may use without being told so."""

_THREAD = local()
_LOCKS: defaultdict[object, Lock] = defaultdict(Lock)
"""By module: of threads that want the same one, one compiles it."""


@contextmanager
def only_compiling() -> Iterator[None]:
    """Meanwhile what this thread launches is compiled and loaded, not started."""
    _THREAD.compiling = True
    try:
        yield
    finally:
        _THREAD.compiling = False


def compiles_only() -> bool:
    """Whether this thread is within `only_compiling`."""
    return getattr(_THREAD, "compiling", False)


@cache
def _module(file: str, defines: tuple[tuple[str, object], ...], arch: str) -> Any:
    import cupy

    # Macros are not options: for each set of options CuPy runs the compiler once in every process.
    options = ("-std=c++17", f"-I{FOLDER}", *((f"-arch={arch}",) if arch else ()))
    macros = "".join(f"#define {name} {value}\n" for name, value in defines)
    code = (FOLDER / file).read_text(encoding="utf-8")
    # CuPy names its files on disk after the source alone, not after what that includes
    return cupy.RawModule(code=f"// headers {_headers()}\n{macros}#line 1\n{code}", options=options)


@cache
def _headers() -> int:
    """A digest of what sources include."""
    return crc32(b"".join(each.read_bytes() for each in sorted(FOLDER.rglob("*.cuh"))))


@cache
def digest() -> str:
    """Of all sources and what launches them; measurements of kernels hold for one digest."""
    files = sorted(each for each in FOLDER.rglob("*") if each.suffix in (".cu", ".cuh", ".py"))
    return f"{crc32(b''.join(each.read_bytes() for each in files)):08x}"


@cache
def function(file: str, name: str, arch: str = "", **defines: object) -> Any:
    """The kernel `name` of a source, compiled by NVRTC with macros set as in `defines`.

    CuPy keeps compiled modules on disk, whole and with a checksum, under a digest of source,
    options, device and compiler. `arch` replaces the device's own, as in "sm_90a".
    """
    macros = tuple(sorted(defines.items()))
    with _LOCKS[file, macros, arch]:
        module = _module(file, macros, arch)
        try:
            return module.get_function(name)
        except OSError:  # a full disk, a folder that cannot be written
            cuda.keep_nothing()
            return module.get_function(name)


@dataclass(frozen=True, slots=True)
class _Pointer:
    """A stream that somebody else made, as CuPy takes it."""

    value: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.value


@cache
def stream_of(pointer: int) -> Any:
    """CuPy's handle of the stream with this address."""
    import cupy

    return cupy.cuda.Stream.from_external(_Pointer(pointer))


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    args: Sequence[Any],
    stream: int,
    shared_bytes: int = 0,
) -> None:
    """Start a kernel on a stream, given by its pointer. Arguments are NumPy scalars and ints.

    An int is passed as 64 bits: device addresses are ints. A grid with an empty side starts
    nothing.
    """
    if 0 in grid or compiles_only():
        return
    if shared_bytes > _DEFAULT_SHARED_BYTES:
        kernel.max_dynamic_shared_size_bytes = shared_bytes
    with stream_of(stream):
        kernel(grid, block, tuple(args), shared_mem=shared_bytes)
