"""Which data set a file or folder is, by what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from netc.ir.facts import RecipeCall

from ..io.problems import data_error
from .class_folders import LAYOUT, SPLITS
from .listing import entries, is_folder

SHARE = 0.1
"""Of each class, held out where a folder has no held-out images."""
_BY_FILE = {
    "train-images": "idx",
    "t10k-images": "idx",
    "data_batch_1.bin": "cifar10",
    "test_batch.bin": "cifar10",
    "fine_label_names.txt": "cifar100",
    "coarse_label_names.txt": "cifar100",
}
"""Data sets by how the name of a file in them begins."""
_HELP = f"{LAYOUT}; or name a folder of idx or CIFAR files, or an .npz file"


def recognised(path: str) -> RecipeCall:
    """The call that reads the data in `path`.

    A file is `npz`; a folder `idx`, `cifar10` or `cifar100` by its files, else `imagefolder`: of
    train/ and val/ (or test/), or with a tenth of each class held out. Raises DataError: E061 where
    it is not there or cannot be read, E065 where it is none of these.
    """
    if not os.path.isdir(path):
        return _file(path)
    found = entries(Path(path), _HELP)
    for start, word in _BY_FILE.items():
        if any(entry.name.startswith(start) for entry in found):
            return RecipeCall(word, (path,), {})
    folders = {e.name for e in found if is_folder(e) and not e.name.startswith(".")}
    if not folders:
        message = (
            f"'{path}' holds no data set that is known: no folders of pictures, no such files."
        )
        raise data_error("E065", message, _HELP)
    if folders & {"val", "test"} and ("train" in folders or folders <= set(SPLITS)):
        return RecipeCall("imagefolder", (path,), {})
    root = os.path.join(path, "train") if folders == {"train"} else path
    return RecipeCall("imagefolder", (root,), {"validation": SHARE})


def _file(path: str) -> RecipeCall:
    if not os.path.exists(path):
        raise data_error("E061", f"there is no file or folder '{path}'.", _HELP)
    if Path(path).suffix.lower() == ".npz":
        return RecipeCall("npz", (path,), {})
    raise data_error("E065", f"'{path}' is no data set that is known.", _HELP)
