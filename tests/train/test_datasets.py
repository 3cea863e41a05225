"""Data sets: what they hold, that they load by index, and what they say of malformed files."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netc_runtime.train.cifar import cifar10, cifar100
from netc_runtime.train.datasets import Dataset, open_dataset
from netc_runtime.train.digits import digits
from netc_runtime.train.idx import FASHION, fashion, idx
from netc_runtime.train.imagefolder import imagefolder, picture
from netc_runtime.train.images import Wanted

Builder = Callable[..., Any]
Complains = Callable[..., Any]
Check = Callable[[Dataset], None]
FOLDERS = ["idx", "fashion", "cifar10", "cifar100", "imagefolder"]


def square(size: int = 224) -> Wanted:
    return Wanted((3, size, size), 2)


def test_digits_hold_out_every_fifth_image(loads_by_index: Check) -> None:
    dataset = digits()
    assert (dataset.train_size, dataset.test_size) == (1437, 360)
    assert dataset.image_shape == (1, 8, 8) and dataset.classes == tuple("0123456789")
    assert "360 held-out images: every fifth of the 1,797, indices 0, 5, 10, ..." in (
        dataset.description
    )
    loads_by_index(dataset)


def test_digits_are_those_that_were_published() -> None:
    """How many images of each class there are is from UCI's optdigits.names."""
    parts = [digits().load("train", range(1437), float), digits().load("test", range(360), float)]
    counts = np.bincount(np.concatenate([labels for _, labels in parts]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = np.rint(np.concatenate([images for images, _ in parts]) * 6.0211 + 4.8834)
    assert (pixels.min(), pixels.max()) == (0, 16)


def test_the_first_held_out_digit_is_a_zero() -> None:
    images, labels = digits().load("test", [0], np.float64)
    drawn = ["".join(".#"[int(pixel > 0.5)] for pixel in row) for row in images[0, 0]]
    assert labels.tolist() == [0]
    assert drawn == [
        "...##...",
        "..####..",
        "..#..##.",
        "..#..##.",
        "..#..##.",
        "..#..#..",
        "..#.##..",
        "...##...",
    ]


def test_digits_training_pixels_are_normalized() -> None:
    images, _ = digits().load("train", range(1437), np.float64)
    assert abs(images.mean()) < 1e-4 and abs(images.std() - 1) < 1e-4


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 4)])
def test_idx(
    tmp_path: Path, make_idx: Builder, zipped: bool, shape: tuple[int, ...], loads_by_index: Check
) -> None:
    raw, raw_labels = make_idx(tmp_path, zipped, shape)
    dataset = idx(str(tmp_path))
    assert dataset.classes == ("0", "1", "2")
    assert dataset.image_shape == (shape if len(shape) == 3 else (1, *shape))
    assert dataset.description.endswith("11 training images; 4 held-out images: t10k")
    images, labels = dataset.load("train", [7, 2], np.float64)
    assert np.allclose(images * 78.57 + 33.32, raw[[7, 2]].reshape(images.shape))
    assert labels.tolist() == raw_labels[[7, 2]].tolist()
    loads_by_index(dataset)


def test_idx_other_published_names(tmp_path: Path, make_idx: Builder) -> None:
    make_idx(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert idx(str(tmp_path), classes=5).classes == ("0", "1", "2", "3", "4")


def test_cifar10(tmp_path: Path, make_cifar: Builder, loads_by_index: Check) -> None:
    records = make_cifar(tmp_path)
    dataset = cifar10(str(tmp_path))
    assert dataset.classes[0] == "airplane" and len(dataset.classes) == 10
    assert dataset.inputs == digits().inputs == 1
    assert (dataset.train_size, dataset.test_size) == (15, 3)
    images, labels = dataset.load("train", [14, 0, 4], np.float64)
    mean, std = np.reshape(dataset.mean, (3, 1, 1)), np.reshape(dataset.std, (3, 1, 1))
    wanted = records[[14, 0, 4], 1:].reshape(3, 3, 32, 32)
    assert np.array_equal(np.rint(images * std + mean), wanted)
    assert labels.tolist() == records[[14, 0, 4], 0].tolist()
    loads_by_index(dataset)


@pytest.mark.parametrize(("coarse", "count"), [(False, 100), (True, 20)])
def test_cifar100(
    tmp_path: Path, make_cifar100: Builder, loads_by_index: Check, coarse: bool, count: int
) -> None:
    records = make_cifar100(tmp_path)
    dataset = cifar100(str(tmp_path), coarse=coarse)
    kind = "coarse" if coarse else "fine"
    assert dataset.classes == tuple(f"{kind}_{number}" for number in range(count))
    assert (dataset.train_size, dataset.test_size) == (9, 3)
    assert f"9 training images in {count} classes; 3 held-out images: test.bin" in (
        dataset.description
    )
    images, labels = dataset.load("train", range(9), np.float64)
    mean, std = np.reshape(dataset.mean, (3, 1, 1)), np.reshape(dataset.std, (3, 1, 1))
    assert np.array_equal(np.rint(images * std + mean), records[:, 2:].reshape(-1, 3, 32, 32))
    assert labels.tolist() == records[:, 0 if coarse else 1].tolist()
    loads_by_index(dataset)


def test_fashion(tmp_path: Path, make_idx: Builder, loads_by_index: Check) -> None:
    raw, raw_labels = make_idx(tmp_path, zipped=True)
    dataset = fashion(str(tmp_path))
    assert (len(dataset.classes), dataset.classes[0]) == (10, "T-shirt/top")
    assert "Fashion-MNIST in '" in dataset.description
    images, labels = dataset.load("train", [3], np.float64)
    assert np.allclose(images[0, 0] * 90.02 + 72.94, raw[3]) and labels == raw_labels[3]
    loads_by_index(dataset)


@pytest.mark.skipif(not Path(FASHION).is_dir(), reason="Debian's dataset-fashion-mnist is not here")
def test_fashion_of_debian() -> None:
    """What its authors say of it, and the scale that makes it of mean 0 and deviation 1."""
    dataset = fashion()
    assert (dataset.train_size, dataset.test_size) == (60_000, 10_000)
    assert dataset.image_shape == (1, 28, 28)
    assert np.bincount(dataset.train.labels).tolist() == [6000] * 10
    images, _ = dataset.load("train", range(0, 60_000, 10), np.float64)
    assert abs(images.mean()) < 0.01 and abs(images.std() - 1) < 0.01
    assert dataset.classes[int(dataset.load("train", [0], float)[1][0])] == "Ankle boot"


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_imagefolder(
    tmp_path: Path, make_folder: Builder, held_out: str, loads_by_index: Check
) -> None:
    make_folder(tmp_path, held_out=held_out)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "train" / ".hidden").mkdir()
    dataset = imagefolder(square(8), str(tmp_path))
    assert dataset.classes == ("cat", "dog") and dataset.image_shape == (3, 8, 8)
    assert (dataset.train_size, dataset.test_size) == (6, 2)
    assert dataset.description.endswith(
        f"6 training images in 2 classes; 2 held-out images: {held_out}; "
        "2 other files left out: .txt, hidden"
    )
    loads_by_index(dataset)


def test_decode_keeps_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[16:240, 144:368] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(
        picture(tmp_path / "a.png", (3, 224, 224)), np.full((3, 224, 224), [[[10]], [[20]], [[30]]])
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_decode_makes_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in {"CMYK", "I;16"} else "a.png")
    Image.new(mode, (9, 7)).save(path)
    assert picture(path, (3, 5, 5)).shape == (3, 5, 5)


def test_a_long_thin_picture_takes_little_memory(tmp_path: Path) -> None:
    Image.new("RGB", (40_000, 1)).save(tmp_path / "a.png")
    assert picture(tmp_path / "a.png", (3, 64, 64)).shape == (3, 64, 64)


# --- what is said of malformed data ---


@pytest.mark.parametrize("name", FOLDERS)
def test_missing_directory(tmp_path: Path, name: str, complains: Complains) -> None:
    with complains("E061", f"directory '{tmp_path}/none' does not exist.", "= help: "):
        open_dataset(name, (f"{tmp_path}/none",), {}, (3, 32, 32), 10)
    (tmp_path / "file").write_text("")
    with complains("E061", "is a file, not a directory."):
        open_dataset(name, (f"{tmp_path}/file",), {}, (3, 32, 32), 10)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda b: b[:-3], "E062", "announces 11 x 6 x 5 bytes, but only 327 follow."),
        (lambda b: b + b"\0", "E062", "announces 11 x 6 x 5 bytes, but more follow."),
        (lambda b: b[:9], "E062", "ends within its header."),
        (lambda b: b"", "E062", "begins with nothing, not 00 00 08 03 or 00 00 08 04."),
        (lambda b: b"\x89PNG" + b[4:], "E062", "begins with 89 50 4e 47, not 00 00 08 03"),
        (lambda b: b[:2] + b"\x0d" + b[3:], "E062", "begins with 00 00 0d 03, not"),
        (lambda b: b[:4] + b"\xff" * 12, "E062", "4,294,967,295 x 4,294,967,295 x"),
        (lambda b: b[:4] + bytes(4) + b[8:], "E065", "is empty: it announces 0 x 6 x 5 bytes."),
        (lambda b: b[:4] + b"\0\0\0\x0a" + b[8:-30], "E063", "has 10 images, but"),
    ],
)
def test_malformed_idx_images(
    tmp_path: Path,
    make_idx: Builder,
    complains: Complains,
    zipped: bool,
    change: Callable[[bytes], bytes],
    code: str,
    said: str,
) -> None:
    make_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    content = change(path.read_bytes())
    if zipped:
        path.unlink()
        path = path.with_name(path.name + ".gz")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with complains(code, f"'{path}' ", said, "= help: "):
        idx(str(tmp_path))


def test_idx_cut_short_within_gzip(tmp_path: Path, make_idx: Builder, complains: Complains) -> None:
    make_idx(tmp_path, zipped=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with complains("E062", f"'{path}' does not unpack: "):
        idx(str(tmp_path))


def test_idx_labels(
    tmp_path: Path, make_idx: Builder, idx_bytes: Builder, complains: Complains
) -> None:
    make_idx(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.array([0, 1, 3, 0], np.uint8)))
    with complains("E064", f"image 2 of '{path}' has label 3, but the 3 classes are 0 to 2."):
        idx(str(tmp_path))
    path.unlink()
    with complains("E061", f"no file 't10k-labels-idx1-ubyte', plain or .gz, in '{tmp_path}'."):
        idx(str(tmp_path))


def test_idx_splits_of_different_shapes(
    tmp_path: Path, make_idx: Builder, idx_bytes: Builder, complains: Complains
) -> None:
    make_idx(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((4, 7, 7), np.uint8)))
    with complains("E063", "are 1 x 6 x 5, held-out images 1 x 7 x 7."):
        idx(str(tmp_path))


def test_malformed_cifar(tmp_path: Path, make_cifar: Builder, complains: Complains) -> None:
    make_cifar(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with complains("E062", f"'{path}' has 9,218 bytes, which are no whole number of images"):
        cifar10(str(tmp_path))
    path.write_bytes(b"")
    with complains("E062", f"'{path}' has 0 bytes"):
        cifar10(str(tmp_path))
    path.write_bytes(content[:3073] + b"\x0a" + content[3074:])
    with complains("E064", f"image 1 of '{path}' has label 10, but the 10 classes are 0 to 9."):
        cifar10(str(tmp_path))
    path.unlink()
    with complains("E061", f"cannot read '{path}': No such file or directory.", "= help: "):
        cifar10(str(tmp_path))
    (tmp_path / "batches.meta.txt").write_bytes(b"cat\xff\n" * 10)
    with complains("E062", "batches.meta.txt' is no text of UTF-8: "):
        cifar10(str(tmp_path))
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\n")
    with complains("E062", "batches.meta.txt' names 2 classes; CIFAR-10 has 10."):
        cifar10(str(tmp_path))


def test_malformed_cifar100(tmp_path: Path, make_cifar100: Builder, complains: Complains) -> None:
    make_cifar100(tmp_path)
    path = tmp_path / "test.bin"
    content = path.read_bytes()
    path.write_bytes(content[:1] + b"\x64" + content[2:])
    assert cifar100(str(tmp_path), coarse=True).test_size == 3
    with complains("E064", f"image 0 of '{path}' has label 100, but the 100 classes are 0 to 99."):
        cifar100(str(tmp_path))
    path.write_bytes(content[: 3 * 3073])
    with complains("E062", "which are no whole number of images: an image takes 3,074."):
        cifar100(str(tmp_path))
    path.unlink()
    with complains("E061", "unpack cifar-100-binary.tar.gz and name the folder", "train.bin"):
        cifar100(str(tmp_path))


def test_fashion_that_is_not_there(
    tmp_path: Path, make_idx: Builder, complains: Complains, idx_bytes: Builder
) -> None:
    where = "install Debian's package dataset-fashion-mnist; or fetch the four files"
    with complains("E061", f"directory '{tmp_path}/none' does not exist.", where):
        fashion(f"{tmp_path}/none")
    make_idx(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.full(11, 10, np.uint8)))
    with complains("E064", "has label 10, but the 10 classes are 0 to 9."):
        fashion(str(tmp_path))
    path.unlink()
    with complains("E061", f"no file 'train-labels-idx1-ubyte', plain or .gz, in '{tmp_path}'."):
        fashion(str(tmp_path))


def test_malformed_imagefolder(tmp_path: Path, make_folder: Builder, complains: Complains) -> None:
    make_folder(tmp_path)
    (tmp_path / "val" / "dgo").mkdir()
    with complains("E064", "no training folder 'dgo'.", "did you mean 'dog'? "):
        imagefolder(square(), str(tmp_path))
    (tmp_path / "val" / "dgo").rmdir()
    broken = tmp_path / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    dataset = imagefolder(square(8), str(tmp_path))
    dataset.load("train", [0, 3, 5], np.float32)
    with complains("E066", f"cannot decode the image '{broken}': "):
        dataset.load("train", [4], np.float32)
    for path in (tmp_path / "train" / "cat").iterdir():
        path.unlink()
    with complains("E065", f"'{tmp_path}/train/cat' holds no pictures.", "pictures end in .jpg"):
        imagefolder(square(), str(tmp_path))
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "train").mkdir()
    with complains("E065", f"'{tmp_path}/train' holds no classes"):
        imagefolder(square(), str(tmp_path))
    shutil.rmtree(tmp_path / "val")
    with complains("E061", f"directory '{tmp_path}/test' does not exist."):
        imagefolder(square(), str(tmp_path))


# --- opening by name, against a network ---


def test_open_dataset_checks_the_network(complains: Complains) -> None:
    assert open_dataset("digits", (), {}, (1, 8, 8), 10) is digits()
    with complains(
        "E067",
        "the network takes 3x8x8 images, but data set 'digits' has 1x8x8.",
        "write 'input image 1x8x8' in the network",
    ):
        open_dataset("digits", (), {}, (3, 8, 8), 10)
    with complains("E067", "the network tells 1,000 classes apart, but data set 'digits' has 10."):
        open_dataset("digits", (), {}, (1, 8, 8), 1000)


@pytest.mark.parametrize("shape", [(3, 9, 9), (1, 9, 9), (3, 8, 16), (1, 20, 5)])
def test_pictures_become_what_the_network_takes(
    tmp_path: Path, make_folder: Builder, shape: tuple[int, int, int], loads_by_index: Check
) -> None:
    """Grey is the picture's luminance; of other proportions the centre is kept."""
    make_folder(tmp_path)
    dataset = open_dataset("imagefolder", (str(tmp_path),), {}, shape, 2)
    assert dataset.image_shape == shape
    loads_by_index(dataset)
    for path in (tmp_path / "train" / "cat").iterdir():
        Image.new("RGB", (60, 40), (200, 100, 50)).save(path)
    images, _ = dataset.load("train", [0], np.float64)
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    values = [(grey - 117) / 57.5] if shape[0] == 1 else [1.307, -0.285, -0.933]
    assert np.allclose(images[0], np.reshape(values, (-1, 1, 1)), atol=0.01)


def test_pictures_have_one_channel_or_three(
    tmp_path: Path, make_folder: Builder, complains: Complains
) -> None:
    make_folder(tmp_path)
    with complains("E067", "takes images of 4 channels; pictures have 1 or 3."):
        open_dataset("imagefolder", (str(tmp_path),), {}, (4, 9, 9), 2)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "said"),
    [
        ("digit", (), {}, "there is no data set 'digit'.\n     = help: did you mean 'digits'? "),
        ("digits", (3,), {}, "data set 'digits' has wrong arguments: too many positional"),
        ("idx", (), {}, "missing a required argument: 'path'."),
        ("idx", ("a",), {"clases": 3}, "help: write idx(path, classes=None)"),
        ("idx", (3,), {}, "the folder of 'idx' is 3, not a text"),
        ("imagefolder", (".",), {"size": 8}, "help: write imagefolder(path"),
        ("cifar100", (".",), {"coarse": 1}, "'coarse' of 'cifar100' is 1, neither true nor false."),
        ("idx", ("{idx}",), {"classes": True}, "'classes' is True, not a whole number"),
        ("idx", ("{idx}",), {"classes": float("nan")}, "'classes' is nan, not a whole number"),
        ("idx", ("{idx}",), {"classes": 10**30}, "is 1000000000000000000000000000000, more"),
        ("idx", ("{idx}",), {"classes": 10**9999}, "is a number of thousands of digits, more than"),
        ("idx", ("{idx}",), {"classes": 257}, "'classes' is 257, more than 256."),
        ("idx", ("{idx}",), {"classes": 0}, "'classes' is 0, not a whole number of at least 1."),
    ],
)
def test_wrong_calls(
    tmp_path: Path,
    make_idx: Builder,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    said: str,
    complains: Complains,
) -> None:
    if args == ("{idx}",):
        make_idx(tmp_path)
        args = (str(tmp_path),)
    with complains("E060", said):
        open_dataset(name, args, kwargs, (1, 8, 8), 10)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("place", ["n" * 300, "a\0b", "/dev/null/x"])
def test_folders_that_cannot_be(name: str, place: str, complains: Complains) -> None:
    with complains("E061", "n" * 300 if "n" * 300 in place else place.replace("\0", r"\x00")):
        open_dataset(name, (place,), {}, (3, 8, 8), 10)
