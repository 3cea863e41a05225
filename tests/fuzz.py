"""Feed netc hostile input: `python tests/fuzz.py KIND --cases N --seed S`.

Every case has its own random numbers, keyed by seed and number, and runs in a child process bounded
in time and memory; one that crashes is named, and the next ones go on in a new child. Prints how
many cases ended in which way, and each fault with the command that repeats it. Exit code 1 where
there was one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TextIO

CASE_SECONDS = 30
MEMORY_BYTES = 6 << 30
SHOWN_FAULTS = 20
FOLDER = Path(__file__).parent / "fuzzing"
KINDS = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)])
               if not module.name.startswith(("_", "test_")))  # fmt: skip


class Case(Protocol):
    """One hostile input, made and read."""

    def __call__(self, rng: np.random.Generator, folder: Path) -> str: ...


def main() -> int:
    options = _parser().parse_args()
    numbers = (
        range(options.cases) if options.only is None else range(options.only, options.only + 1)
    )
    outcomes: Counter[str] = Counter()
    faults = 0
    for number, outcome, fault in _outcomes(options.kind, options.seed, numbers):
        outcomes[outcome] += 1
        if fault:
            faults += 1
            if faults <= SHOWN_FAULTS:
                again = f"python tests/fuzz.py {options.kind} --seed {options.seed} --only {number}"
                print(f"fault: {again}\n{fault}", flush=True)
    shown = ", ".join(f"{word} {count}" for word, count in sorted(outcomes.items()))
    print(f"{options.kind}, seed {options.seed}: {len(numbers)} cases, {faults} faults ({shown})")
    return int(faults > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="CASE", help="one case, by its number")
    return parser


def _outcomes(kind: str, seed: int, numbers: range) -> Iterator[tuple[int, str, str]]:
    """Each case's number, its outcome, and what is wrong ("" if nothing is)."""
    case: Case = importlib.import_module(f"fuzzing.{kind}").case
    next_number = numbers.start
    while next_number < numbers.stop:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with open(writing, "w") as told:
                _run_cases(case, seed, range(next_number, numbers.stop), told)
            os._exit(0)
        os.close(writing)
        with open(reading) as told:
            for line in told:
                outcome, fault = (
                    part.replace("\\n", "\n") for part in line.rstrip("\n").split("\t")
                )
                yield next_number, outcome, fault
                next_number += 1
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if next_number < numbers.stop:
            yield next_number, "crash", _death(status)
            next_number += 1


def _death(status: int) -> str:
    if status == -signal.SIGALRM:
        return f"took more than {CASE_SECONDS} s"
    return f"the process died: {signal.Signals(-status).name if status < 0 else status}"


def _run_cases(case: Case, seed: int, numbers: range, told: TextIO) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    for number in numbers:
        signal.alarm(CASE_SECONDS)
        outcome, fault = _attempt(case, np.random.default_rng([seed, number]))
        signal.alarm(0)
        told.write("\t".join((outcome, fault.replace("\t", " ").replace("\n", "\\n"))) + "\n")
        told.flush()


def _attempt(case: Case, rng: np.random.Generator) -> tuple[str, str]:
    folder = Path(tempfile.mkdtemp(prefix="netc-fuzz-"))
    try:
        return case(rng, folder), ""
    except NetError as error:
        str(error)
        return error.diagnostics[0].code, ""
    except BaseException:
        return "fault", traceback.format_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# What is measured on this machine must not decide what a case does.
os.environ["NETC_CACHE"] = os.path.join(tempfile.gettempdir(), "no-cache-of-netc")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

from netc.errors import NetError  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
