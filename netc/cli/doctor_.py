"""`netc doctor`: versions, devices, and what is missing with the way to get it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from netc.api.doctor import doctor
from netc.cli.output import json_line, say
from netc.errors import columns_of


def run(options: argparse.Namespace) -> int:
    """Look at everything; exit 1 where something that netc needs is missing."""
    found = doctor()
    if options.json:
        for each in found.findings:
            json_line(event="finding", **asdict(each))
        json_line(event="result", ok=not found.missing, missing=list(found.missing))
    else:
        print(found.table(columns_of(sys.stdout)))
        say(f"\n{found.footing}")
    return 1 if found.missing else 0
