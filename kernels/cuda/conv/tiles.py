"""Descriptions of matrices by which Hopper's chips copy tiles of them, by the driver's own call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, lru_cache

_BF16, _SWIZZLE_128_BYTES, _FETCH_256_BYTES = 9, 3, 3
_BYTES = 128
"""Of a description."""


@cache
def _encode() -> Callable[..., int]:
    driver = ctypes.CDLL("libcuda.so.1")
    function: Callable[..., int] = driver.cuTensorMapEncodeTiled
    return function


@lru_cache(maxsize=4096)
def tile_map(address: int, rows: int, columns: int, tile: tuple[int, int]) -> bytes:
    """Describe a matrix of bf16, its rows one after the other, and its tiles: rows, 64 columns.

    Tiles lie in shared memory as conv/tile.cuh tells. Columns come in eights.
    """
    described = ctypes.create_string_buffer(2 * _BYTES)
    aligned = -(-ctypes.addressof(described) // 64) * 64
    failed = _encode()(
        ctypes.c_void_p(aligned),
        ctypes.c_int(_BF16),
        ctypes.c_uint32(2),
        ctypes.c_void_p(address),
        (ctypes.c_uint64 * 2)(columns, rows),
        (ctypes.c_uint64 * 1)(columns * 2),
        (ctypes.c_uint32 * 2)(tile[1], tile[0]),
        (ctypes.c_uint32 * 2)(1, 1),
        ctypes.c_int(0),
        ctypes.c_int(_SWIZZLE_128_BYTES),
        ctypes.c_int(_FETCH_256_BYTES),
        ctypes.c_int(0),
    )
    assert not failed, f"the driver describes no such matrix (error {failed})"
    return ctypes.string_at(aligned, _BYTES)
