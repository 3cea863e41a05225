"""netc's side of strategies.py and scaling.py: programs of a network, in memory at once.

The first argument is a `Case` in JSON. Says what it has, in the order of the strategies, and then
answers lines of standard input, each with a line of JSON:

    burst PLACE STEPS    seconds of a step of that many, one begun behind the other
    losses PLACE STEPS   of so many steps from initial weights, on the same made-up images
    launches PLACE       waits for exchanges of the first device, and its launches

On several GPUs there is a process for each, started by the first one, which alone reads and writes.
"""

from __future__ import annotations

import io
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc import __version__
from netc.api.running import open_session
from netc.cli.main import parser
from netc.cli.session import choose, load_bundle
from netc.cost import launch_text, setting
from netc.errors import NetError
from netc.ir.calls import calls_of, variants_of
from netc.ir.clock import simulate
from netc.ir.program import Bundle
from netc.work import launch_bytes, launch_flops
from netc_runtime.choose import BackendChoice, join_ranks
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.measure.profile import warm_up
from netc_runtime.session import Session

RATE = 0.001
"""Of steps whose losses are compared: they move by it, but do not explode, which would make much of
rounding."""


@dataclass(frozen=True)
class Case:
    """What is to be in memory."""

    network: str
    """A shipped name, or a file."""
    batch: int
    """Images of a step, over all devices."""
    devices: int
    precision: str
    strategies: tuple[str, ...]
    """What `--strategy` takes, each with further options of `netc run` behind it."""
    cluster: str | None = None
    """Default: this machine, if it was calibrated."""
    backend: str | None = None
    share_gpus: bool = False

    def words(self, strategy: str) -> list[str]:
        """The command line of a program."""
        given = {"--cluster": self.cluster, "--backend": self.backend}
        return ["run", self.network, "--batch", str(self.batch), "--devices", str(self.devices),
                "--precision", self.precision, "--json",
                *(word for name, value in given.items() if value for word in (name, value)),
                *(["--share-gpus"] if self.share_gpus and self.devices > 1 else []),
                "--strategy", *shlex.split(strategy)]  # fmt: skip


@dataclass
class Made:
    """A program, or why it cannot be made."""

    facts: dict[str, Any]
    bundle: Bundle | None = None


def made(case: Case, strategy: str) -> tuple[Made, BackendChoice | None]:
    """Compile one program."""
    try:
        asked = parser().parse_args(case.words(strategy))
        # A search tells what it found; this process's lines are answers.
        with redirect_stdout(io.StringIO()):
            bundle = load_bundle(asked)
        choice = choose(asked, bundle)
    except NetError as problem:
        return Made({"strategy": strategy, "failed": problem.diagnostics[0].message}), None
    facts, seconds = bundle.facts, simulate(bundle.train).seconds
    threads = facts.threads or facts.blas_threads
    known = setting(facts.target, facts.precision, facts.kernels, threads, case.devices)
    told = {"strategy": strategy, "scheme": facts.scheme, "predicted": seconds, "setting": known}
    return Made(told, bundle), choice


def main() -> None:
    """Compile, warm up, answer."""
    told = json.loads(sys.argv[1])
    case = Case(**{**told, "strategies": tuple(told["strategies"])})
    found = [made(case, strategy) for strategy in case.strategies]
    programs = [each for each, _ in found]
    choice = next((choice for _, choice in found if choice is not None), None)
    first = next((each.bundle for each in programs if each.bundle is not None), None)
    if first is None or choice is None:
        say({"programs": [each.facts for each in programs]})
        return
    ranks = join_ranks(first, choice)
    sessions = [opened(each.bundle, choice, ranks) for each in programs]
    everyone: Ranks = ranks or Alone()
    if not everyone.rank:
        say({"netc": __version__, "programs": [each.facts for each in programs]})
    while words := everyone.share(None if everyone.rank else sys.stdin.readline().split()):
        session = sessions[int(words[1])]
        assert session is not None, "asked for a program that could not be made"
        answer = ANSWERS[words[0]](session, *map(int, words[2:]))
        if not everyone.rank:
            say(answer)
    for session in filter(None, sessions):
        session.close()
    everyone.close()


def opened(bundle: Bundle | None, choice: BackendChoice, ranks: Ranks | None) -> Session | None:
    """A program on its devices, warm."""
    if bundle is None:
        return None
    session = open_session(choice, bundle if ranks is None else ranks.agree(bundle), ranks)
    warm_up(session)
    return session


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


def burst(session: Session, steps: int) -> float:
    """Seconds of a step."""
    began = time.perf_counter()
    for _ in range(steps - 1):
        session.train.start()
    session.train.run()
    return (time.perf_counter() - began) / steps


def losses(session: Session, steps: int) -> list[float]:
    """Of the first steps of a training on one made-up batch, alike for every split."""
    rng = np.random.default_rng(0)
    pixels = sum(math.prod(port.shape[1:]) for port in session.images)
    images = rng.standard_normal((session.batch, pixels)).astype(session.dtype)
    labels = rng.integers(session.bundle.facts.classes, size=session.batch)
    session.initialize(0)
    found = [
        float(session.step(images, labels, step=n, seed=0, learning_rate=RATE)["loss"])
        for n in range(steps)
    ]
    # Rates are zero again, so that no number grows out of bounds while steps are timed.
    warm_up(session)
    return found


def launches(session: Session) -> dict[str, Any]:
    """Seconds that computing waits, and text, seconds, operations and bytes of each launch."""
    timing, program = session.train.measure(5), session.bundle.train
    return {"exposed": timing.exposed_seconds, "launches": table(program, timing.launches)}


def table(program: Any, seconds: Mapping[int, float]) -> list[list[Any]]:
    """Text, seconds, operations and bytes of each launch of a step that was measured."""
    found = ((program.instructions[number], each) for number, each in seconds.items())
    return [
        [launch_text(calls_of(program, one), variants_of(one)), each, launch_flops(one),
         launch_bytes(program, one)]
        for one, each in found
    ]  # fmt: skip


ANSWERS: dict[str, Callable[..., Any]] = {
    "burst": burst, "losses": losses, "launches": launches,
}  # fmt: skip

if __name__ == "__main__":
    main()
