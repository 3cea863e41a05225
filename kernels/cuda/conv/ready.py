"""Plans of cuDNN's made ready to run: chosen among those that it offers, or as they were kept.

To choose a plan and make it ready takes cuDNN a quarter of a second on an H200, one at a time,
since its front end holds Python's lock; to read one back, which it writes as bytes, takes 7 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.conv import vendor
from netc_kernels.cuda.conv.vendor import Product, UnsupportedError
from netc_kernels.cuda.source import stream_of
from netc_kernels.cuda.tensor import Tensor
from netc_kernels.files import digest, read_checked, write_checked

_REPEATS = 5
TIMED = 5
"""Plans that are timed of those offered, which come in the order of what cuDNN expects of them,
beside those that are likely.
"""


class WantedPlan(NamedTuple):
    """A product that a plan is wanted for, and how that is chosen."""

    product: Product
    blocks: tuple[Tensor, ...]
    """In the order of their numbers in the graph; without memory."""
    known: str = ""
    """The plan that is taken if cuDNN offers it and can run it."""
    near: tuple[str, ...] = ()
    """Else the first of these, which were the fastest of products like this one, and then of what
    cuDNN expects most of."""

    def named(self, name: str) -> WantedPlan:
        """The same where the plan is known."""
        return self._replace(known=name, near=())


class Place(NamedTuple):
    """Where plans are kept: a file each, named by all that it is made from."""

    folder: Path
    machine: str
    """The GPU and the versions that plans hold for."""

    def takes_files(self) -> bool:
        """Tell whether a new plan can be kept."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            return os.access(self.folder, os.W_OK)
        return False

    def holds(self, wanted: WantedPlan) -> bool:
        """Tell whether there is a file for a plan, right or not."""
        return self._file(self._key(wanted)).exists()

    def read(self, wanted: WantedPlan) -> tuple[str, bytes] | None:
        """A plan's name and the plan; None where it is not kept, or not as it was."""
        key = self._key(wanted)
        content = read_checked(self._file(key), key)
        if content is None:
            return None
        name, _, text = content.partition(b"\0")
        return name.decode(), text

    def keep(self, wanted: WantedPlan, name: str, text: bytes) -> None:
        """Write a plan, if that can be."""
        key = self._key(wanted)
        with suppress(OSError):
            write_checked(self._file(key), key, name.encode() + b"\0" + text)

    def _key(self, wanted: WantedPlan) -> str:
        return f"{self.machine}\n{wanted!r}"

    def _file(self, key: str) -> Path:
        return self.folder / f"{digest(key)}.plan"


class ReadyPlan:
    """A plan that is ready to run."""

    def __init__(self, handle: Any, graph: Any, name: str, index: int | None = None) -> None:
        """The one at an index of those that a graph offers; None for the only one that it has."""
        self.handle, self.graph, self.name, self.index = handle, graph, name, index

    def run(self, pack: Mapping[int, int], work: int, stream: int) -> None:
        """Start it on a stream; `pack` has the addresses of blocks by their numbers."""
        vendor.library().set_stream(self.handle, stream)
        # Private namesakes, which skip a look at types, are not in every version.
        if self.index is None:
            self.graph.execute(pack, work, self.handle)
        else:
            self.graph.execute_plan_at_index(pack, work, self.index, self.handle)

    def text(self) -> bytes:
        """The plan as bytes, for `Vendor` to read back; it must be the last that was made ready."""
        return bytes(self.graph.serialize())


class Offer:
    """A product as a graph of cuDNN's, with its plans, the most promising first."""

    def __init__(self, handle: Any, product: Product, blocks: Sequence[Tensor]) -> None:
        """Of the blocks the types count; they are in the order of `vendor.blocks_of`.

        Raises UnsupportedError where there is no plan.
        """
        cudnn = vendor.library()
        self.handle, self.graph = handle, vendor.described(product, handle, blocks)
        self.product, graph = product, self.graph
        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.deselect_numeric_notes(_unwanted(cudnn, product.precision))
            graph.deselect_workspace_greater_than(vendor.WORKSPACE_BYTES)
            graph.check_support()
        except (cudnn.cudnnGraphNotSupportedError, RuntimeError, ValueError) as error:
            raise UnsupportedError(f"cuDNN has no plan for {product}: {error}") from error
        count = graph.get_execution_plan_count()
        self.names = [graph.get_plan_name_at_index(i) for i in range(count)]

    def plan(self, index: int) -> ReadyPlan | None:
        """A plan made ready; None where it cannot run here."""
        try:
            self.graph.build_plan_at_index(index)
        except Exception:
            # The front end raises several types for a plan that this device or its notes rule out.
            return None
        return ReadyPlan(self.handle, self.graph, self.names[index], index)

    def chosen(self, wanted: WantedPlan) -> ReadyPlan:
        """The plan that is wanted. Raises UnsupportedError where none can run."""
        return self._some(next(self._able(wanted), None))

    def fastest(
        self, wanted: WantedPlan, pack: Mapping[int, int], work: int, stream: int
    ) -> ReadyPlan:  # fmt: skip
        """The fastest of those that are likely and of the first ones, timed on a stream. Raises
        UnsupportedError where none can run.
        """
        some = islice(self._able(wanted), TIMED + len(self._likely(wanted)))
        tried = [(_time(plan, pack, work, stream), plan) for plan in some]
        known = [(seconds, plan) for seconds, plan in tried if seconds is not None]
        best = self._some(min(known, key=lambda each: each[0])[1] if known else None)
        assert best.index is not None, "it was offered"
        # What is kept is what was made ready last.
        return self._some(self.plan(best.index))

    def _likely(self, wanted: WantedPlan) -> list[int]:
        names = dict.fromkeys((wanted.known, *wanted.near))
        return [self.names.index(each) for each in names if each in self.names]

    def _able(self, wanted: WantedPlan) -> Iterator[ReadyPlan]:
        """Plans that can run, the likely ones first."""
        likely = self._likely(wanted)
        others = (i for i in range(len(self.names)) if i not in likely)
        for index in (*likely, *others):
            if plan := self.plan(index):
                yield plan

    def _some(self, plan: ReadyPlan | None) -> ReadyPlan:
        if plan is None:
            raise UnsupportedError(f"cuDNN has no plan for {self.product}")
        return plan


class Vendor:
    """cuDNN on the current device, with the plans that are ready there."""

    def __init__(self, place: Place | None = None) -> None:
        """Plans are read from a place, and kept there."""
        self.handle, self.place = vendor.library().create_handle(), place
        self.offers: dict[object, Offer | str] = {}
        """By product and types; where there is none, why."""
        self.plans: dict[WantedPlan, ReadyPlan] = {}

    def plan(self, wanted: WantedPlan) -> ReadyPlan:
        """The plan that is wanted. Equal ones are made ready once, wherever their memory is.

        Raises UnsupportedError where cuDNN has none.
        """
        if wanted not in self.plans:
            plan = self._kept(wanted)
            if plan is None:
                plan = self._keep(wanted, self.offer(wanted).chosen(wanted))
            self.plans[wanted] = self.plans[wanted.named(plan.name)] = plan
        return self.plans[wanted]

    def timed(
        self, wanted: WantedPlan, pack: Mapping[int, int], work: int, stream: int
    ) -> ReadyPlan:
        """The fastest plan by the clock; it is kept as the known one.

        Raises UnsupportedError where cuDNN has none.
        """
        plan = self.offer(wanted).fastest(wanted, pack, work, stream)
        named = wanted.named(plan.name)
        self.plans[named] = self._keep(named, plan)
        return plan

    def offer(self, wanted: WantedPlan) -> Offer:
        """What cuDNN offers for a product. Raises UnsupportedError where that is nothing."""
        key = wanted.product, wanted.blocks
        if key not in self.offers:
            try:
                self.offers[key] = Offer(self.handle, *key)
            except UnsupportedError as error:
                self.offers[key] = str(error)
        found = self.offers[key]
        if isinstance(found, str):
            raise UnsupportedError(found)
        return found

    def _kept(self, wanted: WantedPlan) -> ReadyPlan | None:
        kept = self.place.read(wanted) if self.place else None
        if kept is None:
            return None
        name, text = kept
        graph = vendor.library().pygraph(handle=self.handle)
        try:
            graph.deserialize([*text])
        except Exception:
            # The front end raises several types where cuDNN does not take it: it is made anew.
            return None
        return ReadyPlan(self.handle, graph, name)

    def _keep(self, wanted: WantedPlan, plan: ReadyPlan) -> ReadyPlan:
        if self.place:
            # Not every engine's plans can be written.
            with suppress(Exception):
                self.place.keep(wanted, plan.name, plan.text())
        return plan


def _time(plan: ReadyPlan, pack: Mapping[int, int], work: int, stream: int) -> float | None:
    """Seconds of a plan, the shortest of some runs; None where it fails."""
    run = partial(plan.run, pack, work, stream)
    try:
        run()
    except Exception:
        # A plan that cuDNN cannot run after all is one plan less.
        return None
    return min(elapsed(run, stream_of(stream), _REPEATS))


def _unwanted(cudnn: Any, precision: str) -> list[Any]:
    note = cudnn.numerical_note
    exact = [note.NONDETERMINISTIC, note.REDUCED_PRECISION_REDUCTION]
    return [*exact, note.TENSOR_CORE, note.DOWN_CONVERT_INPUTS] if precision == "fp32" else exact
