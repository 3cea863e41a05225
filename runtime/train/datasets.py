"""Data sets by name, and the protocol they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from netc.errors import did_you_mean
from netc.ir.datasets import SYNTHETIC

from ..io.problems import data_error
from . import arrays as _arrays
from . import cifar as _cifar
from . import digits as _digits
from . import idx as _idx
from . import imagefolder as _imagefolder
from . import npz as _npz
from . import synthetic as _synthetic
from .calls import call
from .images import Shape, Wanted
from .pictures import Preparation, check_channels, decode, fitting
from .several import InputImages, SeveralInputs, flat_shape


class Dataset(InputImages, Protocol):
    """Labelled images in two splits. A value: it names files, and reads them when asked.

    `load(split, indices, dtype)` returns images (len(indices), C, H, W) of `dtype` and labels
    (len(indices),), int64, of exactly these indices of the split, in this order; it reads no other
    image, so each rank loads only its slice, and several threads may call it at once. Pixels have
    about zero mean and unit variance. With `windows`, one an image, it has what these show of the
    images as they are kept, scaled. It raises DataError: E066 where an image cannot be read, E061
    or E062 where a file of images is not as it was when it was opened.
    """

    @property
    def name(self) -> str:
        """The word that names it in a recipe: 'digits'."""

    @property
    def description(self) -> str:
        """What it is, and what is held out for testing, in one sentence."""

    @property
    def inputs(self) -> int:
        """How many inputs of a network it fills with images, beside the labels."""


_GREY = Preparation("the whole picture, grey from 0 to 1", decode, (0.0,), (255.0,))
_SEVERAL = "join them into one of more channels; 'npz' and 'synthetic' fill several"
_UNKNOWN = (_imagefolder.PICTURES[0], _GREY)
"""For networks whose data set is not known: of three channels, and of one."""


@dataclass(frozen=True, slots=True)
class DataKind:
    """How a data set of a name is made."""

    make: Callable[..., Dataset]
    """From its arguments."""
    pictures: tuple[Preparation, ...]
    """How a picture of any kind becomes an image like those of the data set, by channels."""
    fitted: bool = False
    """Whether `make` is first told what the network takes (`Wanted`)."""


DATASETS: dict[str, DataKind] = {
    "digits": DataKind(_digits.digits, (_digits.PICTURES,)),
    "idx": DataKind(_idx.idx, (_idx.PICTURES,)),
    "fashion": DataKind(_idx.fashion, (_idx.FASHION_PICTURES,)),
    "cifar10": DataKind(_cifar.cifar10, (_cifar.CIFAR10.pictures,)),
    "cifar100": DataKind(_cifar.cifar100, (_cifar.CIFAR100.pictures,)),
    "imagefolder": DataKind(_imagefolder.imagefolder, _imagefolder.PICTURES, fitted=True),
    "npz": DataKind(_npz.npz, (_arrays.PICTURES,), fitted=True),
    SYNTHETIC: DataKind(_synthetic.synthetic, _UNKNOWN, fitted=True),
}
"""All data sets by name; `netc.ir.datasets` says what each takes."""


def open_dataset(
    name: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    image_shape: tuple[int, int, int],
    classes: int,
    inputs: Mapping[str, Shape] | None = None,
    training: bool = True,
) -> Dataset:
    """The data set that a recipe's `data name(*args, **kwargs)` means, checked against a network.

    `image_shape` is the network's input (C, H, W), `classes` the number of its outputs, `inputs`
    all its inputs by name where there are several, each of which has to be filled. Without
    `training` held-out images are enough. Relative paths start at the working directory. Raises
    DataError, E060 to E067.
    """
    several = dict(inputs or {}) if len(inputs or {}) > 1 else {}
    wanted = Wanted(image_shape, classes, training, tuple(several.items()))
    known = {
        word: partial(kind.make, wanted) if kind.fitted else kind.make
        for word, kind in DATASETS.items()
    }
    dataset = call("data set", known, name, args, kwargs)
    _check_inputs(dataset, tuple(several) or ("image",))
    _check_image_shape(dataset, flat_shape([*several.values()] or [image_shape]))
    _check_classes(dataset, classes)
    return dataset


def parts_of(dataset: Dataset) -> tuple[InputImages, ...]:
    """What fills each input: the data set itself where there is one input."""
    return dataset.parts if isinstance(dataset, SeveralInputs) else (dataset,)


def facts_of(dataset: Dataset) -> dict[str, object]:
    """What all processes of a run must find alike in their data, by name."""
    return {
        "data set": dataset.description,
        "number of training images": dataset.train_size,
        "number of held-out images": dataset.test_size,
        "list of classes": dataset.classes,
    }


def preparation(name: str | None, image_shape: tuple[int, ...]) -> Preparation:
    """How pictures become images for a network that takes (C, H, W) `image_shape`.

    As the data set `name` has it; None, where it is not known, takes that of an imagefolder for
    three channels and grey from 0 to 1 for one. Raises DataError: E060 for an unknown name, E067
    where the network takes neither one channel nor three, or other channels than the data set has.
    """
    channels = image_shape[0]
    check_channels(channels)
    known = {word: kind.pictures for word, kind in DATASETS.items()}
    if name is not None and name not in known:
        help = did_you_mean(name, known) + f"known are: {', '.join(known)}"
        raise data_error("E060", f"there is no data set '{name}'.", help)
    found = fitting(_UNKNOWN if name is None else known[name], channels)
    if found is None:
        message = f"images of data set '{name}' have three channels; the network takes {channels}."
        raise data_error("E067", message, "name the data that the network was trained on")
    return found


def shown_as(name: str, images: InputImages) -> Preparation:
    """By what the images of data set `name` for an input become bytes to look at; raises as
    `preparation`.
    """
    if isinstance(images, _arrays.Arrays):
        check_channels(images.image_shape[0])
        return images.scale
    return preparation(name, images.image_shape)


def byte_scale(name: str | None, channels: int) -> Preparation:
    """How bytes in memory become images of so many channels: as the data set `name` has its own;
    where none is named, or it has none such, from -1 to 1, as those of `npz`.
    """
    known = DATASETS[name].pictures if name in DATASETS and name != SYNTHETIC else ()
    return fitting(known, channels) or _arrays.PICTURES


def _check_inputs(dataset: Dataset, names: Sequence[str]) -> None:
    if len(names) == dataset.inputs:
        return
    named = ", ".join(f"'{name}'" for name in names)
    message = f"the network has {len(names)} inputs ({named}), but data set '{dataset.name}' fills "
    raise data_error("E067", f"{message}{dataset.inputs}.", _SEVERAL)


def _check_image_shape(dataset: Dataset, wanted: tuple[int, ...]) -> None:
    if dataset.image_shape == wanted:
        return
    have, need = _by(dataset.image_shape), _by(wanted)
    raise data_error(
        "E067",
        f"the network takes {need} images, but data set '{dataset.name}' has {have}.",
        f"write 'input image {have}' in the network, or choose other data",
    )


def _check_classes(dataset: Dataset, wanted: int) -> None:
    have = len(dataset.classes)
    if have == wanted:
        return
    raise data_error(
        "E067",
        f"the network tells {wanted:,} classes apart, but data set '{dataset.name}' has {have:,}.",
        f"give the network's last layer {have} outputs, with '-D classes={have}' where it has such "
        "a parameter, or choose other data",
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
