"""Streams of a GPU that is none, whose work is done in any order that their events allow."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from netc_kernels.cuda.source import compiles_only

Try = Callable[[], bool]
"""Work that says whether it could be done yet."""


class World:
    """The streams of one process, its memory, and what its threads tell each other."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, seed: int) -> None:
        """Forget all that was; `seed` chooses the order of work from now on."""
        self.random = random.Random(seed)
        self.queues: dict[int, deque[Try]] = {}
        self.owners: dict[int, int] = {}
        """The thread of every stream."""
        self.done: set[int] = set()
        self.tokens = 0
        self.own = threading.local()
        """What a thread records, and its current stream: a thread is a process of a run."""
        self.lock = threading.RLock()
        self.mail: dict[Any, Any] = {}
        """What processes told each other in collectives."""
        self.memory: dict[int, Any] = {}
        self.watch: Callable[[], None] = lambda: None
        """Called whenever some work of a stream is done."""

    @property
    def tape(self) -> dict[int, deque[Try]] | None:
        found: dict[int, deque[Try]] | None = getattr(self.own, "tape", None)
        return found

    @property
    def current(self) -> int:
        return int(getattr(self.own, "current", 0))

    def put(self, stream: int, work: Try) -> None:
        if compiles_only():
            return
        with self.lock:
            queues = self.queues if self.tape is None else self.tape
            queues.setdefault(stream, deque()).append(work)
            self.owners[stream] = threading.get_ident()

    def record(self, stream: int) -> int:
        with self.lock:
            self.tokens += 1
            token = self.tokens
        if self.tape is not None:
            self.own.tokens.add(token)

        def work() -> bool:
            self.done.add(token)
            return True

        self.put(stream, work)
        return token

    def wait(self, stream: int, token: int) -> None:
        self.put(stream, lambda: token in self.done)

    def drain(self, queues: dict[int, deque[Try]] | None = None) -> bool:
        """Do all that can be done, in a random order; whether anything was."""
        queues = self.queues if queues is None else queues
        any_, stuck = False, set[int]()
        while open_ := [s for s, q in queues.items() if q and s not in stuck]:
            stream = self.random.choice(open_)
            if queues[stream][0]():
                queues[stream].popleft()
                self.watch()
                any_, stuck = True, set()
            else:
                stuck.add(stream)
        return any_

    def finish(self) -> None:
        """Wait for all streams of this thread, and so for what others have yet to put there."""
        idle, me = 0, threading.get_ident()
        while True:
            # Where others add streams meanwhile, even a list made of them all may fail: the
            # collection of garbage, which runs in between, lets other threads go on.
            with self.lock:
                if not any(queue for s, queue in self.queues.items() if self.owners[s] == me):
                    return
                idle = 0 if self.drain() else idle + 1
            assert idle < 20_000, "streams wait for each other for ever"
            if idle:
                time.sleep(1e-3)

    def replay(self, tape: dict[int, deque[Try]], tokens: set[int]) -> Try:
        """A recorded graph as one piece of work; its events begin anew each time."""
        left: dict[int, deque[Try]] = {}

        def work() -> bool:
            if not left:
                self.done -= tokens
                left.update({stream: deque(queue) for stream, queue in tape.items()})
            self.drain(left)
            if any(left.values()):
                return False
            left.clear()
            return True

        return work


WORLD = World()


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        self.token = 0

    def record(self, stream: Stream) -> None:
        self.token = WORLD.record(stream.ptr)

    def synchronize(self) -> None:
        WORLD.finish()


class Graph:
    def __init__(self, tape: dict[int, deque[Try]], tokens: set[int]) -> None:
        self.tape, self.tokens = tape, tokens

    def launch(self, stream: Stream) -> None:
        WORLD.put(stream.ptr, WORLD.replay(self.tape, self.tokens))


class Stream:
    made = 0

    def __init__(self, non_blocking: bool = False, ptr: int = 0) -> None:
        Stream.made += not ptr
        self.ptr = ptr or Stream.made

    @classmethod
    def from_external(cls, other: Any) -> Stream:
        return cls(ptr=other.__cuda_stream__()[1])

    def wait_event(self, event: Event) -> None:
        if event.token:
            WORLD.wait(self.ptr, event.token)

    def synchronize(self) -> None:
        WORLD.finish()

    def begin_capture(self, mode: Any) -> None:
        WORLD.finish()
        WORLD.own.tape, WORLD.own.tokens = {}, set()

    def end_capture(self) -> Graph:
        tape, WORLD.own.tape = WORLD.tape, None
        assert tape is not None
        return Graph(tape, WORLD.own.tokens)

    def __enter__(self) -> Stream:
        # One stream may be entered by several threads, so nothing is kept on it.
        WORLD.own.before, WORLD.own.current = WORLD.current, self.ptr
        return self

    def __exit__(self, *problem: Any) -> None:
        WORLD.own.current = WORLD.own.before
