"""Named arrays and text in one safetensors file: eight bytes of length, a JSON header, the bytes.

Format: https://github.com/huggingface/safetensors#format. Reading is the library's, which checks
every offset. Writing is ours, because the library orders metadata differently in every process and
equal contents must give equal bytes; it also copies no tensor.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError

from .problems import DamagedError, data_error, unreadable, unwritable

Tensors = dict[str, NDArray[Any]]

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
_ALIGNMENT_BYTES = 8
_BLOCK_BYTES = 4096
_ROOM_BYTES = 2048 * _BLOCK_BYTES
"""What is written at once; a multiple of the blocks of all usual disks."""
_SUM_BYTES = 4096
"""Of a file whose words are added up for its checksum; whole ones are in a room."""
_CHECKSUM_KEY = "checksum"
TEMPORARY = ".tmp"
"""Ends the name of a file that is being written."""


def write(
    path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str], checked: bool = False
) -> None:
    """Writes `path` whole or not at all: a crash leaves the old file, or none. With `checked` its
    metadata has a checksum of the tensors' bytes, which `read` compares.

    The bytes go to `<name>.tmp` beside it, reach the disk, and then take the name in one step.
    Raises DataError (E069) where the system refuses, as where there is no such folder.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        _write_synced(temporary, tensors, meta, checked)
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, problem) from problem


def read(path: Path, names: Collection[str] | None = None) -> tuple[Tensors, dict[str, str]]:
    """The tensors of `path` by name, all or those of `names`, and its metadata; bfloat16 becomes
    float32.

    Raises DataError: E061 where the file is missing or unreadable, E068 where it is of an element
    type NumPy lacks, or a pickle, which is refused; DamagedError (E068) where it is cut short or
    malformed, or its bytes are not those that its checksum is of.
    """
    with _opened(path) as file:
        meta = dict(file.metadata() or {})
        checksum = meta.pop(_CHECKSUM_KEY, None)
        if checksum is not None and checksum != _checksum_in(path):
            raise _changed(path)
        wanted = (name for name in file.keys() if names is None or name in names)  # noqa: SIM118
        tensors = {name: _tensor(path, file, name) for name in wanted}
        return tensors, meta


def read_meta(path: Path) -> dict[str, str]:
    """The metadata of `path` without its tensors. Raises as `read`."""
    with _opened(path) as file:
        meta = dict(file.metadata() or {})
    meta.pop(_CHECKSUM_KEY, None)
    return meta


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, for reading; what the library says of it becomes our errors."""
    # Imported here: it costs more than the rest of this package, and only reading needs it.
    from safetensors import SafetensorError, safe_open

    _check_readable(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except OSError as problem:
        raise unreadable(path, problem) from problem
    except SafetensorError as problem:
        raise _malformed(path, problem) from problem
    except (TypeError, AttributeError, KeyError, ValueError) as problem:
        message = f"'{path}' holds an element type that NumPy lacks: {_words(problem)}."
        raise data_error("E068", message, "convert it to float32, where it was made") from problem


def _tensor(path: Path, file: Any, name: str) -> NDArray[Any]:
    """One tensor; types that NumPy lacks are refused even where another package brings them."""
    kind: str = file.get_slice(name).get_dtype()
    if kind == "BF16":
        return _bfloat16(path, name)
    if kind not in _DTYPES.values():
        raise TypeError(f"'{name}' is {kind}")
    tensor: NDArray[Any] = file.get_tensor(name)
    return tensor


def _bfloat16(path: Path, name: str) -> NDArray[np.float32]:
    """The upper halves of float32 numbers, with lower halves of zero; the header was checked."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        start, stop = entry["data_offsets"]
        file.seek(8 + size + start)
        halves = np.frombuffer(file.read(stop - start), "<u2")
    whole = halves.astype(np.uint32) << 16
    return whole.view(np.float32).reshape(entry["shape"])


def _write_synced(
    path: Path, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str], checked: bool
) -> None:
    arrays = _little_endian(tensors)
    parts = [array.reshape(-1).view(np.uint8) for array in arrays.values()]
    if checked:
        meta = {**meta, _CHECKSUM_KEY: _checksum_of(parts)}
    parts.insert(0, np.frombuffer(_header(arrays, meta), np.uint8))
    with open(path, "wb", buffering=0) as file:
        if not _write_past_cache(file.fileno(), parts):
            file.seek(0)
            for part in parts:
                _write_all(file.fileno(), part.data)
        os.ftruncate(file.fileno(), sum(part.size for part in parts))
        os.fsync(file.fileno())


def _write_past_cache(file: int, parts: Sequence[NDArray[np.uint8]]) -> bool:
    """Write to the disk itself, in whole blocks, the last one padded; False where the system has
    no such way, and what was written counts for nothing.

    Training goes on meanwhile, and the system's cache of a file costs the processor more than all
    else: it takes fresh memory for every byte, and nobody reads them again soon.
    """
    if not hasattr(os, "O_DIRECT"):
        return False
    import fcntl

    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    with mmap.mmap(-1, _ROOM_BYTES) as room:
        try:
            fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_DIRECT)
            for size in _fill(room, parts):
                with memoryview(room) as filled:
                    _write_all(file, filled[: -(-size // _BLOCK_BYTES) * _BLOCK_BYTES])
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise
            return False
        finally:
            fcntl.fcntl(file, fcntl.F_SETFL, flags)
    return True


def _fill(room: mmap.mmap, parts: Iterable[NDArray[np.uint8]]) -> Iterator[int]:
    """Put the parts into a room, one behind the other; yields how much it holds when it is full,
    and at the end.
    """
    size = 0
    for part in parts:
        start = 0
        while start < part.size:
            count = min(part.size - start, len(room) - size)
            np.frombuffer(room, np.uint8)[size : size + count] = part[start : start + count]
            start, size = start + count, size + count
            if size == len(room):
                yield size
                size = 0
    if size:
        yield size


def _checksum_of(parts: Sequence[NDArray[np.uint8]]) -> str:
    """Of bytes in several parts, as of all in one."""
    found = 0
    with mmap.mmap(-1, _ROOM_BYTES) as room:
        for size in _fill(room, parts):
            found = _summed(room, size, found)
    return f"{found:08x}"


def _checksum_in(path: Path) -> str:
    """Of the tensors' bytes of a file, whose header was checked."""
    found = 0
    with open(path, "rb", buffering=0) as file, mmap.mmap(-1, _ROOM_BYTES) as room:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        size = len(room)
        while size == len(room):
            size = _read_into(file, room)
            found = _summed(room, size, found)
    return f"{found:08x}"


def _read_into(file: FileIO, room: mmap.mmap) -> int:
    """Fill a room from a file; how much it holds then, which is less where the file ends."""
    size = 0
    with memoryview(room) as whole:
        while size < len(whole):
            with whole[size:] as rest:
                count = file.readinto(rest)
            if not count:
                break
            size += count
    return size


def _summed(room: mmap.mmap, size: int, before: int) -> int:
    """The CRC-32 of the sums (modulo 2^64) of the words of each 4,096 bytes, the last ones filled
    up with zeros: a changed word always changes it, at a tenth of the cost of a CRC of all.
    """
    blocks = -(-size // _SUM_BYTES)
    filled = np.frombuffer(room, np.uint8)
    filled[size : blocks * _SUM_BYTES] = 0
    words = filled[: blocks * _SUM_BYTES].view("<u8").reshape(blocks, _SUM_BYTES // 8)
    return zlib.crc32(words.sum(axis=1, dtype="<u8"), before)


def _write_all(file: int, data: memoryview) -> None:
    """Systems may take less than they are given, 2 GiB at most."""
    with data:
        start = 0
        while start < len(data):
            start += os.write(file, data[start:])


def _little_endian(tensors: Mapping[str, NDArray[Any]]) -> Tensors:
    """Contiguous arrays, widest elements first, so that each starts at a multiple of its width."""
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    return {
        name: np.asarray(tensors[name], tensors[name].dtype.newbyteorder("<"), order="C")
        for name in names
    }


def _header(arrays: Tensors, meta: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(sorted(meta.items()))}
    offset = 0
    for name, array in arrays.items():
        assert name != "__metadata__", "the format keeps this name for itself"
        entries[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return len(text).to_bytes(8, "little") + text


def _sync_directory(directory: Path) -> None:
    """Makes the new name itself durable; systems that cannot open a directory need no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_readable(path: Path) -> None:
    """Asks the system first: its reasons are better than those of the library."""
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as problem:
        raise unreadable(path, problem) from problem


def _malformed(path: Path, problem: Exception) -> Exception:
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"} or head == b"PK\x03\x04":
        return data_error(
            "E068",
            f"'{path}' looks like a pickle or a zip archive (.pkl, .pt, .npz), which is refused: "
            "reading a pickle can run any code.",
            "convert it to safetensors, where it was made",
        )
    error = data_error(
        "E068",
        f"'{path}' is not a whole safetensors file: {_words(problem)}.",
        "it may be cut short or of another format; use an older checkpoint, or copy it again",
    )
    return DamagedError(*error.diagnostics)


def _changed(path: Path) -> DataError:
    message = f"the tensors in '{path}' are not those that were written: their checksum differs."
    hint = (
        "use an older checkpoint, or copy it again; a tool that changes tensors has to leave "
        f"'{_CHECKSUM_KEY}' out of the metadata"
    )
    return DamagedError(*data_error("E068", message, hint).diagnostics)


def _words(problem: Exception) -> str:
    """The library's words on one line, without a full stop."""
    return " ".join(str(problem).split()).rstrip(".") or type(problem).__name__
