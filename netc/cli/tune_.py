"""`netc tune`: time the kernels that a plan could use, and keep the times."""

from __future__ import annotations

import argparse
from functools import partial

from netc.api.tune import TimedCall, kernels_to_tune, tuned
from netc.cli.common import plan_choices, request
from netc.cli.output import json_line, say


def run(options: argparse.Namespace) -> int:
    """Compile, time what could be chosen otherwise, and write the table."""
    options.kernels = kernels_to_tune(plan_choices(options))
    found = tuned(request(options), partial(_tell, options))
    if options.json:
        json_line(event="result", calls=len(found.calls), table=str(found.path))
    else:
        say(found.footing)
    return 0


def _tell(options: argparse.Namespace, found: TimedCall) -> None:
    if options.json:
        call = found.call
        json_line(event="call", kernel=call.kernel, operands=call.operands, result=call.result,
                  seconds=found.seconds)  # fmt: skip
    else:
        say(found.text)
