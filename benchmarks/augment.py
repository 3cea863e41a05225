"""Images a second that each augmentation changes on one core: the table of docs/training.md.

    python benchmarks/augment.py [--repeats 15]

Images lie in memory as bytes. An augmentation's time is what it adds to reading and normalizing
them, in the processor's time of one thread, which other programs disturb less; the least of the
repeats.
"""

import argparse
import time

import numpy as np

from netc.ir.augmentations import AUGMENTATIONS
from netc_runtime.train.augment import Spec, examples
from netc_runtime.train.images import ByteImages, SplitImages

BATCHES = {(3, 224, 224): 64, (1, 28, 28): 256}
"""Images a batch, by their shape."""
BATCHES_IN_SET = 16
"""So that few images are mixed with one of their own batch, which is there already."""
SHIFT = 4
"""Where there is no default."""


def images(shape: tuple[int, int, int], count: int) -> ByteImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    part = SplitImages((pixels,), np.zeros(count, np.int64))
    return ByteImages("random", "", ("one",), (120.0,), (60.0,), part, part)


def spec(word: str) -> Spec:
    arguments = AUGMENTATIONS[word].arguments
    return word, (), {a.name: SHIFT if a.default is None else a.default for a in arguments}


def seconds(dataset: ByteImages, specs: list[Spec], repeats: int) -> float:
    size = dataset.train_size
    rows = np.random.default_rng(1).permutation(size)[: size // BATCHES_IN_SET]
    times = []
    for epoch in range(repeats):
        began = time.thread_time()
        examples(dataset, rows, np.float32, 0, epoch, specs)
        times.append(time.thread_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    datasets = {shape: images(shape, BATCHES_IN_SET * n) for shape, n in BATCHES.items()}
    plain = {shape: seconds(dataset, [], repeats) for shape, dataset in datasets.items()}
    shapes = ("x".join(map(str, shape)) for shape in BATCHES)
    print(f"| | {' | '.join(shapes)} |\n|---|---|---|")
    for word in AUGMENTATIONS:
        added = {
            shape: seconds(dataset, [spec(word)], repeats) - plain[shape]
            for shape, dataset in datasets.items()
        }
        rates = (f"{BATCHES[shape] / added[shape]:,.0f}" for shape in BATCHES)
        print(f"| `{word}` | {' | '.join(rates)} |")


if __name__ == "__main__":
    main()
