"""`netc`: the verbs, their options, and what becomes of errors.

Heavy modules are imported by the verbs that need them, so that `netc --help` answers at once.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import sys
from collections.abc import Sequence
from functools import partial

from netc import __version__
from netc.cli.arguments import (
    OUTPUTS,
    HelpAll,
    Parser,
    add_set,
    add_skip_bad,
    check_outputs,
    count,
    file_name,
    file_name_or_none,
    help_columns,
    natural,
    non_negative,
    parsed,
)
from netc.cli.help import example_text, verbs_text
from netc.cli.other_options import ADDED
from netc.cli.plan_options import RUNNING, add_diff, add_explain, add_plan, planning_options
from netc.cli.streams import OutputError, standard_streams
from netc.errors import NetError, UsageError, columns_of, render, wants_color
from netc.ir.programs import PROGRAMS
from netc.stages import staged, timed_stages

# Where the process ends nothing is collected: of Numba's objects that takes a quarter of a second.
atexit.register(gc.freeze)
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
VERBS = {
    "check": "parse a network and infer all shapes",
    "fmt": "write networks in the canonical layout",
    "render": "the recipe of a network in force, with every default, as a train block",
    "summary": "layers, parameters and multiply-adds of a network",
    "compile": "split a network over devices and compile it",
    "compare": "predict strategies, schemes and numbers of devices beside each other",
    "diff": "two plans of a network, where they differ and what each costs",
    "explain": "what every layer of a plan costs, and what bounds it",
    "plan": "draw the plan as a picture, or as a page to look around in",
    "data": "read a data set once: what is in it, and which of its images are bad",
    "run": "train a network, or a compiled program",
    "eval": "loss and accuracy of trained weights over the held-out images",
    "predict": "the most likely classes of pictures",
    "report": "a page of a training: curves, confused classes, worst predictions, filters",
    "profile": "measure every layer of a training step, and what bounds it",
    "trace": "what a trace of a run says: who waits for whom, where predictions are off",
    "export": "write a network with its weights as ONNX, or the weights as safetensors",
    "import": "read a network with its weights from ONNX",
    "tune": "time the kernels that a plan could use, and choose by them from then on",
    "calibrate": "measure this machine, and predict by that from then on",
    "doctor": "versions, devices, and what is missing",
    "completion": "a script by which a shell completes verbs, options and names",
}
"""Verbs and what they do; each lives in a module `netc.cli.<verb>_` with a function `run`."""
WORDY = (
    "check", "summary", "data", "compile", "compare", "diff", "explain", "plan", "tune", *RUNNING
)  # fmt: skip
"""Verbs whose help ends with lists of words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    with standard_streams() as output:
        try:
            code = _attempt(given)
            sys.stdout.flush()
        except OutputError:
            code = EXIT_FAILED
        if output.problem is None:
            return code
        # Whoever read us and went away has enough; nobody wants to hear of that.
        if not isinstance(output.problem, BrokenPipeError):
            print(output.error(), file=sys.stderr)
        return EXIT_FAILED


def _attempt(arguments: list[str]) -> int:
    """Run one verb, and show a user's mistake; anything else is ours and keeps its traceback."""
    try:
        if not arguments:
            print(parser().format_help(), end="", file=sys.stderr)
            return UsageError.exit_code
        options = parsed(parser(), arguments)
        _check_outputs(options)
        with timed_stages():
            return _verb(options)
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OutputError:
        raise
    except NetError as error:
        _give_up(error.exit_code)
        _report(error, "--json" in arguments)
        return error.exit_code
    except Exception:
        _give_up(EXIT_FAILED)
        raise


def _verb(options: argparse.Namespace) -> int:
    with staged("import"):
        module = importlib.import_module(f"netc.cli.{options.verb}_")
    code: int = module.run(options)
    return code


def _check_outputs(options: argparse.Namespace) -> None:
    """Of several processes the first one writes."""
    if any(getattr(options, name, None) is not None for name in OUTPUTS):
        # Imported here: 'netc --help' needs none of it.
        from netc_runtime.choose import is_first

        if is_first():
            check_outputs(options)


def _report(error: NetError, as_json: bool) -> None:
    """Show what was done wrongly."""
    if not as_json:
        color, columns = wants_color(sys.stderr), columns_of(sys.stderr)
        print(render(error.diagnostics, color=color, columns=columns), file=sys.stderr)
        return
    from netc.cli.output import json_line

    found = [
        {"code": d.code, "message": d.message, "place": d.span.origin if d.span else None,
         "notes": [*(d.span.trail if d.span else ()), *d.notes], "help": d.help}
        for d in error.diagnostics
    ]  # fmt: skip
    json_line(event="error", exit_code=error.exit_code, diagnostics=found)


def _give_up(code: int) -> None:
    """Leave it to the first of several processes to say what is wrong, and end all."""
    from netc_runtime.choose import give_up

    give_up(code)


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="netc",
        usage="netc VERB [options] ...",
        description="Compiles convolutional networks for many devices, and runs them.\n"
        + verbs_text(VERBS, help_columns()),
        epilog="A network is a path or a shipped name: models/vgg16.net, or vgg16.\n"
        "'netc VERB --help' says what a verb takes, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"netc {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        _add_verb(verbs, verb)
    _compile(verbs.choices["compile"])
    _compare(verbs.choices["compare"])
    add_diff(verbs.choices["diff"])
    add_plan(verbs.choices["plan"])
    add_explain(verbs.choices["explain"])
    _data(verbs.choices["data"].add_argument_group("images"))
    _render(verbs.choices["render"].add_argument_group("training"))
    _run(verbs.choices["run"])
    _predict(verbs.choices["predict"])
    _profile(verbs.choices["profile"])
    _export(verbs.choices["export"])
    for verb, add in ADDED.items():
        add(verbs.choices[verb])
    return top


def _add_verb(verbs: argparse._SubParsersAction[Parser], verb: str) -> None:
    """A verb with what it shares with others."""
    about = VERBS[verb]
    sub = verbs.add_parser(
        verb, help=about, description=about[0].upper() + about[1:] + ".", prog=f"netc {verb}",
        add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    sub.example = example_text(verb)
    goal = "inference" if verb in ("eval", "predict") else "training"
    sub.set_defaults(runs=verb in RUNNING, goal=goal)
    if verb not in (*ADDED, "doctor"):
        _network(sub, verb)
    if verb == "diff":
        for place in ("first", "second"):
            sub.add_argument(place, type=file_name, metavar="PLAN",
                             help=f"the {place} strategy, or its file")  # fmt: skip
    if verb in ("compile", "compare", "diff", "explain", "plan", "tune", *RUNNING):
        planning_options(sub, verb)
    if verb in WORDY:
        sub.words = partial(_words, verb)
    if verb in RUNNING:
        _running(sub, verb)
    _general(sub)


def _general(sub: Parser) -> None:
    """What every verb takes."""
    group = sub.add_argument_group("general")
    group.add_argument("--json", action="store_true", help="one JSON object a line, nothing else")
    group.add_argument("-h", "--help", action="help", help="show this help, and exit")
    if sub.folded:
        group.add_argument("--help-all", action=HelpAll, nargs=0, help="the same with all options")


def _words(verb: str) -> str:
    # Imported here: it imports the whole language.
    from netc.cli.words import words_of

    return words_of(verb)


def _network(sub: argparse.ArgumentParser, verb: str) -> None:
    what = "network, or compiled program" if verb in RUNNING else "network"
    sub.add_argument(
        "network", type=file_name, metavar="NET", help=f"{what}: a path, or a shipped name"
    )
    sub.add_argument(
        "-D", dest="define", action="append", default=[], metavar="NAME=VALUE",
        help="set a parameter of the network",
    )  # fmt: skip
    add_set(sub)


def _compare(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("comparison")
    group.add_argument(
        "--weak", action="store_true", help="the batch is a device's, and grows with them"
    )
    group.add_argument(
        "--crossover", metavar="S,S",
        help="in place of the table: up to which batch the first strategy is better",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", type=file_name, metavar="FILE",
        help="a plot of speedups: FILE.svg, .pdf or .png",
    )  # fmt: skip
    sub.set_defaults(devices=None, mesh=None, strategy=None, save_strategy=None)


def _compile(sub: argparse.ArgumentParser) -> None:
    from_passes = "a pass, such as insert-comm"
    sub.add_argument(
        "-o", "--output", type=file_name, metavar="FILE", help="write the compiled program"
    )
    sub.add_argument(
        "--emit", choices=("network", "graph", "plan", "program"),
        help="print that value in place of the table",
    )  # fmt: skip
    sub.add_argument(
        "--print-after", action="append", default=[], metavar="PASS",
        help=f"print the result of {from_passes}",
    )  # fmt: skip
    sub.add_argument(
        "--program", choices=PROGRAMS,
        help="whose values --emit and --print-after print (default: the one that is planned for)",
    )  # fmt: skip
    sub.add_argument(
        "--time-passes", action="store_true", help="print what each pass and its verifier took",
    )  # fmt: skip


def _running(sub: argparse.ArgumentParser, verb: str) -> None:
    group = sub.add_argument_group("program")
    backends = ("cpu", "null", "cuda") if verb == "run" else ("cpu", "cuda")
    group.add_argument("--backend", choices=backends, help="default: what is there")
    group.add_argument(
        "--share-gpus", action="store_true", help="put all devices on one GPU, in one process"
    )
    group.add_argument(
        "--no-graph", action="store_true", help="issue every step anew, not as a CUDA graph"
    )
    if verb == "profile":
        return
    _data(group)
    group.add_argument(
        "--out", type=file_name, metavar="DIR", help="metrics and checkpoints (default runs/NAME)"
    )
    if verb == "eval":
        add_skip_bad(group)
    _weights(group, "fresh ones" if verb == "run" else "the newest in --out")


def _data(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data", metavar="DATA", help="a file or folder, or a data set such as 'synthetic()'"
    )


def _weights(group: argparse._ArgumentGroup, default: str) -> None:
    group.add_argument(
        "--weights", type=file_name, metavar="PATH",
        help=f"a .safetensors file, or a folder for its newest checkpoint (default: {default})",
    )  # fmt: skip
    group.add_argument(
        "--allow-missing", action="append", default=[], metavar="PATTERN",
        help="weights that the file may lack, or have in another shape; they get initial values",
    )  # fmt: skip
    group.add_argument(
        "--allow-unexpected", action="append", default=[], metavar="PATTERN",
        help="tensors of the file that no layer has",
    )  # fmt: skip


def _predict(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "images", type=file_name, nargs="+", metavar="IMAGE", help="pictures: .png, .jpg, ..."
    )
    group = sub.add_argument_group("classes")
    group.add_argument("--top", type=count, default=5, metavar="N", help="classes a picture gets")
    group.add_argument("--classes", type=file_name, metavar="FILE", help="their names, one a line")


def _profile(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("measuring")
    group.add_argument("--steps", type=count, default=10, metavar="N", help="to time (default 10)")
    group.add_argument(
        "--launches", action="store_true", help="a row for every launch, with its kernels"
    )
    group.add_argument(
        "-o",
        "--output",
        type=file_name,
        metavar="FILE",
        help="a roofline of the rows: FILE.svg, .pdf or .png",
    )


def _export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "-o",
        "--output",
        type=file_name,
        required=True,
        metavar="FILE",
        help="FILE.onnx or FILE.safetensors",
    )
    group = sub.add_argument_group("file")
    group.add_argument("--format", choices=("onnx", "safetensors"), help="default: by the suffix")
    group.add_argument("--batch", type=count, metavar="N", help="fix ONNX's batch (default: open)")
    group.add_argument(
        "--names", choices=("torch", "netc"), help="of weights in safetensors (default torch)"
    )
    group = sub.add_argument_group("weights")
    _weights(group, "initial values")
    group.add_argument("--seed", type=natural, metavar="N", help="of initial values")


def _render(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--batch", type=count, metavar="N", help="images of a step")
    _recipe(group)
    _data(group)


def _recipe(group: argparse._ArgumentGroup) -> None:
    """What a training takes in place of the recipe's."""
    group.add_argument("--epochs", type=count, metavar="N", help="passes over the data")
    group.add_argument(
        "--lr", type=non_negative, metavar="RATE",
        help="base learning rate (of rate_batch images, where the recipe says so)",
    )  # fmt: skip
    group.add_argument("--seed", type=natural, metavar="N", help="of every random number")


def _run(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("training")
    _recipe(group)
    group.add_argument("--steps", type=count, metavar="N", help="stop after so many steps")
    group.add_argument(
        "--resume", type=file_name_or_none, nargs="?", const="", metavar="PATH",
        help="go on from a checkpoint, or from the newest in a folder (default --out); auto: from "
        "the newest in --out that is whole, and begin where there is none",
    )  # fmt: skip
    group.add_argument(
        "--replace",
        action="store_true",
        help="remove the training that is in --out, and begin anew",
    )
    add_skip_bad(group)
    group.add_argument(
        "--keep", type=count, metavar="N",
        help="so many of the newest checkpoints, besides the best (default 3)",
    )  # fmt: skip
    group.add_argument(
        "--save-every", type=count, metavar="N",
        help="a checkpoint after every N steps too, not after epochs alone",
    )  # fmt: skip
    group.add_argument(
        "--on-nan", choices=("stop", "rollback"), default="stop",
        help="where a number is not finite: stop (the default), or go back to the last checkpoint, "
        "and on behind that batch at half the rate, three times at most",
    )  # fmt: skip
    group.add_argument(
        "--patience", type=count, metavar="N",
        help="end after so many epochs without a better test accuracy",
    )  # fmt: skip
    group.add_argument(
        "--dry-run", action="store_true", help="show what every device would hold, and run nothing"
    )
    group.add_argument("--plain", action="store_true", help="lines in place of a live display")
    group.add_argument("--quiet", action="store_true", help="say what came of it, and no more")
    group.add_argument(
        "--report", action="store_true", help="write a page of the training at its end"
    )
    group.add_argument(
        "--trace", type=file_name, metavar="FILE.json",
        help="write when every instruction of a step ran, measured and predicted, for Perfetto or "
        "'netc trace'",
    )  # fmt: skip
    group.add_argument(
        "--trace-steps", type=count, metavar="N", help="how many steps are traced (default 1)"
    )


if __name__ == "__main__":
    sys.exit(main())
