"""Which layers to compute again for the backward pass, so that a plan fits its memory.

A launch of the forward pass whose result the backward pass reads is a choice: kept, or computed
again. A trace of the plan's program (`netc.planner.memory_trace`) says what each choice frees, and
when, without compiling it anew. Programs then say what was reached: some are compiled, with the
room corrected by what the trace was off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from netc.errors import Diagnostic, PlanError
from netc.ir.clock import simulate
from netc.numbers import memory_text
from netc.passes.options import Options
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import peak_bytes
from netc.planner.memory_trace import MemoryTrace
from netc.syntax import Network

NONE, ALL, AUTO = "none", "all", "auto"
"""In place of layers: none of them, those that make a step need least memory, and those that make
it fit at the least cost."""
WORDS = frozenset((NONE, ALL, AUTO))
ATTEMPTS = 6
"""Programs made at most, besides the one that keeps everything and the leanest."""
SEGMENTS = 64
"""Of a network, at most."""
STARTS = 3
"""Of these choices one is made leaner."""
TRIES = 8
"""Groups tried at most, before it is found that none helps."""
NEAR = 0.02
"""Room left that is not worth another attempt."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A choice of layers, carried out."""

    layers: tuple[str, ...]
    peak_bytes: int
    """Of the device that needs most."""
    seconds: float
    """Of a step, by the clock."""


def resolved(network: Network, options: Options, must_fit: bool = True) -> Options:
    """The options with layers in place of a word; where 'auto' finds none with which the plan fits,
    raises PlanError (E052), or takes those that need least memory if it need not fit.
    """
    if WORDS.isdisjoint(options.recompute):
        return options
    if options.recompute == (NONE,):
        return replace(options, recompute=())
    kept, found = _Chooser(network, options).found()
    must_fit &= options.recompute == (AUTO,)
    if must_fit and found.peak_bytes > options.cluster.memory_bytes:
        raise _too_large(kept, found, options)
    return replace(options, recompute=found.layers)


def fits(network: Network, options: Options) -> bool:
    """Whether the plan of `options` fits the memory of a device, with what they have computed
    again.
    """
    chooser = _Chooser(network, options)
    made = chooser.kept if WORDS.isdisjoint(options.recompute) else chooser.found()[1]
    return made.peak_bytes <= options.cluster.memory_bytes


def fitting(network: Network, options: Options) -> Recomputed:
    """The cheapest choice found with which the plan of `options` fits, or the leanest of all."""
    return _Chooser(network, options).fitting()


def _too_large(kept: Recomputed, least: Recomputed, options: Options) -> PlanError:
    sizes = (kept.peak_bytes, least.peak_bytes, options.cluster.memory_bytes)
    before, after, have = map(memory_text, sizes)
    message = (
        f"the plan does not fit, whatever is computed again: it needs {before} a device, and "
        f"{after} at least, of {have}."
    )
    hint = "take a smaller batch, or more devices."
    return PlanError(Diagnostic("E052", message, help=hint))


class _Chooser:
    """Finds layers for one plan."""

    def __init__(self, network: Network, options: Options) -> None:
        self.network = network
        self.options = replace(options, afford=lambda cost: None)
        given = () if not WORDS.isdisjoint(options.recompute) else options.recompute
        self.base = self._compiled(given)
        self.kept = self._made(given, self.base)

    @cached_property
    def trace(self) -> MemoryTrace:
        """Of the plan that keeps everything."""
        return MemoryTrace(self.base)

    def found(self) -> tuple[Recomputed, Recomputed]:
        """The plan that keeps everything, and the one that the options' word asks for."""
        found = {NONE: lambda: self.kept, ALL: self.leanest, AUTO: self.fitting}
        return self.kept, found[self.options.recompute[0]]()

    def fitting(self) -> Recomputed:
        """See `fitting`."""
        room = self.options.cluster.memory_bytes
        if self.kept.peak_bytes <= room:
            return self.kept
        off = float(self.kept.peak_bytes - self.trace.walk(frozenset()).peak)
        best: Recomputed | None = None
        tried: set[frozenset[int]] = set()
        for _ in range(ATTEMPTS):
            chosen = choose(self.trace, room - off)
            if chosen in tried:
                break
            tried.add(chosen)
            made = self._choice(chosen)
            if made.peak_bytes <= room:
                best = made if best is None or made.seconds < best.seconds else best
                if made.peak_bytes >= (1 - NEAR) * room:
                    break
            off = made.peak_bytes - self.trace.walk(chosen).peak
        return self.leanest() if best is None else best

    def leanest(self) -> Recomputed:
        """The choice of least memory that was found; nothing where none has less."""
        made = self._choice(choose(self.trace, 0.0))
        return made if made.peak_bytes < self.kept.peak_bytes else self.kept

    def _choice(self, chosen: frozenset[int]) -> Recomputed:
        layers = tuple(x for n in sorted(chosen) for x in self.trace.groups[n].layers)
        return self._made(layers, self._compiled(layers))

    def _compiled(self, layers: tuple[str, ...]) -> Compiled:
        options = replace(self.options, recompute=layers)
        return lower_network(self.network, options, verified=False)

    def _made(self, layers: tuple[str, ...], compiled: Compiled) -> Recomputed:
        program = compiled.program
        peak = peak_bytes(program, self.options.target.alignment_bytes)
        return Recomputed(layers, peak, simulate(program).seconds)


def choose(trace: MemoryTrace, room: float) -> frozenset[int]:
    """Groups of layers to compute again so that a trace needs no more than `room` bytes, at the
    least cost that was found; where none needs as little, those that need least.

    Two ways lead there: to give up what is cheap, and to give up whole segments of the network but
    what is between them. What either gave up needlessly is then kept after all.
    """

    def peak(chosen: frozenset[int]) -> int:
        return trace.walk(chosen).peak

    cheap = _leaner(trace, frozenset(), room)
    starts = sorted((cheap, *segments(trace)), key=peak)[:STARTS]
    ways = dict.fromkeys((cheap, *(_leaner(trace, start, room) for start in starts)))
    limit = max(room, min(map(peak, ways)))
    able = (chosen for chosen in ways if peak(chosen) <= limit)
    return min((_cheaper(trace, chosen, limit) for chosen in able), key=trace.seconds)


def _leaner(trace: MemoryTrace, chosen: frozenset[int], room: float) -> frozenset[int]:
    """A choice changed by one group after another, until it fits or nothing helps: from where
    memory is fullest, what frees most bytes for a second of work is given up first.
    """
    while trace.walk(chosen).peak > room:
        better = next(_better(trace, chosen), None)
        if better is None:
            break
        chosen = better
    return chosen


def _better(trace: MemoryTrace, chosen: frozenset[int]) -> Iterator[frozenset[int]]:
    """Choices of one group more, or else less, that need less memory where it is fullest."""
    now, free = trace.walk(chosen), trace.choices()
    more = (number for number in now.full if number in free - chosen)
    for number in sorted(more, key=lambda each: (-trace.groups[each].gain, each))[:TRIES]:
        after = trace.walk(chosen | {number})
        if after.peak < now.peak or (after.peak == now.peak and number not in after.full):
            yield chosen | {number}
    for number in sorted(chosen.intersection(now.again)):
        if trace.walk(chosen - {number}).peak < now.peak:
            yield chosen - {number}


def segments(trace: MemoryTrace) -> list[frozenset[int]]:
    """Choices that keep only what is between segments of the network, which hold about equally
    many bytes: one segment, two, and so on (Chen et al. 2016, algorithm 3).
    """
    order, free = trace.order(), trace.choices()
    whole = sum(group.nbytes for group in trace.groups)
    found = []
    for number in range(1, min(len(order), SEGMENTS) + 1):
        held, chosen = 0, set()
        for group, narrow in order:
            held += trace.groups[group].nbytes
            if narrow and held * number > whole:
                held = 0
            elif group in free:
                chosen.add(group)
        found.append(frozenset(chosen))
    return list(dict.fromkeys(found))


def _cheaper(trace: MemoryTrace, chosen: frozenset[int], room: float) -> frozenset[int]:
    """Keep what fits after all, first what costs most for its bytes; then give up cheaper groups in
    the place of the dearest ones.
    """
    for number in sorted(chosen, key=lambda each: (trace.groups[each].gain, each)):
        if trace.walk(chosen - {number}).peak <= room:
            chosen = chosen - {number}
    for number in sorted(chosen, key=trace.cost, reverse=True)[:TRIES]:
        cheap = [n for n in trace.choices() - chosen if trace.cost(n) < trace.cost(number)]
        others = (chosen - {number} | {n} for n in sorted(cheap, key=trace.cost)[:TRIES])
        chosen = next((c for c in others if trace.walk(c).peak <= room), chosen)
    return chosen
