"""idx files, the format of MNIST and its relatives, plain or compressed with gzip.

A header of big-endian numbers (two zero bytes, the element type, the number of dimensions, each
dimension), then the elements. Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from netc.errors import escaped

from ..io.problems import data_error, folder, reason, unreadable
from .calls import text, whole
from .images import ByteImages, SplitImages, check_labels
from .pictures import Preparation, decode
from .stored import Stored

_MEAN, _STD = 33.32, 78.57
"""Of MNIST's training images; other idx data gets the same scale."""
PICTURES = Preparation("the whole picture, white ink on black", decode, (_MEAN,), (_STD,))
"""Any picture as one of the data set."""
FASHION = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package has it."""
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
FASHION_PICTURES = Preparation("the whole picture, white on black", decode, (72.94,), (90.02,))
"""Any picture as one of Fashion-MNIST, by the mean and deviation of its training images."""
_FASHION_HELP = (
    "install Debian's package dataset-fashion-mnist; or fetch the four files from "
    'https://github.com/zalandoresearch/fashion-mnist, and name their folder: fashion("folder")'
)
_UNSIGNED_BYTE = 8
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1 << 20
_HELP = (
    "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte there, plain or as .gz"
)
_COPY_AGAIN = "the file is damaged or cut short; copy or download it again"


def idx(path: str, classes: int | None = None) -> ByteImages:
    """The idx files in the folder `path`: train-images and -labels, t10k-images and -labels.

    Images have three dimensions (n, H, W), one channel, or four (n, C, H, W). The files do not say
    how many classes there are: it is `classes`, or the highest training label and one. Images in
    plain files are read when asked for, compressed ones unpacked into memory. Held out is t10k.

    Raises DataError: E061 where a file is missing, E062 where one is malformed or cut short, E063
    where images and labels disagree, E064 where a label is out of range, E065 without images.
    """
    place = folder(Path(text("the folder of 'idx'", path)), _HELP)
    asked = None if classes is None else whole("'classes'", classes, 1, 256)
    train, test, count = _parts(place, asked)
    names = tuple(map(str, range(count)))
    description = _description("idx images", place, train, test)
    return ByteImages("idx", description, names, (_MEAN,), (_STD,), train, test)


def fashion(path: str = FASHION) -> ByteImages:
    """Fashion-MNIST: 60,000 grey pictures of clothes, 1x28x28, ten classes; held out are 10,000.

    `path` is a folder of idx files, that of Debian's package if it is not given. H. Xiao, K. Rasul,
    R. Vollgraf, arXiv 1708.07747, 2017. Raises DataError as `idx`.
    """
    place = folder(Path(text("the folder of 'fashion'", path)), _FASHION_HELP)
    train, test, _ = _parts(place, len(_CLOTHES))
    description = _description("Fashion-MNIST", place, train, test)
    scale = FASHION_PICTURES.mean, FASHION_PICTURES.std
    return ByteImages("fashion", description, _CLOTHES, *scale, train, test)


def _parts(place: Path, classes: int | None) -> tuple[SplitImages, SplitImages, int]:
    """Both splits, checked against each other, and how many classes there are."""
    train, train_labels = _part(place, "train")
    test, test_labels = _part(place, "t10k")
    _check_same_shape(place, train, test)
    count = classes or int(train.labels.max()) + 1
    check_labels(train.labels, count, train_labels)
    check_labels(test.labels, count, test_labels)
    return train, test, count


def _description(what: str, place: Path, train: SplitImages, test: SplitImages) -> str:
    return escaped(
        f"{what} in '{place}', {len(train.labels):,} training images; "
        f"{len(test.labels):,} held-out images: t10k"
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file; DataError, E061 or E062, where it cannot be read or unpacked meanwhile."""
    try:
        with open(path, "rb") as file:
            yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as problem:
        message = f"'{path}' does not unpack: {reason(problem).rstrip('.')}."
        raise data_error("E062", message, _COPY_AGAIN) from problem
    except MemoryError as problem:
        message = f"'{path}' does not fit in memory when it is unpacked."
        raise data_error(
            "E062", message, "unpack it with gunzip; images stay in a plain file"
        ) from problem
    except OSError as problem:
        raise unreadable(path, problem, _HELP) from problem


def _images(path: Path) -> NDArray[np.uint8] | Stored:
    """Images (n, C, H, W): left in a plain file, unpacked into memory from another."""
    with _opened(path) as file:
        if _is_compressed(file):
            shape, content = _content(file, path, frozenset({3, 4}))
            return content.reshape(_as_images(shape))
        shape = _header(file, path, frozenset({3, 4}))
        start, nbytes = file.tell(), os.fstat(file.fileno()).st_size
        _check_length(path, shape, nbytes - start)
        return Stored(path, nbytes, start, math.prod(shape[1:]), _as_images(shape))


def _labels(path: Path) -> NDArray[np.int64]:
    with _opened(path) as file:
        return _content(file, path, frozenset({1}))[1].astype(np.int64)


def _as_images(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 4 else (shape[0], 1, *shape[1:])


def _part(place: Path, split: str) -> tuple[SplitImages, Path]:
    """The images and labels of a split, and the labels' file, to name it."""
    images_path = _find(place, f"{split}-images", ("idx3", "idx4"))
    labels_path = _find(place, f"{split}-labels", ("idx1",))
    images, labels = _images(images_path), _labels(labels_path)
    if len(images) != len(labels):
        message = (
            f"'{images_path}' has {len(images):,} images, but '{labels_path}' has "
            f"{len(labels):,} labels."
        )
        raise data_error("E063", message, "one of the two is of another data set")
    return SplitImages((images,), labels), labels_path


def _find(place: Path, stem: str, kinds: tuple[str, ...]) -> Path:
    """The file as its publishers name it: train-images-idx3-ubyte, train-images.idx3-ubyte.gz."""
    for kind in kinds:
        for name in (f"{stem}-{kind}-ubyte", f"{stem}.{kind}-ubyte"):
            for path in (place / name, place / f"{name}.gz"):
                if os.path.isfile(path):
                    return path
    message = f"there is no file '{stem}-{kinds[0]}-ubyte', plain or .gz, in '{place}'."
    raise data_error("E061", message, _HELP)


def _is_compressed(file: BinaryIO) -> bool:
    found = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    return found


def _content(
    file: BinaryIO, path: Path, dimensions: frozenset[int]
) -> tuple[tuple[int, ...], NDArray[np.uint8]]:
    """The shape and all elements of a file, unpacked."""
    with gzip.open(file) if _is_compressed(file) else nullcontext(file) as opened:
        stream = cast(BinaryIO, opened)
        shape = _header(stream, path, dimensions)
        content = _read_pieces(stream, math.prod(shape) + 1)
    _check_length(path, shape, len(content))
    return shape, np.frombuffer(content, np.uint8)


def _read_pieces(stream: BinaryIO, most: int) -> bytearray:
    """Up to `most` bytes; in pieces, so that a wrong header cannot claim all memory at once."""
    content = bytearray()
    while len(content) < most and (piece := stream.read(min(_PIECE_BYTES, most - len(content)))):
        content += piece
    return content


def _header(stream: BinaryIO, path: Path, dimensions: frozenset[int]) -> tuple[int, ...]:
    """The shape that the header announces; leaves the stream at the first element."""
    magic = stream.read(4)
    wanted = [bytes([0, 0, _UNSIGNED_BYTE, count]) for count in sorted(dimensions)]
    if magic not in wanted:
        raise data_error(
            "E062",
            f"'{path}' begins with {magic.hex(' ') or 'nothing'}, "
            f"not {' or '.join(each.hex(' ') for each in wanted)}.",
            "it is no idx file of unsigned bytes of this kind; images and labels may be swapped",
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) != 4 * magic[3]:
        raise data_error("E062", f"'{path}' ends within its header.", _COPY_AGAIN)
    shape = struct.unpack(f">{magic[3]}I", sizes)
    if 0 in shape:
        raise data_error("E065", f"'{path}' is empty: it announces {_by(shape)} bytes.", _HELP)
    return shape


def _check_length(path: Path, shape: tuple[int, ...], found: int) -> None:
    if found == math.prod(shape):
        return
    how = f"only {found:,} follow" if found < math.prod(shape) else "more follow"
    message = f"'{path}' announces {_by(shape)} bytes, but {how}."
    raise data_error("E062", message, _COPY_AGAIN)


def _check_same_shape(place: Path, train: SplitImages, test: SplitImages) -> None:
    shapes = [part.chunks[0].shape[1:] for part in (train, test)]
    if shapes[0] == shapes[1]:
        return
    here, there = map(_by, shapes)
    message = f"training images in '{place}' are {here}, held-out images {there}."
    raise data_error("E063", message, "the two are of different data sets")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape)
