"""The runtime's complaints about files: one constructor, and the list of their codes.

E060  an unknown data set, augmentation or schedule, or wrong arguments of one
E061  a file or directory is missing or cannot be read
E062  a file is malformed or cut short
E063  files that belong together disagree
E064  a label is out of range, or a class's name is none
E065  a data set holds no classes or no images
E066  an image cannot be read or decoded
E067  a data set does not fit the network
E068  a checkpoint or a metrics file cannot be used
E069  a file cannot be written
E083  a folder belongs to another training
E086  weights have numbers that are not finite
"""

from __future__ import annotations

from pathlib import Path
from stat import S_ISDIR

from netc.errors import DataError, Diagnostic, escaped


class DamagedError(DataError):
    """A file that is no longer what was written: another one may be."""


def data_error(code: str, message: str, help: str = "") -> DataError:
    """The error with this one diagnostic, for the caller to raise; names in it are escaped."""
    return DataError(Diagnostic(code, escaped(message), help=escaped(help)))


def reason(problem: Exception) -> str:
    """What went wrong, without the file's name, which our message gives already."""
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__


def unreadable(path: Path, problem: Exception, help: str = "") -> DataError:
    """The error for a file or directory that the system would not read."""
    return data_error("E061", f"cannot read '{path}': {reason(problem)}.", help)


def unwritable(path: Path, problem: Exception) -> DataError:
    """The error for a file or directory that the system would not write."""
    help = "check that the folder may be written to and that its disk has room"
    return data_error("E069", f"cannot write '{path}': {reason(problem)}.", help)


def folder(directory: Path, help: str) -> Path:
    """`directory`, or E061 where there is none."""
    try:
        mode = directory.stat().st_mode
    except FileNotFoundError:
        raise data_error("E061", f"directory '{directory}' does not exist.", help) from None
    except (OSError, ValueError) as problem:
        raise unreadable(directory, problem, help) from problem
    if not S_ISDIR(mode):
        message = f"directory '{directory}' is a file, not a directory."
        raise data_error("E061", message, help)
    return directory
