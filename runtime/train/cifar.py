"""CIFAR-10, binary version: files of records, each one label and then 3x32x32 bytes.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import escaped

from ..io.problems import data_error, folder, unreadable
from .calls import text
from .images import ByteImages, SplitImages, check_labels
from .pictures import Preparation, decode
from .stored import Stored

_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32
_CLASSES = 10
_MEAN = (125.3, 123.0, 113.9)
_STD = (63.0, 62.1, 66.7)
"""Of the 50,000 training images, red, green and blue."""
PICTURES = Preparation("the whole picture, scaled as CIFAR-10's", decode, _MEAN, _STD)
"""Any picture as one of the data set."""
_NAMES_FILE = "batches.meta.txt"
_HELP = (
    "unpack cifar-10-binary.tar.gz and name the folder that holds data_batch_1.bin to "
    "data_batch_5.bin, test_batch.bin and batches.meta.txt"
)


def cifar10(path: str) -> ByteImages:
    """The CIFAR-10 images in the folder `path`, 3x32x32; held out are those of test_batch.bin.

    Labels are read now, images when asked for. Raises DataError: E061 where a file is missing, E062
    where one is malformed or cut short, E064 where a label is out of range.
    """
    place = folder(Path(text("the folder of 'cifar10'", path)), _HELP)
    names = _class_names(place / _NAMES_FILE)
    train = _part([place / f"data_batch_{number}.bin" for number in range(1, 6)])
    test = _part([place / "test_batch.bin"])
    description = escaped(
        f"CIFAR-10 in '{place}', {len(train.labels):,} training images; "
        f"{len(test.labels):,} held-out images: test_batch.bin"
    )
    return ByteImages("cifar10", description, names, _MEAN, _STD, train, test)


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="utf-8-sig").split())
    except OSError as problem:
        raise unreadable(path, problem, _HELP) from problem
    except UnicodeDecodeError as problem:
        raise data_error("E062", f"'{path}' is no text of UTF-8: {problem}.", _HELP) from problem
    if len(names) == _CLASSES:
        return names
    message = f"'{path}' names {len(names)} classes; CIFAR-10 has {_CLASSES}."
    raise data_error("E062", message, _HELP)


def _part(paths: list[Path]) -> SplitImages:
    chunks = tuple(map(_records, paths))
    labels = [_labels(chunk) for chunk in chunks]
    return SplitImages(chunks, np.concatenate(labels))


def _records(path: Path) -> Stored:
    """The images of a file, which is checked to hold whole ones."""
    try:
        nbytes = path.stat().st_size
    except OSError as problem:
        raise unreadable(path, problem, _HELP) from problem
    if nbytes > 0 and nbytes % _RECORD_BYTES == 0:
        return Stored(path, nbytes, 1, _RECORD_BYTES, (nbytes // _RECORD_BYTES, *_SHAPE))
    raise data_error(
        "E062",
        f"'{path}' has {nbytes:,} bytes, which are no whole number of images: "
        f"an image takes {_RECORD_BYTES:,}.",
        "it is cut short or no CIFAR-10 file (the binary version, not the Python one); "
        "copy it again",
    )


def _labels(records: Stored) -> NDArray[np.int64]:
    """The byte before each image of a file."""
    bytes_ = replace(records, start=0, shape=(len(records), 1))
    labels = bytes_[np.arange(len(records))][:, 0].astype(np.int64)
    check_labels(labels, _CLASSES, records.path)
    return labels
