"""CIFAR-10 and CIFAR-100, binary versions: files of records, labels and then 3x32x32 bytes.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import escaped

from ..io.problems import data_error, folder, unreadable
from .calls import text, truth
from .images import ByteImages, SplitImages, check_labels
from .pictures import Preparation, decode
from .stored import Stored

_SHAPE = (3, 32, 32)
_IMAGE_BYTES = math.prod(_SHAPE)


@dataclass(frozen=True, slots=True)
class _Version:
    """One of the two data sets."""

    word: str
    title: str
    train: tuple[str, ...]
    """The files of training images."""
    test: str
    """The file of held-out images."""
    labels: int
    """Bytes of labels before an image."""
    pictures: Preparation
    """Any picture as one of the data set, by its training images' mean and deviation."""

    def help(self, names: str) -> str:
        """What to do where a file is missing; `names` is the file of the classes' names."""
        files = ", ".join((*self.train, self.test))
        archive = f"{self.word.replace('cifar', 'cifar-')}-binary.tar.gz"
        return f"unpack {archive} and name the folder that holds {files} and {names}"


CIFAR10 = _Version(
    "cifar10",
    "CIFAR-10",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test_batch.bin",
    1,
    Preparation(
        "the whole picture, scaled as CIFAR-10's",
        decode,
        (125.3, 123.0, 113.9),
        (63.0, 62.1, 66.7),
    ),
)
CIFAR100 = _Version(
    "cifar100",
    "CIFAR-100",
    ("train.bin",),
    "test.bin",
    2,
    Preparation(
        "the whole picture, scaled as CIFAR-100's",
        decode,
        (129.3, 124.1, 112.4),
        (68.2, 65.4, 70.4),
    ),
)


def cifar10(path: str) -> ByteImages:
    """The CIFAR-10 images in the folder `path`, 3x32x32; held out are those of test_batch.bin.

    Labels are read now, images when asked for. Raises DataError: E061 where a file is missing, E062
    where one is malformed or cut short, E064 where a label is out of range.
    """
    return _opened(CIFAR10, path, "batches.meta.txt", 10, 0)


def cifar100(path: str, coarse: bool = False) -> ByteImages:
    """The CIFAR-100 images in the folder `path`, 3x32x32; held out are those of test.bin.

    A record has two labels: of 100 classes, or, with `coarse`, of the 20 that they belong to.
    Raises DataError as `cifar10`.
    """
    if truth("'coarse' of 'cifar100'", coarse):
        return _opened(CIFAR100, path, "coarse_label_names.txt", 20, 0)
    return _opened(CIFAR100, path, "fine_label_names.txt", 100, 1)


def _opened(version: _Version, path: str, names_file: str, count: int, place: int) -> ByteImages:
    """The images of a version by `count` classes, whose label is byte `place` of a record."""
    help = version.help(names_file)
    here = folder(Path(text(f"the folder of '{version.word}'", path)), help)
    names = _class_names(here / names_file, version, count, help)
    train, test = (
        _part([here / each for each in files], version, count, place, help)
        for files in (version.train, (version.test,))
    )
    description = escaped(
        f"{version.title} in '{here}', {len(train.labels):,} training images in {count} classes; "
        f"{len(test.labels):,} held-out images: {version.test}"
    )
    scale = version.pictures.mean, version.pictures.std
    return ByteImages(version.word, description, names, *scale, train, test)


def _class_names(path: Path, version: _Version, count: int, help: str) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="utf-8-sig").split())
    except OSError as problem:
        raise unreadable(path, problem, help) from problem
    except UnicodeDecodeError as problem:
        raise data_error("E062", f"'{path}' is no text of UTF-8: {problem}.", help) from problem
    if len(names) == count:
        return names
    message = f"'{path}' names {len(names)} classes; {version.title} has {count}."
    raise data_error("E062", message, help)


def _part(
    paths: list[Path], version: _Version, classes: int, place: int, help: str
) -> SplitImages:  # fmt: skip
    chunks = tuple(_records(path, version, help) for path in paths)
    labels = [_labels(chunk, place) for chunk in chunks]
    for path, found in zip(paths, labels, strict=True):
        check_labels(found, classes, path)
    return SplitImages(chunks, np.concatenate(labels))


def _records(path: Path, version: _Version, help: str) -> Stored:
    """The images of a file, which is checked to hold whole ones."""
    try:
        nbytes = path.stat().st_size
    except OSError as problem:
        raise unreadable(path, problem, help) from problem
    record = version.labels + _IMAGE_BYTES
    if nbytes > 0 and nbytes % record == 0:
        return Stored(path, nbytes, version.labels, record, (nbytes // record, *_SHAPE))
    raise data_error(
        "E062",
        f"'{path}' has {nbytes:,} bytes, which are no whole number of images: "
        f"an image takes {record:,}.",
        f"it is cut short or no {version.title} file (the binary version, not the Python one); "
        "copy it again",
    )


def _labels(records: Stored, place: int) -> NDArray[np.int64]:
    """A byte of the beginning of each record of a file."""
    bytes_ = replace(records, start=place, shape=(len(records), 1))
    return bytes_[np.arange(len(records))][:, 0].astype(np.int64)
