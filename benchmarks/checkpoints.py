"""What a checkpoint costs a training: steps of a network with and without, in turn.

    python benchmarks/checkpoints.py vgg16 --batch 8 --every 4 --rounds 5

Each round is so many steps without a checkpoint, then as many with one after the first, which is
written while the others run. Images are made up; state, files and copies are real (VGG-16 with
momentum: 1.1 GB). Printed is what each round lost, and the median, by the clock and in seconds
of cores. The first checkpoint takes memory that the others use again, and is printed by itself.
`--wait` waits for every checkpoint before the next step, as it would be without a thread that
writes.

It should be all that the machine does: of others seconds of cores know less than the clock does.
Files go to `--folder`, whose disk counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from netc.api.running import open_session
from netc.cli.main import parser
from netc.cli.session import choose, load_bundle
from netc_runtime.io.checkpoint import checkpoint_name
from netc_runtime.launch.ranks import Alone
from netc_runtime.train.folder import Folder
from netc_runtime.train.saving import Saver
from netc_runtime.train.synthetic import Synthetic

WARM_STEPS = 2


class Training:
    """Steps of a network over one batch, and checkpoints into a folder."""

    def __init__(self, network: str, batch: int, folder: Path) -> None:
        asked = ["run", network, "--batch", str(batch), "--plain", "--data", "synthetic()"]
        options = parser().parse_args(asked)
        bundle = load_bundle(options)
        self.session = open_session(choose(options, bundle), bundle, None)
        self.session.initialize(0)
        self.folder = Folder(folder, keep=1)
        self.saver = Saver(self.session, self.folder, Alone())
        classes = tuple(map(str, range(bundle.facts.classes)))
        (image,) = self.session.images
        channels, height, width = image.shape[1:]
        dataset = Synthetic((channels, height, width), classes, batch, 1, seed=0)
        self.batch = dataset.load("train", range(batch), self.session.dtype)
        self.done = 0

    def step(self) -> float:
        """Take a step; its seconds."""
        began = time.perf_counter()
        self.session.step(*self.batch, step=self.done, seed=0, learning_rate=1e-4)
        self.done += 1
        return time.perf_counter() - began

    def save(self) -> float:
        """Begin a checkpoint; the seconds until the next step may run."""
        began = time.perf_counter()
        self.saver.wait()
        self.saver.begin(self.done, {}, best=False)
        return time.perf_counter() - began

    def steps(self, count: int, saves: bool, waits: bool = False) -> tuple[float, float]:
        """Take so many steps, the first with a checkpoint behind it that is on the disk when they
        end; the seconds of all, and those of all cores.
        """
        began, used = time.perf_counter(), time.process_time()
        for number in range(count):
            self.step()
            if saves and not number:
                self.save()
                if waits:
                    self.saver.wait()
        self.saver.wait()
        return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    read.add_argument("network")
    read.add_argument("--batch", type=int, default=8)
    read.add_argument("--every", type=int, default=4, help="steps from one checkpoint to the next")
    read.add_argument("--rounds", type=int, default=5)
    read.add_argument("--wait", action="store_true", help="do not write beside the steps")
    read.add_argument("--folder", type=Path)
    options = read.parse_args()
    with tempfile.TemporaryDirectory(prefix="netc-", dir=options.folder) as name:
        training = Training(options.network, options.batch, Path(name))
        for _ in range(WARM_STEPS):
            training.step()
        first = training.save()
        training.saver.wait()
        size = (Path(name) / checkpoint_name(WARM_STEPS)).stat().st_size
        plain, saved = [], []
        for _ in range(options.rounds):
            plain.append(training.steps(options.every, saves=False))
            saved.append(training.steps(options.every, saves=True, waits=options.wait))
    print(f"{options.network}, batch {options.batch}: a checkpoint has {size / 1e9:.2f} GB")
    print(f"first checkpoint      {first:.2f} s, which takes its memory")
    for place, name in enumerate(("", " of cores")):
        without = [each[place] for each in plain]
        lost = [each[place] - other for each, other in zip(saved, without, strict=True)]
        usual, each = statistics.median(without), statistics.median(lost)
        print(f"{options.every} steps without one   {usual:.2f} s{name}")
        print(f"more with one         {', '.join(f'{one:.2f}' for one in lost)} s{name}")
        print(f"median                {each:.2f} s{name}: {100 * each / usual:.1f} %")


if __name__ == "__main__":
    main()
