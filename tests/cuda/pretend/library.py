"""The vendor's library on a GPU that is none: graphs and plans of products, which compute nothing.

What it offers, what was asked of it and what took how long is told; tests look at choices.
"""

from __future__ import annotations

import types
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest import mock

from netc_kernels.cuda.conv import apart, ready, vendor

NATIVE_SECONDS = 5.0
"""Of every kernel that is not this library's."""


class NoPlanError(Exception):
    pass


class Chain:
    """A tensor of a graph, whose setters return it."""

    def __getattr__(self, name: str) -> Callable[..., Chain]:
        return lambda *told, **more: self


class Library:
    """The module `cudnn`: `seconds` has the plans that each product is offered, in order."""

    __version__ = "1.26.0"
    cudnnGraphNotSupportedError = NoPlanError  # noqa: N815
    data_type = types.SimpleNamespace(FLOAT="f32", BFLOAT16="bf16")
    heur_mode = types.SimpleNamespace(A="a", FALLBACK="fallback")
    numerical_note = types.SimpleNamespace(
        NONDETERMINISTIC=0, REDUCED_PRECISION_REDUCTION=1, TENSOR_CORE=2, DOWN_CONVERT_INPUTS=3
    )

    def __init__(self, seconds: Mapping[str, float], broken: frozenset[str] = frozenset()) -> None:
        """Those that are `broken` cannot be made ready."""
        self.seconds, self.broken = seconds, broken
        self.graphs = 0
        self.built: Counter[str] = Counter()
        self.read_back: Counter[str] = Counter()
        self.ran: list[tuple[str, Mapping[int, int]]] = []
        """Plans with the addresses that they were given."""
        self.now = 0.0

    def backend_version(self) -> int:
        return 91900

    def create_handle(self) -> str:
        return "handle"

    def set_stream(self, handle: str, stream: int) -> None:
        assert handle == "handle" and stream

    def pygraph(self, **told: Any) -> Graph:
        return Graph(self)

    def elapsed(self, run: Callable[[], None], stream: Any, repeats: int) -> tuple[float, ...]:
        before = self.now
        run()
        stream.synchronize()
        return (self.now - before or NATIVE_SECONDS,) * repeats


class Graph:
    def __init__(self, library: Library) -> None:
        self.library, self.names, self.last = library, list(library.seconds), ""

    def validate(self) -> None:
        self.library.graphs += 1

    def get_execution_plan_count(self) -> int:
        return len(self.names)

    def get_plan_name_at_index(self, index: int) -> str:
        return self.names[index]

    def build_plan_at_index(self, index: int) -> None:
        self.library.built[self.names[index]] += 1
        if self.names[index] in self.library.broken:
            raise NoPlanError
        self.last = self.names[index]

    def serialize(self) -> list[int]:
        return [*self.last.encode()]

    def deserialize(self, text: list[int]) -> None:
        name = bytes(text).decode()
        if name not in self.library.seconds:
            raise NoPlanError
        self.names = [name]
        self.library.read_back[name] += 1

    def execute(self, pack: Mapping[int, int], work: int, handle: str) -> None:
        (name,) = self.names
        self._run(name, pack, handle)

    def execute_plan_at_index(
        self, pack: Mapping[int, int], work: int, index: int, handle: str
    ) -> None:
        assert self.library.built[self.names[index]]
        self._run(self.names[index], pack, handle)

    def _run(self, name: str, pack: Mapping[int, int], handle: str) -> None:
        assert handle == "handle"
        self.library.ran.append((name, pack))
        self.library.now += self.library.seconds[name]

    def __getattr__(self, name: str) -> Callable[..., Chain]:
        return lambda *told, **more: Chain()


@contextmanager
def offered(seconds: Mapping[str, float], *broken: str) -> Iterator[Library]:
    """The vendor's library is there, and helpers are threads of this process."""
    from netc_runtime.cuda import tuning

    library = Library(seconds, frozenset(broken))
    there = mock.patch.multiple(vendor, library=lambda: library, missing=lambda: "")
    with ExitStack() as patched:
        patched.enter_context(there)
        for timing in (ready, tuning):
            patched.enter_context(mock.patch.object(timing, "elapsed", library.elapsed))
        patched.enter_context(mock.patch.object(apart, "hand_out", helped))
        yield library


def helped(
    code: str, todo: deque[tuple[ready.Place, ready.WantedPlan]],
    done: list[tuple[ready.Place, ready.WantedPlan]],
) -> None:  # fmt: skip
    """What a helper makes of what it is asked for."""
    assert "help_out(0)" in code
    with suppress(IndexError):
        while True:
            asked = todo.pop()
            apart.make_each([asked])
            done.append(asked)
