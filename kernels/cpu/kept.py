"""Compiled kernels on disk, in place of Numba's cache.

Numba keeps an index for each function, looks at the function's own file only, and numbers its data
files: two processes that compile at once can take the same number, and then one signature's code
runs for the other for ever. Here every kernel has a file for each signature, named by all that it
is made from; there is no index. A file is written whole, and counts only if its checksum, which
covers what it is as well as its content, is right. Anything else costs a compilation.

A folder holds what one version of sources, libraries and processor made. The folders used last
stay; all can be deleted at any time.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import binding
from numba.core import compiler, config, serialize, sigutils
from numba.core.caching import _Cache
from numba.misc.appdirs import AppDirs

from netc_kernels.files import digest, read_checked, write_checked

_rebuild: Any = compiler.CompileResult._rebuild
_serialize: Any = serialize.dumps
_normalized: Any = sigutils.normalize_signature
_appdirs: Any = AppDirs
_config: Any = config
PACKAGE = Path(__file__).parent
FOLDERS = 8
"""Versions whose kernels stay in a place."""
_NAME, _SUFFIX = "netc-", ".kernel"
_OPTIONS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")
"""Of Numba, set by the environment, that change code."""


def folders() -> list[Path]:
    """Where kernels of this version are looked for, in this order, and the first that takes a new
    one gets it: `NUMBA_CACHE_DIR`, or else the package's `__pycache__` and the user's folder.
    """
    if _config.CACHE_DIR:
        places = [Path(_config.CACHE_DIR)]
    else:
        user = _appdirs(appname="numba", appauthor=False).user_cache_dir
        places = [PACKAGE / "__pycache__", Path(user)]
    return [place / VERSION for place in places]


def any_place() -> bool:
    """Tell whether a new kernel can be kept."""
    for folder in folders():
        with suppress(OSError):
            _make(folder)
            if os.access(folder, os.W_OK):
                return True
    return False


def _version() -> str:
    """A name for all that every kernel depends on: sources, who compiles, the processor."""
    compilers = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    # constants of the modules depend on the processor, whatever Numba compiles for
    processor = (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    options = [f"{name}={getattr(config, name, None)}" for name in _OPTIONS]
    return _NAME + digest(*compilers, *processor, *options, _sources(PACKAGE.glob("*.py")))


def _sources(files: Iterable[Path]) -> str:
    """A digest of files; all of a package, since kernels are compiled into each other."""
    found = [(file.name, blake2b(file.read_bytes()).hexdigest()) for file in sorted(files)]
    return digest(*(part for pair in found for part in pair))


def _source(file: Path) -> str:
    """A digest of a function's file; empty where there is none."""
    try:
        return _sources([file])
    except OSError:
        return ""


VERSION = _version()
"""Found before the modules of kernels are read."""
_source_at_start = cache(_source)


class KernelCache(_Cache):
    """The kept code of one kernel, as Numba asks for it."""

    def __init__(self, python: Callable[..., Any]) -> None:
        self._python, self._enabled = python, True
        self._file = Path(python.__code__.co_filename)
        self._source = _source_at_start(self._file)

    @property
    def cache_path(self) -> str:
        """The first folder."""
        return str(folders()[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for a signature; None where nothing is kept, or not as it was."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        for folder in folders() if key else ():
            content = read_checked(folder / self._name(key), key)
            if content is not None:
                _mark_used(folder)
                return _rebuild(target_context, *pickle.loads(content))
        return None

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Tell whether there is a file for a signature, right or not."""
        key = self._key(sig, target_context.codegen())
        return bool(key) and any((each / self._name(key)).exists() for each in folders())

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, where there is a place for it."""
        key = self._key(sig, data.codegen)
        if not key or self._changed():
            return
        assert not data.library.has_dynamic_globals, f"{self._python} holds addresses"
        content = _serialize(data._reduce())
        for folder in folders():
            with suppress(OSError):
                _keep(folder / self._name(key), key, content)
                return

    def enable(self) -> None:
        """Look for kernels and keep new ones."""
        self._enabled = True

    def disable(self) -> None:
        """Neither look nor keep."""
        self._enabled = False

    def flush(self) -> None:
        """Do nothing: what is named by what it is cannot be out of date."""

    def _key(self, sig: Any, codegen: Any) -> str:
        """All that tells this code from any other; empty if it cannot be told."""
        args, result = _normalized(sig)
        try:
            parts = (VERSION, self._source, described(self._python), *codegen.magic_tuple())
        except (TypeError, ValueError):
            return ""
        key = "\n".join((*parts, f"({', '.join(map(str, args))}) -> {result}"))
        # an object's address is another one in the next process
        return key if self._enabled and self._source and " at 0x" not in key else ""

    def _name(self, key: str) -> str:
        return f"{self._python.__name__}-{digest(key)}{_SUFFIX}"

    def _changed(self) -> bool:
        """Tell whether sources may be others than those that were read."""
        try:
            return _version() != VERSION or _source(self._file) != self._source
        except OSError:
            return True


def described(value: Any) -> str:
    """What a kernel, or what it has of the function around it, is. Raises TypeError, ValueError
    where no text tells that.
    """
    if isinstance(value, (int, float, complex, str, np.number, type(None))):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, tuple):
        return f"({', '.join(map(described, value))})"
    python = getattr(value, "py_func", value)
    if not hasattr(python, "__code__"):
        raise TypeError(f"{value!r} is no constant")
    names = f"{python.__module__} {python.__qualname__} {python.__code__.co_firstlineno}"
    cells = [described(cell.cell_contents) for cell in python.__closure__ or ()]
    return f"{names} [{', '.join(cells)}]"


def _make(folder: Path) -> None:
    if not folder.exists():
        _make_room(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)


def _keep(file: Path, key: str, content: bytes) -> None:
    _make(file.parent)
    write_checked(file, key, content)
    _mark_used(file.parent)


@cache
def _mark_used(folder: Path) -> None:
    """Once a process."""
    with suppress(OSError):
        os.utime(folder)


def _make_room(place: Path) -> None:
    """Delete the folders that were not used for the longest time; who uses one compiles anew."""
    used = []
    for folder in place.glob(f"{_NAME}*"):
        with suppress(OSError):
            used.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(used, reverse=True)[FOLDERS - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)
