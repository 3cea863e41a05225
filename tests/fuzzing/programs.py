"""Program files, mutated by numbers, words, fields and lines, then read and run.

What is accepted runs two steps; it is "same" where it gives, to the bit, what the unchanged program
gives, else "changed": another rate, another activation, what no verifier can tell from a right
program.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netc.api.running import read_program
from netc.cli.common import build, request
from netc.cli.main import parser
from netc.ir.program import Bundle
from netc.ir.text import bundle_text
from netc_runtime.choose import BackendChoice, open_backend
from netc_runtime.session import Session
from netc_runtime.train.augment import augment
from netc_runtime.train.schedule import learning_rate

from ._mutate import damaged

NETWORKS = (
    """net plain(classes = 5)
input image 1x8x8
conv 3x3 16 pad=1 | relu | conv 3x3 16 pad=1 | relu | maxpool 2 | fc 12 | relu | dropout 0.3
fc classes
softmax_loss
train { data digits() ; batch 8 ; sgd lr=0.05 momentum=0.9 decay=0.001 ; augment shift(1) }
""",
    """net branched(classes = 5)
input image 1x8x8
conv 3x3 4 pad=1 | bn | relu
x := maxpool 3 /2 pad=1
add { $x | conv 3x3 4 pad=1 groups=2 | bn ; $x } | relu
concat { conv 1x1 4 ; avgpool 3 /1 pad=1 } | lrn
fc classes
softmax_loss
train { data digits() ; batch 8 ; adam lr=0.01 ; schedule step(every=1ep, gamma=0.5) }
""",
)
"""What the operations of the language come together in."""
OPTIONS = (
    "--kernels reference",
    "--kernels fast",
    "--devices 2 --strategy hybrid --scheme b --kernels reference",
    "--devices 2 --strategy hybrid --scheme c --kernels fast",
    "--devices 2 --strategy model --kernels fast",
)
NUMBERS = ("0", "1", "-1", "2", "7", "64", "4096", "-40000000", str(2**31), str(2**62), "9" * 30,
           "0.5", "1e999", "NaN", "true", "null", '"1"', "[]")  # fmt: skip
Mutation = Callable[[np.random.Generator, list[str]], None]


def case(rng: np.random.Generator, folder: Path) -> str:
    text, right = RIGHT[rng.integers(len(RIGHT))]
    path = folder / "case.netc"
    path.write_bytes(_mutated(rng, text))
    found = _results(read_program(path))
    same = found.keys() == right.keys() and all(
        np.array_equal(found[name], right[name], equal_nan=True) for name in right
    )
    return "same" if same else "changed"


def _mutated(rng: np.random.Generator, text: str) -> bytes:
    content, changes = text.encode(), 1 + int(rng.random() < 0.3)
    while content == text.encode():
        lines = text.splitlines(keepends=True)
        for _ in range(changes):
            MUTATIONS[rng.integers(len(MUTATIONS))](rng, lines)
        content = "".join(lines).encode()
        if rng.random() < 0.05:
            content = damaged(rng, content)
    return content


def _number(rng: np.random.Generator, lines: list[str]) -> None:
    """A number becomes a neighbour, one that lies far away, or another of the file."""
    place = _any_line(rng, lines)
    found = list(re.finditer(r"(?<![\w.@-])-?\d[\d.e-]*", lines[place]))
    if not found:
        return
    match = found[rng.integers(len(found))]
    choice, old = rng.integers(4), match.group()
    new = str(rng.choice(NUMBERS))
    if choice < 2 and old.lstrip("-").isdigit():
        new = str(int(old) + int(rng.choice((-64, -4, -1, 1, 4, 64))))
    elif choice == 2:
        new = found[rng.integers(len(found))].group()
    lines[place] = lines[place][: match.start()] + new + lines[place][match.end() :]


def _word(rng: np.random.Generator, lines: list[str]) -> None:
    """A text becomes another of the same line or of the file."""
    place = _any_line(rng, lines)
    other = place if rng.random() < 0.5 else _any_line(rng, lines)
    found = list(re.finditer(r'"[^"]*"', lines[place]))
    words = re.findall(r'"[^"]*"', lines[other])
    if found and words:
        match = found[rng.integers(len(found))]
        new = str(rng.choice(words))
        lines[place] = lines[place][: match.start()] + new + lines[place][match.end() :]


def _field(rng: np.random.Generator, lines: list[str]) -> None:
    """A field becomes that of another line of its kind, or goes."""
    place = _any_line(rng, lines)
    kind = lines[place].split(" ")[0]
    alike = [line for line in lines if line.startswith(kind + " ")]
    one, other = lines[place].split(" "), alike[rng.integers(len(alike))].split(" ")
    position = int(rng.integers(len(one)))
    if rng.random() < 0.1:
        del one[position]
    elif position < len(other):
        one[position] = other[position]
    lines[place] = " ".join(one)


def _list(rng: np.random.Generator, lines: list[str]) -> None:
    """A list loses an item, or two of them change places."""
    place = _any_line(rng, lines)
    found = list(re.finditer(r"\[([^\[\]]+)\]", lines[place]))
    if not found:
        return
    match = found[rng.integers(len(found))]
    items = match[1].split(",")
    one, other = (int(n) for n in rng.integers(0, len(items), 2))
    if rng.random() < 0.5:
        del items[one]
    else:
        items[one], items[other] = items[other], items[one]
    lines[place] = lines[place][: match.start(1)] + ",".join(items) + lines[place][match.end(1) :]


def _line(rng: np.random.Generator, lines: list[str]) -> None:
    """A line goes, comes twice, or changes places with another."""
    place, other, choice = _any_line(rng, lines), _any_line(rng, lines), rng.integers(4)
    if choice == 0:
        del lines[place]
    elif choice == 1:
        lines.insert(other, lines[place])
    elif choice == 2:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        del lines[max(place, 1) :]


def _waits(rng: np.random.Generator, lines: list[str]) -> None:
    """An instruction waits for nothing."""
    waiting = [n for n, line in enumerate(lines) if re.search(r"waits=\[\d", line)]
    if waiting:
        place = waiting[rng.integers(len(waiting))]
        lines[place] = re.sub(r"waits=\[[^\]]*\]", "waits=[]", lines[place])


MUTATIONS: tuple[Mutation, ...] = (_number, _number, _number, _word, _field, _list, _line, _waits)


def _any_line(rng: np.random.Generator, lines: list[str]) -> int:
    """A line of any kind: kinds are as likely, though buffers are many."""
    kinds = sorted({line.split(" ")[0] for line in lines})
    kind = kinds[rng.integers(len(kinds))]
    alike = [n for n, line in enumerate(lines) if line.split(" ")[0] == kind]
    return alike[rng.integers(len(alike))]


def _compiled(network: str, options: str) -> Bundle:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.net"
        path.write_text(network)
        asked = parser().parse_args(["compile", str(path), *options.split()])
        return build(request(asked), asked).bundle


def _results(bundle: Bundle) -> dict[str, Any]:
    """What two steps and an evaluation leave."""
    facts, rng = bundle.facts, np.random.default_rng(1)
    session = Session(bundle, open_backend(BackendChoice("cpu", "as asked"), bundle))
    session.initialize(facts.seed)
    images = rng.standard_normal((session.batch, *facts.image)).astype(session.dtype)
    labels = rng.integers(0, min(facts.classes, 5), session.batch)
    found: dict[str, Any] = {}
    for step in range(2):
        rate = learning_rate(facts.schedule, facts.lr, step, 1, 2)
        moved = augment(images, np.arange(len(images)), facts.seed, 0, facts.augment)
        out = session.step(moved, labels, step=step, seed=facts.seed, learning_rate=rate)
        found |= {f"{name} at {step}": value for name, value in out.items()}
    found |= session.state()
    found["evaluated"] = np.asarray(session.evaluate(images, labels, session.batch - 1))
    found["scores"] = session.scores()
    session.close()
    return found


# Made before any case is: the first run on a machine compiles kernels, which takes its time.
RIGHT = [
    (bundle_text(bundle), _results(bundle))
    for network in NETWORKS
    for options in OPTIONS
    for bundle in [_compiled(network, options)]
]
"""Programs, and what they give."""
