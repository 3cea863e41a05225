"""A whole program on a clock: a discrete-event simulation of its streams, waits and links.

Every instruction carries what it takes alone. Exchanges that go on at the same time share links:
where more is asked of one than it has, all that use it slow down alike. Computing slows down while
its device exchanges, as far as the machine says so.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netc.ir.program import Collective, Instruction, Launch, Program


@dataclass(frozen=True, slots=True)
class Timeline:
    """When instructions run, in seconds from the start of the step.

    Equal devices do the same at the same times.
    """

    starts: Mapping[tuple[int, int], float]
    """By instruction and class."""
    ends: Mapping[tuple[int, int], float]
    busy_seconds: tuple[float, ...]
    """Computation of each device, by class."""

    @property
    def seconds(self) -> float:
        """The whole step."""
        return max(self.ends.values(), default=0.0)

    @property
    def exposed_seconds(self) -> float:
        """Time of the step in which the least busy device does not compute."""
        return self.seconds - min(self.busy_seconds)


def simulate(program: Program, overlap: bool = True) -> Timeline:
    """Run the program's streams and waits; an exchange starts when all its devices can.

    Without `overlap` a device does one thing at a time, in the order of the program.
    """
    return _Clock(program, overlap).run()


@dataclass(slots=True)
class _Activity:
    """An instruction that runs, on the classes that do it together."""

    number: int
    classes: tuple[int, ...]
    left: float
    """Seconds that it would still take alone."""
    since: float
    rate: float = 1.0
    turn: int = 0
    """How often its rate has changed: ends that were foreseen before do not count."""


class _Clock:
    def __init__(self, program: Program, overlap: bool) -> None:
        self.program, self.overlap, self.now = program, overlap, 0.0
        self.instructions = program.instructions
        self.queues: dict[tuple[int, str], list[int]] = defaultdict(list)
        """By class and stream what is still to do, the next one last."""
        self.followers: dict[tuple[int, int], list[int]] = defaultdict(list)
        """By instruction and class what waits for it there."""
        self.missing: dict[tuple[int, int], int] = {}
        self.groups: dict[tuple[int, int], tuple[int, ...]] = {}
        """By collective and class the classes that do it together."""
        self.running: dict[int, _Activity] = {}
        self.exchanging: dict[int, _Activity] = {}
        self.ends: dict[tuple[int, int], float] = {}
        self.starts: dict[tuple[int, int], float] = {}
        self.busy = [0.0] * len(program.classes)
        self.foreseen: list[tuple[float, int, int]] = []
        self.begun = 0
        for number in reversed(range(len(self.instructions))):
            self._prepare(number, self.instructions[number])

    def _prepare(self, number: int, instruction: Instruction) -> None:
        for class_ in instruction.classes:
            self.queues[class_, self._stream(number)].append(number)
            here = [w for w in instruction.waits if class_ in self.instructions[w].classes]
            self.missing[number, class_] = len(here)
            for wait in here:
                self.followers[wait, class_].append(number)

    def run(self) -> Timeline:
        meets: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[int, tuple[int, ...]]] = {}
        for number, each in enumerate(self.instructions):
            if isinstance(each, Collective):
                who = each.axes, each.classes
                if who not in meets:
                    meets[who] = meeting_classes(self.program, each)
                self.groups.update(((number, c), group) for c, group in meets[who].items())
        for class_, stream in list(self.queues):
            self._begin_next(class_, stream)
        while self.foreseen:
            end, key, turn = heapq.heappop(self.foreseen)
            activity = self.running.get(key)
            if activity is not None and activity.turn == turn:
                self.now = end
                self._end(key, activity)
        assert not any(self.queues.values()), "instructions wait for each other"
        return Timeline(self.starts, self.ends, tuple(self.busy))

    def _stream(self, number: int) -> str:
        return self.instructions[number].stream if self.overlap else "compute"

    def _begin_next(self, class_: int, stream: str) -> None:
        """Begin what is next in a stream, if everything that it waits for has ended."""
        queue = self.queues[class_, stream]
        if not queue:
            return
        number = queue[-1]
        classes = self.groups.get((number, class_), (class_,))
        if (number, class_) in self.starts or not all(self._can(number, c) for c in classes):
            return
        instruction = self.instructions[number]
        self.begun += 1
        activity = _Activity(number, classes, instruction.seconds, self.now)
        self.running[self.begun] = activity
        self.starts.update(dict.fromkeys(((number, c) for c in classes), self.now))
        if isinstance(instruction, Launch):
            activity.rate = self._keeps(class_)
            self._foresee(self.begun, activity)
        else:
            self.exchanging[self.begun] = activity
            self._share(self.begun, activity)

    def _can(self, number: int, class_: int) -> bool:
        queue = self.queues[class_, self._stream(number)]
        return bool(queue) and queue[-1] == number and not self.missing[number, class_]

    def _foresee(self, key: int, activity: _Activity) -> None:
        if activity.rate or not activity.left:
            end = self.now + (activity.left / activity.rate if activity.left else 0.0)
            heapq.heappush(self.foreseen, (end, key, activity.turn))

    def _end(self, key: int, activity: _Activity) -> None:
        del self.running[key]
        number, stream = activity.number, self._stream(activity.number)
        for class_ in activity.classes:
            self.ends[number, class_] = self.now
            self.queues[class_, stream].pop()
        if self.exchanging.pop(key, None) is not None:
            self._share(key, activity)
        else:
            (class_,) = activity.classes
            self.busy[class_] += self.now - self.starts[number, class_]
        for class_ in activity.classes:
            self._begin_next(class_, stream)
            for follower in self.followers[number, class_]:
                self.missing[follower, class_] -= 1
                self._begin_next(class_, self._stream(follower))

    def _share(self, key: int, changed: _Activity) -> None:
        """An exchange began or ended: rates of all that it meets."""
        ports, links = self._loads()
        for other, activity in self.exchanging.items():
            slowest = max(_load_of(self._collective(activity), activity, ports, links), default=1.0)
            if other == key or 1 / max(slowest, 1.0) != activity.rate:
                self._change(other, activity, 1 / max(slowest, 1.0))
        if self._collective(changed).keeps == 1.0:
            return
        for other, activity in self.running.items():
            if other not in self.exchanging and activity.classes[0] in changed.classes:
                self._change(other, activity, self._keeps(activity.classes[0]))

    def _change(self, key: int, activity: _Activity, rate: float) -> None:
        activity.left -= (self.now - activity.since) * activity.rate
        activity.left = max(activity.left, 0.0)
        activity.since, activity.rate, activity.turn = self.now, rate, activity.turn + 1
        self._foresee(key, activity)

    def _keeps(self, class_: int) -> float:
        """The part of its speed that a device computes with now."""
        here = (a for a in self.exchanging.values() if class_ in a.classes)
        return min((self._collective(each).keeps for each in here), default=1.0)

    def _loads(self) -> tuple[dict[tuple[int, int], float], dict[str, float]]:
        """What is asked of every device's port by class and direction, and of every shared link."""
        ports: dict[tuple[int, int], float] = defaultdict(float)
        links: dict[str, dict[int, float]] = defaultdict(dict)
        for activity in self.exchanging.values():
            collective = self._collective(activity)
            for class_, way, share in _ports(collective, activity):
                ports[class_, way] += share
            for link, share in collective.shared:
                # All groups of a collective are counted in what it says.
                links[link][activity.number] = share
        return ports, {link: sum(each.values()) for link, each in links.items()}

    def _collective(self, activity: _Activity) -> Collective:
        found = self.instructions[activity.number]
        assert isinstance(found, Collective)
        return found


def _ports(collective: Collective, activity: _Activity) -> Iterator[tuple[int, int, float]]:
    """Class, direction and use of the ports that an exchange uses."""
    for class_, pair in zip(collective.classes, collective.ports, strict=True):
        if class_ in activity.classes:
            yield from ((class_, way, share) for way, share in enumerate(pair) if share)


def _load_of(
    collective: Collective,
    activity: _Activity,
    ports: Mapping[tuple[int, int], float],
    links: Mapping[str, float],
) -> Iterator[float]:
    """What is asked of everything that an exchange uses."""
    yield from (ports[class_, way] for class_, way, _ in _ports(collective, activity))
    yield from (links[link] for link, _ in collective.shared)


def meeting_classes(program: Program, collective: Collective) -> dict[int, tuple[int, ...]]:
    """By class, the classes that do a collective together with it: those of the devices that differ
    from its devices along the collective's axes only.
    """
    mesh, found = program.mesh, dict[int, tuple[int, ...]]()
    taking = set(collective.classes)
    for class_ in taking:
        first = mesh.device(program.classes[class_].first)
        met = {program.class_of[d] for d in mesh.group(first, collective.axes)} & taking
        for known in {found.get(other, (other,)) for other in met}:
            met |= set(known)
        found.update(dict.fromkeys(met, tuple(sorted(met))))
    return found


def mean_step_seconds(train: Program, part: Program | None, accumulate: int) -> float:
    """Predicted seconds of a step: the mean of one that moves weights and of those before it that
    only add up gradients, where there are some.
    """
    seconds = simulate(train).seconds
    if part is None:
        return seconds
    return (seconds + (accumulate - 1) * simulate(part).seconds) / accumulate
