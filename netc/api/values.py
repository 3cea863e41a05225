"""Values that callers give, checked: mistakes are diagnostics, as on the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real

from netc.errors import Diagnostic, UsageError, clip

_NAME_BYTES, _PATH_BYTES = 255, 4095
PATH_LIMITS = f"not empty, {_PATH_BYTES:,} bytes at most, {_NAME_BYTES} between slashes"
"""Of paths."""


def wrong_use(message: str, hint: str = "") -> Diagnostic:
    """What is wrong with a call (E051)."""
    return Diagnostic("E051", message, help=hint)


def usage(message: str, hint: str = "") -> UsageError:
    """The error for a call that is wrong (E051)."""
    return UsageError(wrong_use(message, hint))


def usage_all(messages: Sequence[str]) -> UsageError:
    """The error for several mistakes of one call (E051)."""
    return UsageError(*(Diagnostic("E051", each) for each in messages))


def shown(value: object) -> str:
    """A value in a message: as it is written, or what it is where that is long."""
    if isinstance(value, str | bytes | Real | os.PathLike | type) or value is None:
        return clip(repr(value), 80)
    text = repr(value)
    if len(text) <= 80 and text.isprintable():
        return text
    many = f" of {len(value)}" if isinstance(value, Sequence | Mapping) else ""
    return f"one {type(value).__name__}{many}"


def each_once(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name; UsageError (E051) where one is given twice."""
    found: dict[str, str] = {}
    for name, value in parameters:
        if name in found:
            raise usage(f"the parameter '{clip(name)}' is given twice.", "give it once.")
        found[name] = value
    return found


def name_text(name: str, value: object) -> str:
    """A network's name, which may be empty; UsageError (E051) for what is none."""
    if not isinstance(value, str):
        raise usage(f"'{name}' must be a word, not {shown(value)}.")
    return value


def value_text(name: str, value: object) -> str:
    """A number, truth value or word as a network's file has it; UsageError (E051) for others."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    raise usage(f"'{name}' must be a number, true or false, or a word, not {shown(value)}.")


def path_text(name: str, value: object, hint: str = "") -> str:
    """A path, as text; UsageError (E051) for what is none, with a hint of what to do."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if isinstance(text, str) and can_name_file(text):
        return text
    limits = f"a path is {PATH_LIMITS}." if text else hint
    raise usage(f"'{name}' must be a path, not {shown(value)}.", limits)


def can_name_file(text: str) -> bool:
    """Whether a text can be the path of a file."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    longest = max(map(len, encoded.split(os.fsencode(os.sep))))
    return 0 < len(encoded) <= _PATH_BYTES and longest <= _NAME_BYTES and b"\0" not in encoded


def settings_text(settings: Mapping[str, object] | Sequence[str]) -> list[str]:
    """What settings say, as the command line has it: "train.sgd.lr=0.02"."""
    if isinstance(settings, Mapping):
        return [f"{name}={value_text(str(name), value)}" for name, value in settings.items()]
    many = isinstance(settings, Iterable) and not isinstance(settings, str)
    if not many or not all(isinstance(each, str) for each in settings):
        given = shown(settings)
        hint = 'for example {"train.sgd.lr": 0.02}.'
        raise usage(f"'settings' must be names with values, not {given}.", hint)
    return list(settings)
