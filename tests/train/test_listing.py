"""Which files of a folder are read, what is said of the others, and of names and damaged files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netc.errors import DataError, render
from netc_runtime.train import survey
from netc_runtime.train.imagefolder import ImageFolder, imagefolder
from netc_runtime.train.images import Wanted
from netc_runtime.train.loading import Loader

Builder = Callable[..., Any]
Complains = Callable[..., Any]


def square(size: int = 224) -> Wanted:
    return Wanted((3, size, size), 2)


def save(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)
    return path


def names(dataset: ImageFolder, root: Path) -> list[str]:
    return [str(path.relative_to(root / "train")) for path in dataset.train.paths]


def test_pictures_in_folders_below_a_class_are_read(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path)
    for name in ("dog/more/2.png", "dog/more/deep/1.png", "dog/mope.png", "dog/.x/a.png"):
        save(tmp_path / "train" / name)
    dataset = imagefolder(square(4), str(tmp_path))
    wanted = ["0.png", "1.png", "2.png", "mope.png", "more/2.png", "more/deep/1.png"]
    assert names(dataset, tmp_path)[3:] == [f"dog/{name}" for name in wanted]
    assert dataset.train.labels.tolist() == [0] * 3 + [1] * 6
    assert "9 training images in 2 classes; 2 held-out images: val" in dataset.description
    assert dataset.description.endswith("; 1 other file left out: hidden")
    assert dataset.inputs == 1


@pytest.mark.parametrize(
    "ending", ["jfif", "JPE", "jp2", "pgm", "tga", "apng", "ico", "webp", "sgi", "dib"]
)
def test_what_pillow_opens_is_read(tmp_path: Path, make_folder: Builder, ending: str) -> None:
    make_folder(tmp_path)
    save(tmp_path / "train" / "cat" / f"new.{ending}", 100)
    dataset = imagefolder(square(4), str(tmp_path))
    assert dataset.train_size == 7 and "left out" not in dataset.description
    pixels, _ = dataset.load("train", [3], np.float64)
    assert abs(pixels[0, 0, 0, 0] * 58.395 + 123.675 - 100) < 3


def test_what_is_left_out_is_counted(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path)
    for name in ("train/cat/a.txt", "train/cat/b.TXT", "val/dog/c.pdf", "val/dog/README",
                 "train/.DS_Store", "train/loose.png", "train/cat/.hidden.png"):  # fmt: skip
        (tmp_path / name).write_text("")
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.png")
    assert imagefolder(square(), str(tmp_path)).description.endswith(
        "; 8 other files left out: .pdf, .txt, hidden, no ending, no regular file, "
        "outside the classes' folders"
    )


def test_links_are_followed_and_end(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path)
    cat, far = tmp_path / "train" / "cat", tmp_path / "far"
    save(far / "z.png")
    (cat / "again").symlink_to(cat)
    (cat / "elsewhere").symlink_to(far)
    (cat / "twice").symlink_to(far)
    (far / "up").symlink_to(cat)
    (cat / "self").symlink_to(cat / "self")
    dataset = imagefolder(square(), str(tmp_path))
    assert [name for name in names(dataset, tmp_path) if "cat" in name] == [
        "cat/0.png", "cat/1.png", "cat/2.png", "cat/elsewhere/z.png"
    ]  # fmt: skip
    assert "4 other files left out: linked folder that was read, no ending" in dataset.description


def test_folders_may_be_as_deep_as_the_system_has_them(
    tmp_path: Path, make_folder: Builder
) -> None:
    make_folder(tmp_path)
    top = place = tmp_path / "train" / "cat"
    for _ in range(1200):
        place /= "d"
        place.mkdir()
    save(place / "a.png")
    assert imagefolder(square(), str(tmp_path)).train_size == 7
    # From below: Python cannot remove folders so deep, which pytest tries later.
    (place / "a.png").unlink()
    while place != top:
        place.rmdir()
        place = place.parent


# --- names that are no text ---


@pytest.mark.parametrize(
    ("name", "shown"), [(b"d\xe9g", r"d\xe9g"), (b"a\nb", r"a\nb"), (b"\x1b[31m", r"\x1b[31m")]
)
def test_classes_are_text(
    tmp_path: Path, make_folder: Builder, complains: Complains, name: bytes, shown: str
) -> None:
    """Checkpoints and JSON have their names."""
    make_folder(tmp_path)
    os.rename(tmp_path / "train" / "dog", os.fsencode(tmp_path / "train") + b"/" + name)
    with complains("E064", f"the class folder '{tmp_path}/train/{shown}' is no text of UTF-8"):
        imagefolder(square(), str(tmp_path))


def test_classes_in_any_script(tmp_path: Path, make_folder: Builder) -> None:
    classes = tuple(sorted(("größe", "猫", "می\u200cروم", "a b")))
    make_folder(tmp_path, classes)
    assert imagefolder(square(), str(tmp_path)).classes == classes


def test_any_name_of_a_file_can_be_shown(tmp_path: Path, make_folder: Builder) -> None:
    place = os.fsencode(tmp_path) + b"/p\xff\n\x1b[2J"
    root = Path(os.fsdecode(place))
    make_folder(root)
    (root / "train" / "cat" / os.fsdecode(b"\xfe\r.png")).write_bytes(b"no picture")
    (root / "train" / "cat" / os.fsdecode(b"a.\xfe\r")).write_bytes(b"")
    dataset = imagefolder(square(4), str(root))
    with pytest.raises(DataError) as caught:
        dataset.load("train", range(4), np.float32)
    told = render(caught.value.diagnostics)
    assert r"/p\xff\n\x1b[2J/train/cat/\xfe\r.png': it is of no format that is read." in told
    for text in (dataset.description, *told.split("\n")):
        text.encode("utf-8")
        assert text.isprintable()


# --- files that cannot be read ---


def spoil(paths: tuple[Path, ...]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:60])


def failed(dataset: ImageFolder, rows: list[int]) -> tuple[list[str], str]:
    """The errors when these training images are loaded for a run, and the note that follows."""
    with Loader(dataset, np.float32, 2) as loader, pytest.raises(DataError) as caught:
        loader.begin(partial(dataset.load, "train", dtype=np.float32), np.array(rows)).result()
    *errors, note = caught.value.diagnostics
    assert {each.code for each in errors} == {"E066"} and note.severity == "note"
    return [each.message for each in errors], note.message


def test_one_bad_picture_tells_of_all(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path)
    dataset = imagefolder(square(4), str(tmp_path))
    bad = (dataset.train.paths[4], dataset.train.paths[0], dataset.test.paths[1])
    spoil(bad[:2])
    bad[2].unlink()
    messages, note = failed(dataset, [1, 4])
    assert [f"'{path}'" in text for path, text in zip(bad, messages, strict=True)] == [True] * 3
    assert "No such file or directory." in messages[2]
    assert note == "8 of the 8 images were looked at; 3 cannot be read; 'netc data' names all."


def test_of_many_bad_pictures_some_are_named(tmp_path: Path, make_folder: Builder) -> None:
    make_folder(tmp_path, tuple("abcdefghi"))
    dataset = imagefolder(square(4), str(tmp_path))
    spoil(dataset.train.paths)
    messages, note = failed(dataset, [26])
    assert len(messages) == 20 and f"'{dataset.train.paths[26]}'" in messages[0]
    assert "; 27 cannot be read, of which 7 are not named here; " in note


def test_the_look_at_others_is_bounded(
    tmp_path: Path, make_folder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path)
    dataset = imagefolder(square(4), str(tmp_path))
    spoil(dataset.train.paths)
    monkeypatch.setattr(survey, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(survey, "AT_ONCE", 3)
    messages, note = failed(dataset, [5])
    assert len(messages) == 4
    assert note.startswith("3 of the 8 images were looked at; 4 cannot be read;")
