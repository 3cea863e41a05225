"""What is said of a run in which devices wait for one that does not come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netc.errors import Diagnostic
from netc.ir.program import STREAMS, Collective
from netc_runtime.watch.words import Report, WatchedProgram

NOWHERE: Mapping[int, str] = {}


def stands_still(
    programs: Sequence[WatchedProgram],
    reports: Mapping[int, Report],
    seconds: float,
    hosts: Mapping[int, str] = NOWHERE,
) -> Diagnostic:
    """Nothing has moved for so long: which device holds the others up, and where.

    `programs` are in the order of their loading, which is that of all processes;
    `reports` say by rank what each process is at, `hosts` on which machine it is.
    """
    scene = _Scene(programs, reports)
    held = scene.culprits()
    if not held:
        return scene.diagnostic(f"no device has moved for {seconds:g} s")
    first = held[0]
    named = f"device {first}{_on(hosts, first)}"
    if scene.devices[first].state == "gone":
        return scene.diagnostic(f"the process of {named} has been stopped for {seconds:g} s")
    return scene.diagnostic(f"{named} has not moved for {seconds:g} s: it is {scene.place(first)}")


def has_lost(
    programs: Sequence[WatchedProgram],
    reports: Mapping[int, Report],
    rank: int,
    how: str,
    hosts: Mapping[int, str] = NOWHERE,
) -> Diagnostic:
    """A process has ended: which device waits for it, and where."""
    gone = replace(reports.get(rank, Report()), state="gone")
    scene = _Scene(programs, {**reports, rank: gone})
    named = f"device {rank}{_on(hosts, rank)}"
    return scene.diagnostic(f"the process of {named} ended{how}", "; all others are stopped")


def _on(hosts: Mapping[int, str], device: int) -> str:
    return f" on {hosts[device]}" if device in hosts else ""


class _Scene:
    """What all devices are at, as far as it is known."""

    def __init__(self, programs: Sequence[WatchedProgram], reports: Mapping[int, Report]) -> None:
        self.programs = programs
        self.devices = {
            device: report
            for rank, report in sorted(reports.items())
            for device in (sorted({device for (device, _), _ in report.words}) or [rank])
        }
        self.running = [d for d, report in self.devices.items() if report.state == "running"]
        self.waits = {d: number for d in self.running if (number := self._awaited(d)) >= 0}
        """The collective that a device waits in, by its number."""

    def culprits(self) -> list[int]:
        """The devices that others wait for and that do not wait themselves; where none waits,
        those that run.
        """
        late = [device for device, report in self.devices.items() if report.state == "gone"]
        for device, number in self.waits.items():
            late += [other for other in self.devices if self._is_late(other, device, number)]
        late = late or self.running
        return [device for device in dict.fromkeys(late) if device not in self.waits]

    def diagnostic(self, said: str, otherwise: str = "") -> Diagnostic:
        """With what the first that waits is at, and a line for every device in a step."""
        waits = [
            f"; device {device} waits {self._watched(device).place((device, ''), number)}"
            for device, number in self.waits.items()
        ]
        waits += [
            f"; device {device} waits for all to agree"
            for device, report in self.devices.items()
            if report.state == "meeting"
        ]
        notes = tuple(f"device {device}: {self._streams(device)}" for device in self.running)
        return Diagnostic("E070", f"{said}{waits[0] if waits else otherwise}.", notes=notes)

    def place(self, device: int) -> str:
        """Where a device is, by the stream that computes."""
        if device not in self.running:
            return "between two steps"
        return self._places(device)[0][1]

    def _streams(self, device: int) -> str:
        return ", ".join(f"{stream} {place}" for stream, place in self._places(device))

    def _places(self, device: int) -> list[tuple[str, str]]:
        """Kind and place of all streams of a device, the one that computes first."""
        report, watched = self.devices[device], self._watched(device)
        lanes = [lane for lane, _ in report.words if lane[0] == device]
        lanes.sort(key=lambda lane: STREAMS.index(lane[1]))
        return [(lane[1], watched.place(lane, report.reached(lane))) for lane in lanes]

    def _watched(self, device: int) -> WatchedProgram:
        return self.programs[self.devices[device].program]

    def _awaited(self, device: int) -> int:
        """The latest collective that a device has come to and another has not; -1 for none."""
        report, watched = self.devices[device], self._watched(device)
        reached = [word - 1 for (d, _), word in report.words if d == device and word]
        return max(
            (
                number
                for number in reached
                if isinstance(watched.program.instructions[number], Collective)
                and not watched.has_ended(device, number, report)
                and any(self._is_late(other, device, number) for other in self.devices)
            ),
            default=-1,
        )

    def _is_late(self, other: int, device: int, number: int) -> bool:
        """Whether a device has not come to a collective that another has come to."""
        mine, theirs = self.devices[device], self.devices[other]
        collective = self._watched(device).program.instructions[number]
        assert isinstance(collective, Collective), "devices wait for each other in collectives"
        program = self._watched(device).program
        if other not in program.mesh.group(device, collective.axes) or other == device:
            return False
        if theirs.state == "gone" or theirs.runs != mine.runs:
            return theirs.state == "gone" or theirs.runs < mine.runs
        return theirs.state == "running" and theirs.reached((other, collective.stream)) < number
