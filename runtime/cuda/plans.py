"""Which of the vendor's plans are fastest: as measured here, and as shipped for common GPUs.

A plan is cuDNN's name of an engine with its settings. What is known of a product is taken as it is.
Of another one cuDNN's own order chooses, after what is known of products like it (another batch, a
few more channels); it is timed where that is asked for.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from functools import cached_property
from math import inf, log
from pathlib import Path
from typing import Any

import netc_kernels.cuda.plans as shipped_plans
from netc.stages import staged
from netc_kernels.cuda.conv import vendor
from netc_kernels.cuda.conv.ready import Place
from netc_kernels.cuda.conv.vendor import Product
from netc_kernels.cuda.source import digest
from netc_runtime.io.tables import NO_TABLE, keep, kept, table_path

VERSION = 1
RACE = "fastest "
"""What the key of a race begins with: is the vendor's kernel or the hand-written one faster?"""
LIKELY = 2
"""Products like one that are asked which plans they take."""
_SHAPES = frozenset({"out", "operands"})
"""What products that are like each other may differ in."""


@staged("import")
def vendor_missing() -> str:
    """Why the vendor's library cannot be used here; empty where it can."""
    return vendor.missing()


def chosen_by(plans: Plans, product: Product, variant: str) -> str:
    """By what a machine chooses for a product: what was measured on it, or shipped of machines like
    it, or a heuristic.
    """
    race, plan = race_key(product), repr(product)
    keys = [race] if variant == "fastest" else []
    if variant != "fastest" or plans.before.get(race) != "native":
        # Where the library cannot join a relu's slope, what it does alone is chosen.
        plain = repr(replace(product, relu_dx=False))
        keys.append(plain if plan not in plans.before and plain in plans.before else plan)
    if all(key in plans.own for key in keys):
        return "measured"
    return "shipped" if all(key in plans.before for key in keys) else "heuristic"


def race_key(product: Product) -> str:
    """Under what name it is kept which kernel is faster."""
    return f"{RACE}{product.joined} {product}" if product.joined else f"{RACE}{product}"


class Plans(dict[str, str]):
    """The vendor's plans by what they compute, and by `race_key` which kernel is faster: what is
    known, and what was chosen here.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        super().__init__(known or {})
        self.before = dict(self)
        """What is known from measurements."""
        self.own = dict(self)
        """Of that, what was measured on this machine."""
        self.place: Place | None = None
        """Where plans that are ready to run are kept, if they are."""

    def near(self, product: Product) -> list[str]:
        """The plans of the products most like one that differ from it in sizes alone."""
        return self._nearest(product, "")

    def likely_faster(self, product: Product) -> str:
        """Which kernel is: the one that is for the product most like it, else the vendor's, or the
        hand-written one where that does more at once.
        """
        likely = "native" if product.joined else "vendor"
        return next(iter(self._nearest(product, RACE)), likely)

    def _nearest(self, product: Product, prefix: str) -> list[str]:
        found = self._by_kind.get((prefix, _kind(product)), {})
        sizes = _sizes(product)
        apart = sorted((_distance(sizes, each), name) for each, name in found.items())
        return [name for distance, name in apart[:LIKELY] if distance < inf]

    @cached_property
    def _by_kind(self) -> dict[object, dict[tuple[int, ...], str]]:
        found: dict[object, dict[tuple[int, ...], str]] = {}
        for key, name in self.before.items():
            prefix = RACE if key.startswith(RACE) else ""
            with suppress(*NO_TABLE, SyntaxError):
                product = product_of(key.removeprefix(prefix))
                found.setdefault((prefix, _kind(product)), {})[_sizes(product)] = name
        return found


def product_of(text: str) -> Product:
    """The product that prints so, after the launch that it is a part of, if any. Raises ValueError
    or SyntaxError for what is none.
    """
    joined, _, rest = text.rpartition(" Product(")
    call = ast.parse(f"Product({rest}" if joined else text, mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(text)
    told = {each.arg or "": ast.literal_eval(each.value) for each in call.keywords}
    return Product(**told, joined=joined)


def _kind(product: Product) -> tuple[object, ...]:
    """All of a product but its sizes; of filters those that are windows count, too."""
    told = (getattr(product, each.name) for each in fields(product) if each.name not in _SHAPES)
    return *told, *(shape[2:] for shape in _filters(product))


def _filters(product: Product) -> Iterator[tuple[int, ...]]:
    match product.op:
        case "conv" | "conv_dx":
            yield product.operands[1]
        case "conv_dw":
            yield product.out


def _sizes(product: Product) -> tuple[int, ...]:
    return tuple(size for shape in (product.out, *product.operands) for size in shape)


def _distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    if len(one) != len(other) or 0 in (*one, *other):
        return inf
    return sum(abs(log(a / b)) for a, b in zip(one, other, strict=True))


class KeptPlans(Plans):
    """The vendor's plans by what they compute, kept in a file for this GPU and library; what is not
    there may be among those that are shipped.
    """

    def __init__(self) -> None:
        import cupy

        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        gpu = found["name"].decode()
        library = "" if vendor_missing() else vendor.version()
        self.machine = f"{gpu}, cuDNN {library or 'none'}, kernels {digest()}"
        self.path = table_path().with_name("plans.json")
        entries = kept(self.path, self.machine).items()
        own = {of: name for of, name in entries if isinstance(name, str)}
        super().__init__(shipped(gpu, library) | own)
        self.own = own
        if library:
            front = f"front end {vendor.front_version()}"
            self.place = Place(self.path.with_name("plans"), f"{self.machine}, {front}")

    def keep(self, measured: Mapping[str, str]) -> None:
        """Add what was measured to the file. Raises OSError where that cannot be written."""
        keep(self.path, self.machine, measured)


def shipped(gpu: str, library: str) -> dict[str, str]:
    """What is shipped for a GPU of that name and the version of a library, such as 91900: plans
    have the same names in all versions of one major number. Whether one is offered is seen where it
    is used.
    """
    found: dict[str, str] = {}
    for path in sorted(Path(shipped_plans.__file__).parent.glob("*.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["gpu"] == gpu and library[:1] == table["cudnn"][:1]:
            found |= table["plans"]
    return found


def shipped_text(gpu: str, library: str, plans: Mapping[str, Any]) -> str:
    """The file that ships plans, a line each."""
    table = {"netc_plans": VERSION, "gpu": gpu, "cudnn": library, "plans": dict(plans)}
    return json.dumps(table, indent=0, sort_keys=True) + "\n"
