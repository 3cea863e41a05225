"""Options and arguments, checked where they are read."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from netc.api.choices import AUTO, SIZE, read_size
from netc.api.values import PATH_LIMITS, can_name_file
from netc.api.writable import check_writable
from netc.cli.help import LAST
from netc.errors import Diagnostic, UsageError, clip, did_you_mean, folded
from netc.numbers import COUNT, DEVICES, NATURAL, NON_NEGATIVE, Number


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are diagnostics, and whose help begins with what is needed."""

    words: Callable[[], str] | None = None
    """Makes what stands behind the help, once that is asked for."""
    example = ""
    """Stands behind the description."""
    folded: tuple[argparse.Action, ...] = ()
    """Options that only the whole help explains; the other names them."""

    def format_help(self, whole: bool = False) -> str:
        """The help, with its lists of words; `whole` is that with all options."""
        formatter = self._get_formatter()
        needed = [a for a in self._actions if a.required or not a.option_strings]
        # Options come before what is needed, in the usage as in the examples of many manuals.
        formatter._prog = f"{self.prog} [options]"
        formatter.add_usage(self.usage, needed, [])
        for text in (self.description, self.example):
            formatter.add_text(text)
        for group in sorted(self._action_groups, key=_place):
            shown = [a for a in group._group_actions if whole or a not in self.folded]
            shown = [a for a in shown if not isinstance(a, argparse._SubParsersAction)]
            formatter.start_section(group.title)
            formatter.add_arguments(sorted(shown, key=lambda action: not action.required))
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help() + (self.words() if self.words else "") + self._more(whole)

    def _more(self, whole: bool) -> str:
        """The last line: which options are left out, and how to see them."""
        if whole or not self.folded:
            return ""
        names = " ".join(action.option_strings[-1] for action in self.folded)
        asked = f"'{self.prog} --help-all' explains them."
        told = f"more options, of a plan: {names}: {asked}"
        return f"\n{folded(told, help_columns(), hang=2)}\n"

    def error(self, message: str) -> NoReturn:
        """Raise UsageError (E051)."""
        said = clip(message.removeprefix("argument "), 400)
        raise UsageError(Diagnostic("E051", f"{said}.", help=_lists(self.prog)))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Raise UsageError (E051) where `value` is none of the choices."""
        # A tuple: 'ab' is in the text 'abc', and is no choice.
        known = tuple(map(str, action.choices or ()))
        if action.choices is None or value in known:
            return
        said = clip(str(value))
        if isinstance(action, argparse._SubParsersAction):
            message, hint = f"there is no verb '{said}'.", _lists(self.prog)
        else:
            message = (
                f"{'/'.join(action.option_strings) or action.metavar}: there is no choice '{said}'."
            )
            hint = f"choices are: {', '.join(known)}."
        hint = did_you_mean(str(value), known) + hint
        raise UsageError(Diagnostic("E051", message, help=hint))


class HelpAll(argparse.Action):
    """`--help-all`: print the help with all options, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        assert isinstance(parser, Parser)
        parser._print_message(parser.format_help(whole=True), sys.stdout)
        parser.exit()


def _place(group: argparse._ArgumentGroup) -> int:
    return LAST.index(group.title) + 1 if group.title in LAST else 0


def _lists(prog: str) -> str:
    return f"'{prog} --help' lists what there is."


def help_columns() -> int:
    """How wide help is, also where nothing bounds it."""
    return min(100, shutil.get_terminal_size().columns - 2)


def parsed(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """What the arguments say; raise UsageError (E051) with the nearest of the verb's options."""
    options, unknown = parser.parse_known_args(arguments)
    if not unknown:
        return options
    verb = verbs_of(parser)[options.verb]
    names = [name for action in verb._actions for name in action.option_strings]
    wrong = next((each for each in unknown if each.startswith("-")), "").split("=")[0]
    # The dashes that all options have make none of them near.
    near = did_you_mean(wrong.lstrip("-"), (name.lstrip("-") for name in names))
    hint = (near.replace("'", "'--", 1) if wrong else "") + _lists(verb.prog)
    message = f"unrecognized arguments: {clip(' '.join(unknown), 400)}."
    raise UsageError(Diagnostic("E051", message, help=hint))


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """The parsers of the verbs, by name."""
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(verbs.choices)


def _of(kind: Number) -> Callable[[str], int | float]:
    """Read a number of that kind."""

    def read(text: str) -> int | float:
        try:
            return kind.read(text)
        except ValueError:
            raise _wrong(kind.description, text) from None

    return read


def _wrong(description: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"must be {description}, not '{clip(text)}'")


count, natural, non_negative, devices = map(_of, (COUNT, NATURAL, NON_NEGATIVE, DEVICES))


def batch(text: str) -> int | float | str:
    """Return a number of images, or `AUTO`."""
    return text if text == AUTO else count(text)


def memory(text: str) -> float:
    """Return bytes: 16GiB, 16GB, 512MiB."""
    try:
        return read_size(text)
    except ValueError:
        raise _wrong(SIZE, text) from None


def add_set(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--set`, which every verb takes that reads a recipe."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="train.NAME=VALUE",
        help="set a value of the recipe, such as train.sgd.lr=0.02, train.epochs=3 or "
        "'train.schedule=cosine(warmup=1)'; 'netc render' shows what there is",
    )  # fmt: skip


def add_skip_bad(group: argparse._ArgumentGroup, default: str = "0") -> None:
    """Add `--skip-bad`, which every verb takes that reads all images of a data set to use them."""
    group.add_argument(
        "--skip-bad", type=natural, default=0, metavar="N",
        help="leave out up to N images that cannot be read; others take their place (default: "
        f"{default})",
    )  # fmt: skip


def file_name(text: str) -> str:
    """Return what can be the name of a file."""
    if not can_name_file(text):
        raise _wrong(f"a path: {PATH_LIMITS}", text)
    return text


def file_name_or_none(text: str) -> str:
    """Return a name, or the empty text for none."""
    return text and file_name(text)


def spare(output: str | None, *read: str | Path | None) -> None:
    """Raise UsageError (E051) where an output would replace a file that the command reads."""
    for each in read:
        with contextlib.suppress(OSError):
            if output is not None and each is not None and os.path.samefile(output, each):
                message = f"'{output}' is read by this command, which would replace it."
                raise UsageError(Diagnostic("E051", message, help="name another file."))


OUTPUTS = ("output", "save_strategy")
"""Options of any verb that name a file to write."""


def check_outputs(options: argparse.Namespace) -> None:
    """Refuse, before anything is computed, files that could not be written after; raises as
    `check_writable`.
    """
    for name in OUTPUTS:
        if (given := getattr(options, name, None)) is not None:
            check_writable(Path(given))
