"""Train on your own images, use what was trained, and hand it on.

A folder of folders, one a class, is a data set. Here one is made: stripes that lie, stand or lean.
Run as `python train_own_images.py [FOLDER]`; without a folder a temporary one is filled.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import netc

NETWORK = """
net stripes(classes = 3)
input image 3x16x16
conv 3x3 8 pad=1
relu | maxpool 2x2 /2
conv 3x3 16 pad=1
relu | maxpool 2x2 /2 | flatten
fc classes
softmax_loss
train { batch 32; sgd lr=0.02 momentum=0.9; epochs 4; augment shift(1) }
"""


def make_pictures(folder: Path, each: int = 80) -> None:
    """Write some pictures of each kind of stripes, in folders 'train' and 'val'."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:16, :16]
    for name, place in {"lying": y, "standing": x, "leaning": x + y}.items():
        for number in range(each):
            wave = np.sin(place * random.uniform(0.9, 1.3) + random.uniform(0, 6))
            pixels = 128 + 100 * wave[..., None] + random.normal(0, 20, (16, 16, 3))
            part = folder / ("val" if number % 5 == 0 else "train") / name
            part.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(part / f"{number}.png")


with tempfile.TemporaryDirectory() as scratch:
    given = sys.argv[1:]
    folder = Path(given[0] if given else scratch) / "pictures"
    if not given:
        make_pictures(folder)
    network = netc.parse(NETWORK, classes=len([*(folder / "train").iterdir()]))

    training = network.train(data=folder, devices=2, strategy="data")
    for event in training:
        if isinstance(event, netc.EpochDone):
            print(f"epoch {event.epoch}: loss {event.loss:.3f}, "
                  f"{100 * event.test_accuracy:.1f} % of held-out images are right")  # fmt: skip
    trained = training.result

    pictures = sorted((folder / "val").glob("*/*0.png"))[:3]
    for path, shares in zip(pictures, trained.predict(pictures), strict=True):
        best = int(shares.argmax())
        print(f"{path.parent.name}/{path.name}: {trained.classes[best]}, {shares[best]:.2f}")

    # For other tools; weights in PyTorch's names are in .safetensors.
    ready = network.with_weights(trained.weights())
    ready.save(Path(scratch) / "stripes.onnx")
    ready.save(Path(scratch) / "stripes.safetensors")
    print("saved", *sorted(path.name for path in Path(scratch).glob("stripes.*")))
