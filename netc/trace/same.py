"""Whether a trace is of a program."""

from __future__ import annotations

from netc.errors import DataError, Diagnostic, clip
from netc.ir.program import Program, word_of
from netc.trace.spans import StepTrace

HINT = "give the network, devices and options of the run that was traced."


def check_same(trace: StepTrace, program: Program) -> None:
    """Raise DataError (E085) unless the trace was measured and has the instructions of this program
    on its devices: what they do, where, and what they wait for.
    """
    if not trace.is_measured:
        raise _other("nothing was measured in it", "trace a run, not '--backend null'.")
    if trace.devices != program.mesh.size:
        raise _other(f"it is of {trace.devices} devices, the plan of {program.mesh.size}")
    step = trace.steps[0].step
    found = {(s.number, s.device): s for s in trace.spans if s.measured and s.step == step}
    for device in range(trace.devices):
        for number, each in program.of(device).instructions.items():
            span = found.pop((number, device), None)
            wanted = each.stream, each.layer, each.phase, word_of(each), each.waits
            if span is None or (
                (span.stream, span.layer, span.phase, span.kind, span.waits) != wanted
            ):
                there = "" if span is None else f", in the trace {span.kind} of {span.layer}"
                what = f"{word_of(each)} of {each.layer} ({each.phase})"
                raise _other(clip(f"instruction {number} of device {device} is {what}{there}", 300))
    if found:
        number, device = min(found)
        raise _other(f"the plan has no instruction {number} on device {device}")


def _other(why: str, hint: str = HINT) -> DataError:
    return DataError(Diagnostic("E085", f"the trace is not of this plan: {why}.", help=hint))
