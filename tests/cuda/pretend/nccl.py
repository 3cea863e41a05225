"""NCCL between threads: what was sent lies in the world's mail until all of it is there."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from pretend.memory import over, store, widened
from pretend.streams import WORLD

_KINDS = {1: np.uint8, 4: np.int64, 7: np.float32, 8: np.float64, 9: np.uint16}


class NcclCommunicator:
    """Collectives between threads: done when all of a group have come to the same one."""

    def __init__(self, size: int, name: Any, rank: int) -> None:
        self.size, self.name, self.rank = size, name, rank
        self.count = 0

    def abort(self) -> None:
        """Nothing is held."""

    def allReduce(  # noqa: N802 (NCCL's name)
        self, source: int, target: int, count: int, kind: int, op: int, stream: int
    ) -> None:
        values = over(source, (count,), _KINDS[kind])
        self._collect(stream, values, lambda all_: _written(target, _reduced(op, all_)))

    def reduce(
        self, source: int, target: int, count: int, kind: int, op: int, root: int, stream: int
    ) -> None:
        def take(all_: list[Any]) -> None:
            if self.rank == root:
                _written(target, _reduced(op, all_))

        self._collect(stream, over(source, (count,), _KINDS[kind]), take)

    def broadcast(
        self, source: int, target: int, count: int, kind: int, root: int, stream: int
    ) -> None:
        values = over(source, (count,), _KINDS[kind])
        self._collect(stream, values, lambda all_: _written(target, all_[root]))

    def send(self, pointer: int, count: int, kind: int, peer: int, stream: int) -> None:
        _group(self, stream)[1].append((peer, over(pointer, (count,), _KINDS[kind])))

    def recv(self, pointer: int, count: int, kind: int, peer: int, stream: int) -> None:
        _group(self, stream)[2].append((peer, pointer))

    def _collect(self, stream: int, values: Any, take: Callable[[list[Any]], None]) -> None:
        _group(self, stream)[0].append((values, take))


def _reduced(op: int, values: list[Any]) -> Any:
    total = widened(values[0]).copy()
    for value in values[1:]:
        total = {0: np.add, 2: np.maximum, 3: np.minimum}[op](total, widened(value))
    bits = np.empty_like(values[0])
    store(bits, total)
    return bits


def _written(pointer: int, values: Any) -> None:
    over(pointer, values.shape, values.dtype)[...] = values


def _group(communicator: NcclCommunicator, stream: int) -> Any:
    """What the open group of this thread has: collectives, sent and received messages."""
    opened = WORLD.own.group
    opened[:2] = communicator, stream
    return opened[2]


def group_start() -> None:
    WORLD.own.group = [None, 0, ([], [], [])]


def group_end() -> None:
    communicator, stream, parts = WORLD.own.group
    told: list[int] = []

    def work() -> bool:
        return _meet(communicator, parts, told)

    WORLD.put(stream, work)


def _meet(communicator: NcclCommunicator, parts: Any, told: list[int]) -> bool:
    """Say what this rank gives, once; take what others gave when all of it is there."""
    collectives, sent, received = parts
    name, rank, mail = communicator.name, communicator.rank, WORLD.mail
    keys = [(name, communicator.count, each) for each in range(communicator.size)]
    if not told:
        told.append(1)
        if collectives:
            mail[keys[rank]] = [values.copy() for values, _ in collectives]
        for peer, values in sent:
            mail.setdefault((name, "from", rank, peer), deque()).append(values.copy())
    if collectives and any(key not in mail for key in keys):
        return False
    wanted = Counter(peer for peer, _ in received)
    if any(len(mail.get((name, "from", p, rank), ())) < n for p, n in wanted.items()):
        return False
    for index, (_, take) in enumerate(collectives):
        take([mail[key][index] for key in keys])
    for peer, pointer in received:
        _written(pointer, mail[name, "from", peer, rank].popleft())
    told.clear()
    communicator.count += bool(collectives)
    return True
