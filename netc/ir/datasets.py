"""Data sets: what a recipe and `--data` may name.

Each is declared once, in `DATA_SETS`: the language, `--help` and tests follow. What it takes by
default says the function of the runtime that reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from netc.numbers import BELOW_ONE, COUNT, NATURAL, Number

SYNTHETIC = "synthetic"
"""Data that are none."""


@dataclass(frozen=True, slots=True)
class DataArgument:
    """What is told to a data set."""

    name: str
    kind: Number | Literal["path", "truth"]
    """A number of a kind; the path of a file or folder; true or false."""
    required: bool = False
    """Only the path, which stands first, may be given without its name."""


@dataclass(frozen=True, slots=True)
class DataForm:
    """A data set as it is named."""

    word: str
    example: str
    """How it is called."""
    about: str
    """What it reads, for lists."""
    arguments: tuple[DataArgument, ...] = ()


_PATH = DataArgument("path", "path", required=True)

DATA_SETS: Mapping[str, DataForm] = {
    each.word: each
    for each in (
        DataForm(
            "imagefolder",
            'imagefolder("folder")',
            "`train/CLASS/*.jpg` and `val/CLASS/*.jpg` (or `test`), folders below a class too",
            (_PATH, DataArgument("validation", BELOW_ONE), DataArgument("skip_empty", "truth")),
        ),
        DataForm(
            "digits",
            "digits()",
            "the 1,797 digits that come with netc; every fifth is held out",
        ),
        DataForm(
            "idx",
            'idx("folder")',
            "MNIST's format: `train-images-idx3-ubyte`, ..., plain or `.gz`",
            (_PATH, DataArgument("classes", COUNT)),
        ),
        DataForm(
            "fashion",
            "fashion()",
            "Fashion-MNIST, of Debian's `dataset-fashion-mnist`, or in a folder that is named",
            (DataArgument("path", "path"),),
        ),
        DataForm("cifar10", 'cifar10("folder")', "CIFAR-10's binary version", (_PATH,)),
        DataForm(
            "cifar100",
            'cifar100("folder")',
            "CIFAR-100's binary version; with `coarse=true` its 20 coarse classes",
            (_PATH, DataArgument("coarse", "truth")),
        ),
        DataForm(
            "npz",
            'npz("file.npz")',
            "NumPy's arrays `x_train`, `y_train`, `x_test` and `y_test` in one file",
            (_PATH,),
        ),
        DataForm(
            SYNTHETIC,
            "synthetic()",
            "made-up images of the network's shape and classes, to try a training",
            (
                DataArgument("train", COUNT),
                DataArgument("test", COUNT),
                DataArgument("seed", NATURAL),
            ),
        ),
    )
}
"""All data sets by the word of the language."""
