"""The page and the pictures of scaling.py, from rows alone: what has none is "not run"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from papers import GPUS, NODES, RATES, SPEEDUPS, table
from scaling_rows import IMAGES, JAX, NETC, NETWORKS, STRONG, TORCH, WEAK, Book, Row

from netc.export.scene import Scene
from netc.export.speedups import SpeedupLine, draw_speedups, write_speedups

COUNTS = (1, 2, 4, 8)
NOT_RUN = "not run"
AIM, AIM_OFF = 7.7, 0.1
"""Times one GPU on eight, at 128 images a GPU; how far a prediction may be off."""
PUBLISHED = {"alexnet_owt": "alexnet", "vgg16": "vgg16", "inception_v3": "inception_v3"}
"""The networks of Jia et al. 2018; their AlexNet has more weights (docs/papers.md)."""
OPTCNN = ("data", "hybrid", "layer-wise", "model")


class Rows:
    """Rows, found by what they are of."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    def of(self, **wanted: object) -> list[Row]:
        """Those that are of all that is said."""
        return [r for r in self.rows if all(r.get(name) == each for name, each in wanted.items())]

    def best(self, **wanted: object) -> Row | None:
        """Of those that fit and did run, the one with most images a second."""
        ran = (r for r in self.of(**wanted) if "images_per_second" in r and r.get("fits", True))
        return max(ran, key=lambda row: float(row["images_per_second"]), default=None)

    def values(self, name: str) -> list[str]:
        """What there is of something, in the order in which it came."""
        return list(dict.fromkeys(str(row[name]) for row in self.rows))


def write(book: Book) -> None:
    """The page beside the JSON file, and a picture for each network and number of images."""
    folder, stem = book.path.parent, book.path.stem
    known, ran = Rows(book.predicted), Rows(book.measured)
    pictures = []
    for network in NETWORKS:
        for images in IMAGES:
            about = {"network": network, "images": images, "scaling": WEAK}
            if known.of(**about) or ran.of(**about):
                lines = list(curves(known, ran, network, images))
                name = f"{stem}-{network}-{images}.svg"
                write_speedups(folder / name, drawn(network, images, lines))
                pictures.append(f"![{network}, {images} images a GPU]({name})")
    parts = (
        head(),
        goals(known, ran),
        one_gpu(ran),
        measured(ran),
        checks(book.checks),
        speedups(known, ran),
    )
    text = [line for part in parts for line in part]
    text += ["", "## Pictures", "", "Weak scaling; lines end where rows do.", ""]
    path = book.path.with_suffix(".md")
    path.write_text("\n".join([*text, *(line for each in pictures for line in (each, ""))]))


def head() -> Iterator[str]:
    yield f"""\
# One to eight GPUs

Written by `benchmarks/scaling.py` from `scaling.json`, which has every row with its bursts.
Measured rows: netc's plans and PyTorch's DistributedDataParallel (channels last; `autocast` is bf16
with float32 weights) are in memory together with one GPU's and take turns; medians of bursts of
steps on synthetic images, the spread is the distance of the extremes; times one are over the best
of one GPU, netc's or PyTorch's, in the same round. Predicted rows are those of `netc compare`, over
one GPU predicted alike; no such machine is needed. Where a row is missing it says "{NOT_RUN}".
"""


def goals(known: Rows, ran: Rows) -> Iterator[str]:
    """The best plans on eight GPUs, beside the aims."""
    yield f"""\
## Eight GPUs beside the aims

Weak scaling. The aims: AlexNet and VGG-16 at 128 images a GPU at least {AIM} times as fast as one;
every row above PyTorch's; predictions within {100 * AIM_OFF:.0f} %. A predicted step is longer than
one GPU's by its waits for exchanges (in which the least busy device does not compute) and by what
exchanges take from computing meanwhile, and shorter by what is spared where dense layers and
updates are split. Of `h100` launches are priced by formulas, whose steps of one GPU are up to 17 %
off, and exchanges are taken to cost computing nothing: there more than eight is no promise. On two
H200 `hybrid` at 128 images took up to 7 % longer than predicted ([truth.md](truth.md)); as much on
eight, and nothing on one, would be 7.3 (AlexNet) and 7.5 (VGG-16) times one.
"""
    rows = []
    for machine in known.values("machine"):
        for images in IMAGES:
            for network in NETWORKS:
                about = {"machine": machine, "network": network, "images": images,
                         "scaling": WEAK, "devices": COUNTS[-1]}  # fmt: skip
                rows.append((machine, network, str(images), *goal(known, ran, about)))
    header = ("machine", "network", "images a GPU", "best plan", "one GPU's step", "step", "waits",
              "sent", "times one, predicted", "measured", "off", "PyTorch",
              "over PyTorch")  # fmt: skip
    yield from table(header, rows)
    yield ""


def goal(known: Rows, ran: Rows, about: Row) -> tuple[str, ...]:
    """The cells of one network on eight GPUs."""
    best = known.best(program=NETC, **about)
    own, other = (ran.best(program=each, **about) for each in (NETC, TORCH))
    if best is None:
        return (NOT_RUN,) * 10
    alone = known.best(**{**about, "devices": 1})
    step = "-" if alone is None else f"{1e3 * alone['seconds']:.4g} ms"
    off = next((f"{r['off']:+.1%}" for r in ran.of(plan=best["plan"], **about) if "off" in r), "-")
    over = "-"
    if own and other:
        over = f"{own['images_per_second'] / other['images_per_second']:.2f}"
    return (f"`{best['plan']}`", step, f"{1e3 * best['seconds']:.4g} ms",
            f"{1e6 * best['not_computing']:.0f} us", f"{best['sent_bytes'] / 1e6:.3g} MB",
            f"{best['speedup']:.2f}", times(own), off, times(other), over)  # fmt: skip


MODES = ("autocast", "graph", "compile")
"""Of PyTorch."""
ONE = ("machine", "precision", "network", "images")
"""What is the same in a round on one GPU."""


def one_gpu(ran: Rows) -> Iterator[str]:
    """netc's step on one GPU beside what peers take for it."""
    yield """\
## One GPU beside its peers

Images a second of programs that take turns, in brackets times netc's in the same round. PyTorch:
`autocast` (bf16 with float32 weights), the same recorded as a CUDA `graph`, and compiled with
weights of bf16; JAX: one jitted step with weights of bf16. netc's weights are float32.
"""
    rows = []
    here = Rows(row for row in ran.rows if row["devices"] == 1)
    for about in dict.fromkeys(tuple(row[key] for key in ONE) for row in here.rows):
        of = dict(zip(ONE, about, strict=True))
        own = here.best(program=NETC, **of)
        peers = [here.best(program=TORCH, plan=mode, **of) for mode in MODES]
        peers.append(here.best(program=JAX, **of))
        best = max((row["speedup"] for row in peers if row), default=None)
        alone = "-" if own is None else f"{own['images_per_second']:,.0f}"
        over = "-" if best is None else f"{1 / best:.2f}"
        rows.append((*map(str, about), alone, *map(rate, peers), over))
    header = (*ONE, "netc", *(f"PyTorch {mode}" for mode in MODES), JAX, "netc over the best")
    yield from table(header, rows)
    yield ""


def rate(row: Row | None) -> str:
    """Images a second, and times one GPU's in the same round."""
    return "-" if row is None else f"{row['images_per_second']:,.0f} ({row['speedup']:.2f})"


def times(row: Row | None) -> str:
    """How many times as fast as one GPU."""
    return NOT_RUN if row is None or row.get("speedup") is None else f"{row['speedup']:.2f}"


def measured(ran: Rows) -> Iterator[str]:
    """Every measured row, and those that failed."""
    yield "## Measured\n"
    if not ran.rows:
        yield "Not run: no row has been measured by this command.\n"
        return
    rows = []
    for row in ran.rows:
        name = (row["machine"], row["precision"], row["network"], str(row["images"]),
                row["scaling"], str(row["devices"]), f"{row['program']} {row['plan']}")  # fmt: skip
        if "failed" in row:
            rows.append((*name, f"{NOT_RUN}: {row['failed']}", *[""] * 5))
            continue
        guess = f"{1e3 * row['predicted']:.4g} ms" if "predicted" in row else "-"
        off = f"{row['off']:+.1%}" if "off" in row else "-"
        rows.append((*name, f"{row['images_per_second']:,.0f}", f"{row['spread']:.1%}",
                     f"{row['step_ms']:.4g} ms", times(row), guess, off))  # fmt: skip
    header = ("machine", "precision", "network", "images", "scaling", "GPUs", "plan", "images/s",
              "spread", "step", "times one", "predicted", "off")  # fmt: skip
    yield from table(header, rows)
    yield ""


def checks(found: Sequence[Row]) -> Iterator[str]:
    """How far losses are from one device's, the farthest plan of each round."""
    yield """\
## Losses beside one device's

Of the first two steps from the same weights, images and labels; the largest difference over the
loss, of the plan that is farthest off. The second loss is behind an update, by which it moves as
the last column says; a wrong gradient shows there. On the CPU it is float64: in float32 rounding
alone grows to 5e-2 in four steps of ResNet-50 on 64 x 64 pixels.
"""
    if not found:
        yield "Not run.\n"
        return
    keys = ("backend", "precision", "network", "side", "scaling", "devices", "batch", "tolerance")
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in found:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    rows = []
    for (
        backend,
        precision,
        network,
        side,
        scaling,
        devices,
        batch,
        tolerance,
    ), own in groups.items():
        ran = [row for row in own if "apart" in row]
        far = max(ran, key=lambda row: float(row["apart"]), default=None)
        said = "; ".join(f"`{row['plan']}` {row['failed']}" for row in own if "failed" in row)
        shown = said or "-" if far is None else f"{far['apart']:.1e} (`{far['plan']}`)"
        moved = "-" if far is None else " ".join(f"{each:.3f}" for each in far["losses"])
        rows.append((f"{backend} {precision}", f"{network}", f"{side or 'its own'}", str(scaling),
                     str(devices), str(batch), ", ".join(f"`{row['plan']}`" for row in ran),
                     shown, f"{tolerance:g}", moved))  # fmt: skip
    header = ("backend", "network", "pixels", "scaling", "devices", "batch", "plans", "farthest",
              "allowed", "losses of one")  # fmt: skip
    yield from table(header, rows)
    yield ""


def speedups(known: Rows, ran: Rows) -> Iterator[str]:
    """Predicted and measured, by numbers of devices, beside what papers published."""
    yield """\
## Times as fast as one GPU

A cell is predicted / measured. Of papers it is what they published, on their machines: K20 for
Krizhevsky 2014 (Table 1, 128 images a GPU, scheme b), P100 for Jia et al. 2018 (Fig. 7, 32 images a
GPU, read off to about 1 %).
"""
    for machine in known.values("machine"):
        for scaling in (WEAK, STRONG):
            rows = []
            for network in NETWORKS:
                for images in IMAGES:
                    about = {"machine": machine, "network": network, "images": images,
                             "scaling": scaling}  # fmt: skip
                    rows += list(by_devices(known, ran, about))
            if rows:
                what = "images a GPU" if scaling == WEAK else "images a step"
                yield f"### {machine}, {scaling} scaling\n"
                header = ("network", what, "plan", *(f"{n} GPUs" for n in COUNTS[1:]))
                yield from table(header, rows)
                yield ""


def by_devices(known: Rows, ran: Rows, about: Row) -> Iterator[tuple[str, ...]]:
    """A row of cells for each plan, and for each curve of a paper."""
    name = (str(about["network"]), str(about["images"]))
    here = Rows(known.of(**about))
    if not here.rows:
        return
    several = Rows(row for row in here.rows if row["devices"] > 1)
    for plan in several.values("plan"):
        cells = []
        for devices in COUNTS[1:]:
            guess = here.best(plan=plan, devices=devices)
            own = ran.best(program=NETC, plan=plan, devices=devices, **about)
            cells.append(f"{times(guess)} / {times(own)}")
        yield (*name, f"`{plan}`", *cells)
    others = (ran.best(program=TORCH, devices=n, **about) for n in COUNTS[1:])
    yield (*name, "PyTorch", *(f"- / {times(row)}" for row in others))
    if about["scaling"] == WEAK:
        for words, points in published(str(about["network"]), int(about["images"])):
            speeds = dict(points)
            yield (*name, words, *(f"{speeds[n]:.2f}" for n in COUNTS[1:]))


def published(network: str, images: int) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Curves of papers for a network and images a GPU, up to eight GPUs."""
    if network == "alexnet_owt" and images == 128:
        once = SPEEDUPS["hybrid", "b", "step"]
        yield "Krizhevsky 2014, hybrid b", [(1, 1.0), *zip(GPUS, once, strict=True)]
    if network in PUBLISHED and images == 32:
        for strategy in OPTCNN:
            rates = RATES[PUBLISHED[network]][strategy]
            points = [(n, rate / rates[0]) for n, rate in zip((1, *NODES), rates, strict=True)]
            yield f"Jia 2018, {strategy}", [point for point in points if point[0] <= COUNTS[-1]]


def curves(known: Rows, ran: Rows, network: str, images: int) -> Iterator[SpeedupLine]:
    """The lines of a picture: at most seven, which have colours of their own."""
    about = {"network": network, "images": images, "scaling": WEAK}
    machine = next(iter(known.values("machine")), "")
    yield line("measured, best plan", (ran.best(program=NETC, devices=n, **about) for n in COUNTS))
    # One way of PyTorch's: which it is on the most devices.
    peers = [row for n in COUNTS if (row := ran.best(program=TORCH, devices=n, **about))]
    for mode in (row["plan"] for row in peers[-1:]):
        found = (ran.best(program=TORCH, plan=mode, devices=n, **about) for n in COUNTS)
        yield line(f"measured, PyTorch {mode}", found)
    for plan in ("hybrid a", "data"):
        one = known.best(machine=machine, devices=1, **about)
        rows = [known.best(machine=machine, plan=plan, devices=n, **about) for n in COUNTS[1:]]
        yield line(f"predicted, {plan}, {machine}", (one, *rows))
    for words, points in published(network, images):
        if not words.endswith("model"):
            yield SpeedupLine(words, tuple(points))


def line(words: str, rows: Iterable[Row | None]) -> SpeedupLine:
    """A line of the rows that are there."""
    there = (row for row in rows if row is not None and row.get("speedup") is not None)
    return SpeedupLine(words, tuple((int(r["devices"]), float(r["speedup"])) for r in there))


def drawn(network: str, images: int, lines: Sequence[SpeedupLine]) -> Scene:
    """One picture."""
    tiles = [(f"{images} images a GPU", "a step"), ("weak", "scaling")]
    return draw_speedups(f"{network}: times as fast as one GPU", tiles,
                         [each for each in lines if len(each.points) > 1])  # fmt: skip
