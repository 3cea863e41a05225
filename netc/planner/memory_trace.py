"""The memory of a training step in the order of its program, if some of it were computed again.

Compiling a plan for every choice of layers would take too long. A trace of one program follows what
each choice keeps, and for how long, as `netc.passes.recompute` would have it. It knows nothing of
where bytes lie, nor of what other launches a new program joins: it guides a choice, programs judge
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.ops import Fused
from netc.ir.program import Instruction, Launch, View, accesses, in_place_pairs
from netc.passes.pipeline import Compiled
from netc.passes.recompute import Activations, repeated_region

if TYPE_CHECKING:
    import networkx as nx

SMALL = 1e-5
"""A storage of less than this part of all that are temporary does not matter, and is left out."""
Touched = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]
"""What a move reads, writes, and may write where it reads, as in a `MemoryMove`; what belongs to a
copy has a negative number."""


@dataclass(frozen=True, slots=True)
class MemoryMove:
    """What an instruction does to the memory of a device; storages are temporary, and numbers."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    in_place: tuple[tuple[int, int], ...]
    """(read, written) that may have the same bytes."""
    seconds: float
    backward: bool
    group: int | None
    """The layers whose activations it makes in the forward pass, by the number of their group."""


@dataclass(slots=True)
class LayerGroup:
    """Layers that run in the same launches: they are kept or computed again together."""

    layers: tuple[str, ...]
    nbytes: int = 0
    """Of what the backward pass reads of them."""
    seconds: float = 0.0

    @property
    def gain(self) -> float:
        """Bytes freed for a second of work."""
        return self.nbytes / self.seconds if self.seconds else float("inf")


@dataclass(frozen=True, slots=True)
class MemoryWalk:
    """A step, with some groups computed again."""

    peak: int
    """Bytes of the device, weights and inputs among them."""
    full: tuple[int, ...]
    """The groups of which something kept is there when memory is fullest."""
    again: tuple[int, ...]
    """The groups of which a copy is there then."""


class LayerGroups:
    """The layers of a plan's values, in groups that run in the same launches."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.graph = compiled, compiled.plan.graph
        region = repeated_region(compiled.graph, compiled.splits, compiled.scheme)
        self.activations = Activations(compiled.graph, region)
        self.groups = self._connected()
        self.number = {layer: i for i, each in enumerate(self.groups) for layer in each.layers}

    def _connected(self) -> list[LayerGroup]:
        """Layers that share launches, in the order of the network."""
        # Imported here: it takes as long as a small network's whole compilation.
        import networkx as nx

        place = {layer: at for at, layer in enumerate(self.compiled.graph.layers)}
        links: nx.Graph[str] = nx.Graph()
        for path in self._launched_together():
            nx.add_path(links, path)
        every = nx.connected_components(links)
        return [LayerGroup(tuple(sorted(own, key=place.__getitem__))) for own in every]

    def _launched_together(self) -> Iterator[list[str]]:
        """Layers that share a launch. What is in no memory is made where it is read: a convolution
        may pool what it makes.
        """
        written = {view.buffer.rpartition("@")[0] for view in self._views()}
        for node in self.graph.nodes:
            if node.phase != "forward" or not node.inputs:
                continue
            yield (own := _layers_of(node))
            if node.name not in written and not node.op.view and not isinstance(node.op, Comm):
                readers = (self.graph[user] for user in self.graph.users[node.name])
                yield [own[0], *(_layers_of(reader)[0] for reader in readers)]

    def _views(self) -> Iterator[View]:
        return (view for each in self.compiled.program.instructions for view in each.writes)

    def of(self, instruction: Instruction) -> int | None:
        """The group whose activations an instruction makes in the forward pass, or moves."""
        if instruction.phase != "forward":
            return None
        made = instruction if isinstance(instruction, Launch) else instruction.parts[0]
        source = self._moved(made.node)
        if not self._is_activation(source):
            return None
        return self.number[_layers_of(self.graph[source])[0]]

    def closed(self) -> frozenset[int]:
        """The groups that rounds read: they stay."""
        held = (self.graph[name] for name in self.activations.held if name in self.graph.index)
        return frozenset(self.number[_layers_of(node)[0]] for node in held if node.inputs)

    def _moved(self, name: str) -> str:
        """What a value was before it was moved, or seen otherwise."""
        node = self.graph[name]
        plain = not node.inputs or not (isinstance(node.op, Comm) or node.op.view)
        return name if plain else self._moved(node.inputs[0])

    def _is_activation(self, name: str) -> bool:
        found = self.compiled.graph.index.get(name)
        # Places of maxima are noted after that graph was made.
        places = found is None and self.graph[name].type.dtype == "u8"
        return places or (found is not None and self.activations.has(found))


def _layers_of(node: Node) -> list[str]:
    """The layers of a node, which may be fused."""
    links = node.op.links if isinstance(node.op, Fused) else ()
    return [link.layer for link in links] or [node.layer]


class MemoryTrace:
    """The program of a compiled plan in order, on the device that holds most."""

    def __init__(self, compiled: Compiled) -> None:
        self.program, self.layers = compiled.program, LayerGroups(compiled)
        held = [sum(b.nbytes for b in own) for own in self.program.buffers_of]
        self.class_ = held.index(max(held))
        own = self.program.buffers_of[self.class_]
        self.lasting = sum({b.storage: b.nbytes for b in own if b.kind != "temporary"}.values())
        self.small = SMALL * sum(b.nbytes for b in own if b.kind == "temporary")
        self.sizes: list[int] = []
        """Bytes of each storage, and behind them of copies, backwards."""
        self.numbers: dict[str, int] = {}
        """Temporary storages by name."""
        every = (self._move(number) for number in self.program.numbers[self.class_])
        self.moves = [move for move in every if move.reads or move.writes]
        kept = {view.buffer for port in self.program.outputs for view in port.views}
        own_kept = (b.name for b in own if b.name in kept and b.kind == "temporary")
        self.outputs = frozenset(s for name in own_kept if (s := self._storage(name)) >= 0)
        self.maker = {s: at for at, m in reversed([*enumerate(self.moves)]) for s in m.writes}
        """By storage the place of the move that first writes it."""
        self.wanted = frozenset(s for move in self.moves if move.backward for s in move.reads)
        """What the backward pass reads."""
        self.closed = self.layers.closed()
        self.group = self._groups()
        self.sizes += reversed(self.sizes)
        self.groups = self._filled()
        self.known: dict[frozenset[int], MemoryWalk] = {}

    def _move(self, number: int) -> MemoryMove:
        instruction = self.program.instructions[number]
        reads, writes = accesses(instruction, self.class_)
        pairs = in_place_pairs(self.program, instruction, self.class_)
        read, written = (
            tuple(dict.fromkeys(s for view in views if (s := self._storage(view.buffer)) >= 0))
            for views in (reads, writes)
        )
        same = ((self._storage(old.name), self._storage(new.name)) for old, new in pairs)
        return MemoryMove(
            read, written, tuple(pair for pair in same if min(pair) >= 0), instruction.seconds,
            instruction.phase != "forward", self.layers.of(instruction),
        )  # fmt: skip

    def _storage(self, name: str) -> int:
        """The number of a buffer's storage; -1 where that is not temporary, or small."""
        buffer = self.program.buffer[name]
        if buffer.kind != "temporary" or buffer.nbytes < self.small:
            return -1
        number = self.numbers.setdefault(buffer.storage, len(self.sizes))
        if number == len(self.sizes):
            self.sizes.append(buffer.nbytes)
        return number

    def _groups(self) -> list[int]:
        """By storage the group that it is an activation of; -1 where it is none, or stays."""
        found = [-1] * len(self.sizes)
        for storage, place in self.maker.items():
            group = self.moves[place].group
            if group is not None and group not in self.closed:
                found[storage] = group
        return found

    def _filled(self) -> list[LayerGroup]:
        """The groups with what they cost."""
        groups = [replace(group) for group in self.layers.groups]
        for move in self.moves:
            if move.group is not None:
                group = groups[move.group]
                group.seconds += move.seconds
                group.nbytes += sum(self.sizes[s] for s in move.writes if s in self.wanted)
        return groups

    def choices(self) -> frozenset[int]:
        """The groups that may be computed again, and of which something is kept otherwise."""
        kept = {number for number, group in enumerate(self.groups) if group.nbytes}
        return frozenset(kept - self.closed)

    def cost(self, number: int) -> tuple[float, int]:
        """The seconds of a group; equal ones in their order."""
        return self.groups[number].seconds, number

    def seconds(self, chosen: frozenset[int]) -> float:
        """What computing groups again takes, about."""
        return sum(self.groups[number].seconds for number in sorted(chosen))

    def order(self) -> list[tuple[int, bool]]:
        """The groups in the order of the forward pass, and whether the network is narrow behind
        each: nothing that was made before is read after it, but what stays anyway.
        """
        forward = [(at, move) for at, move in enumerate(self.moves) if not move.backward]
        ended = {move.group: at for at, move in forward if move.group is not None}
        read = {storage: at for at, move in forward for storage in move.reads}
        over = sorted(
            (self.maker[s], at, self.group[s]) for s, at in read.items() if self.group[s] >= 0
        )
        return [
            (group, all(g == group or not made <= at < last for made, last, g in over))
            for group, at in sorted(ended.items(), key=lambda each: each[1])
        ]

    def walk(self, chosen: frozenset[int]) -> MemoryWalk:
        """The step where the groups chosen are computed again."""
        if chosen not in self.known:
            self.known[chosen] = self._walk([*self._again(chosen)])
        return self.known[chosen]

    def _again(self, chosen: frozenset[int]) -> Iterator[Touched]:
        """What all moves touch in order, with copies before what reads them."""
        dropped = [group in chosen for group in self.group]
        copied: set[int] = set()
        for move in self.moves:
            if move.backward and any(dropped[s] for s in move.reads):
                for place in self._missing(move.reads, dropped, copied):
                    writes = self.moves[place].writes
                    yield self._copied(self.moves[place], copied, tuple(map(_copy, writes)))
                    copied.update(writes)
                yield self._copied(move, copied, move.writes)
            else:
                yield move.reads, move.writes, move.in_place

    def _missing(
        self, reads: Sequence[int], dropped: Sequence[bool], copied: set[int]
    ) -> list[int]:  # fmt: skip
        """The places of what is to be done again before those are read, in order: of what was to
        be, and of what nobody wants but a copy.
        """
        found: set[int] = set()
        ahead = list(reads)
        while ahead:
            storage = ahead.pop()
            gone = dropped[storage] or (self.group[storage] >= 0 and storage not in self.wanted)
            if gone and storage not in copied and (place := self.maker[storage]) not in found:
                found.add(place)
                ahead += self.moves[place].reads
        return sorted(found)

    def _copied(self, move: MemoryMove, copied: set[int], writes: tuple[int, ...]) -> Touched:
        """A move that reads copies where there are some."""
        now = {s: _copy(s) if s in copied else s for s in move.reads}
        made = dict(zip(move.writes, writes, strict=True))
        return tuple(now.values()), writes, tuple((now[o], made[n]) for o, n in move.in_place)

    def _walk(self, moves: Sequence[Touched]) -> MemoryWalk:
        """Go through moves, and see where most is held at once."""
        begins, ends = [-1] * len(self.sizes), [-1] * len(self.sizes)
        for at, (reads, writes, _) in enumerate(moves):
            for storage in reads:
                ends[storage] = at
            for storage in writes:
                ends[storage] = at
                if begins[storage] < 0:
                    begins[storage] = at
        for storage in self.outputs:
            ends[storage] = len(moves)
        held = self._held(moves, begins, ends)
        most = max(held)
        fullest = held.index(most)
        half = len(self.sizes) // 2
        both = (
            dict.fromkeys(
                self.group[s] for s in range(half) if begins[at(s)] <= fullest <= ends[at(s)]
            )
            for at in (int, _copy)
        )
        full, again = (tuple(g for g in groups if g >= 0) for groups in both)
        return MemoryWalk(self.lasting + most, full, again)

    def _held(
        self, moves: Sequence[Touched], begins: Sequence[int], ends: Sequence[int]
    ) -> list[int]:  # fmt: skip
        """Bytes that are held at each move."""
        sizes, change = self.sizes, [0] * (len(moves) + 2)
        for begin, end, size in zip(begins, ends, sizes, strict=True):
            if begin >= 0:
                change[begin] += size
                change[end + 1] -= size
        held = [*accumulate(change)]
        for at, (_, _, in_place) in enumerate(moves):
            if in_place:
                spared = (sizes[old] for old, new in in_place if ends[old] == at == begins[new])
                held[at] -= max(spared, default=0)
        return held


def _copy(storage: int) -> int:
    """The number of the copy of a storage: the same from the end of a list of both."""
    return -1 - storage
