"""Program files: the one way in for a bundle that nobody vouches for."""

from __future__ import annotations

from netc.ir.facts import check_facts
from netc.ir.plain import TextError
from netc.ir.program import Bundle
from netc.ir.text import parse_bundle
from netc.ir.verify import VerifyError, verify_bundle


def read_bundle(content: bytes) -> Bundle:
    """The bundle that a file holds: whole, with all its facts, and sound.

    Raises TextError, which names the line or the instruction, where it is none that a compiler
    makes. Nothing but the file's own size decides how much memory and time that takes.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"byte {error.start} is no UTF-8") from None
    bundle = parse_bundle(text)
    check_facts(bundle)
    try:
        verify_bundle(bundle)
    except VerifyError as problem:
        raise TextError(str(problem)) from None
    return bundle
