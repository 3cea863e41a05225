"""Metrics of a training as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from netc.errors import DataError, Diagnostic, UsageError, escaped

TAGS = {
    "loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "images_per_second": "train/images_per_second",
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
    "epoch": "epoch",
}
"""What TensorBoard calls metrics, by their names in `metrics.jsonl`; it groups what stands before
the slash.
"""
_FILES = "*.tfevents.*"
"""What it takes for event files."""


def check_events(folder: Path) -> None:
    """Raise DataError where no event file could be written into a folder: E097 where the package is
    missing, E098 where there are such files, whose curves would be drawn over each other.
    """
    _library()
    try:
        found = sorted(folder.glob(_FILES))
    except OSError as error:
        raise _unwritable(folder, error) from None
    if found:
        name, place = escaped(found[0].name), escaped(str(folder))
        message = f"'{place}' has event files already, such as '{name}'."
        hint = "name another folder, or remove them: TensorBoard draws all files of a folder."
        raise DataError(Diagnostic("E098", message, help=hint))


def write_events(
    folder: Path, lines: Sequence[Mapping[str, float | None]], seconds: float
) -> Path:  # fmt: skip
    """Write metrics into a new event file in a folder; return its path.

    They have steps and no times: all get the time `seconds` since 1970. Raises as `check_events`,
    and UsageError (E056) where the system refuses.
    """
    check_events(folder)
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = EventsWriter(str(folder.absolute() / "events"))
        try:
            for line in lines:
                values = [Summary.Value(tag=t, simple_value=v) for t, v in _tagged(line)]
                event = Event(
                    wall_time=seconds, step=int(line["step"] or 0), summary=Summary(value=values)
                )
                writer.write_event(event)
        finally:
            writer.close()
        return next(folder.glob(_FILES))
    except OSError as error:
        raise _unwritable(folder, error) from None


def _tagged(line: Mapping[str, float | None]) -> Iterator[tuple[str, float]]:
    for name, tag in TAGS.items():
        value = line.get(name)
        if value is not None:
            yield tag, value


def _library() -> ModuleType:
    try:
        import tensorboardX
    except ImportError:
        message = "the package 'tensorboardX', which writes event files, is not installed."
        hint = "pip install 'netc[tensorboard]'"
        raise DataError(Diagnostic("E097", message, help=hint)) from None
    return tensorboardX  # type: ignore[no-any-return]


def _unwritable(folder: Path, error: OSError) -> UsageError:
    message = f"cannot write into '{escaped(str(folder))}': {error.strerror or error}."
    return UsageError(Diagnostic("E056", message))
