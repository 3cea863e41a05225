"""The grammar, the tables made of it, and what starting costs."""

import subprocess
import sys
from pathlib import Path

import netc.syntax
from netc.syntax.generate import build_tables

FOLDER = Path(netc.syntax.__file__).parent


def test_the_grammar_has_no_conflicts_and_the_tables_are_of_it() -> None:
    made = build_tables()  # Built with Lark's strict=True: a conflict raises.
    assert made == (FOLDER / "tables.json").read_text(), "run python -m netc.syntax.generate"


def test_parsing_needs_no_lark() -> None:
    code = (
        "import sys; from netc.syntax import parse_text;"
        "parse_text('net n\\ninput i 1x8x8\\nfc 3 | softmax_loss');"
        "sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
