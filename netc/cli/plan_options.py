"""Options of the verbs that plan a network for devices."""

from __future__ import annotations

import argparse

from netc.api.choices import (
    FC_UPDATES,
    GOALS,
    KERNELS,
    PRECISIONS,
    SCHEMES,
    TARGETS,
    UPDATES,
)
from netc.cli.arguments import Parser, batch, count, devices, file_name, memory
from netc.cli.help import SHOWN

RUNNING = ("run", "eval", "predict", "profile")
"""Verbs that run programs; they take compiled ones too."""


def planning_options(sub: Parser, verb: str) -> None:
    """What verbs that plan take, in a group of its own."""
    group = sub.add_argument_group("plan")
    _devices_and_strategy(group, verb)
    group.add_argument(
        "--batch", type=count if verb == "compare" else batch, metavar="N",
        help="images of a step, on all devices"
        + ("" if verb == "compare" else "; 'auto' is the largest that fits the memory"),
    )  # fmt: skip
    group.add_argument(
        "--memory", type=memory, metavar="SIZE",
        help="of a device, such as 16GiB (default: what the machine has)",
    )  # fmt: skip
    _search_options(group)
    _step_options(group)
    shows = ", and show which run" if verb == "explain" else ""
    group.add_argument(
        "--kernels", choices=KERNELS,
        nargs="?" if shows else None, const="auto" if shows else None,
        help="on the CPU fast ones, NumPy's (reference) or by the size of a step (auto, default); "
        f"on GPUs hand-written ones (native), cuDNN's (vendor) or either (auto){shows}",
    )  # fmt: skip
    group.add_argument(
        "--cluster",
        type=file_name,
        metavar="C",
        help="machine to plan for: a path or shipped name (default local)",
    )
    if verb not in RUNNING:
        group.add_argument(
            "--goal", choices=GOALS, default=GOALS[0],
            help="whose step is planned for (default: %(default)s)",
        )  # fmt: skip
        group.add_argument("--backend", choices=TARGETS, help="what to compile for (default cpu)")
    if verb not in ("compare", "diff"):
        group.add_argument(
            "--save-strategy", type=file_name, metavar="FILE", help="write the chosen splits"
        )
    sub.folded = tuple(a for a in group._group_actions if set(SHOWN).isdisjoint(a.option_strings))


def _search_options(group: argparse._ArgumentGroup) -> None:
    """What is left to a search, and what is not."""
    group.add_argument(
        "--search-labels", metavar="L", help="what 'auto' may split by, such as n,k (n,k,c,h,w)"
    )
    group.add_argument(
        "--no-share", action="store_true", help="let 'auto' split equal blocks differently"
    )
    group.add_argument(
        "--exact-memory", action="store_true",
        help="where the fastest plans do not fit, let 'auto' find the best that does exactly, by "
        "sets of (seconds, bytes), not by a price of bytes; takes longer",
    )  # fmt: skip
    group.add_argument(
        "--pin", action="append", default=[], metavar="PATTERN=SPLIT",
        help="the split of some layers: n, k, c, h, w, r (everywhere), @0 (one device)",
    )  # fmt: skip


def _step_options(group: argparse._ArgumentGroup) -> None:
    """How a step exchanges, updates, keeps values and computes."""
    group.add_argument("--scheme", choices=SCHEMES, help="exchange at the boundary (default a)")
    group.add_argument(
        "--fc-update", choices=FC_UPDATES,
        help="when model-split weights move (default step)",
    )  # fmt: skip
    group.add_argument(
        "--updates", choices=UPDATES,
        help="whether devices with the same weights update all of them each, or a shard "
        "(default replicated; 'auto' may take either)",
    )  # fmt: skip
    group.add_argument(
        "--recompute", metavar="L,L",
        help="layers, or patterns of them, whose values are not kept for the backward pass but "
        "computed again; 'auto': as few as make the plan fit; 'all': what needs least memory; "
        "default none",
    )  # fmt: skip
    group.add_argument(
        "--precision", choices=PRECISIONS,
        help="default fp32; tf32 and bf16 run on the cuda backend",
    )  # fmt: skip


def _devices_and_strategy(group: argparse._ArgumentGroup, verb: str) -> None:
    """One plan's, or the lists that are compared; the two of a difference are arguments."""
    if verb == "compare":
        group.add_argument(
            "--devices", dest="devices_list", metavar="N,N", help="such as 1,2,4 (default 1,2,4,8)"
        )
        group.add_argument(
            "--strategies", metavar="S,S", help="some of those below (default all), or files"
        )
    else:
        group.add_argument(
            "--devices", type=devices, metavar="N", help="devices in a row (default 1)"
        )
        group.add_argument("--mesh", metavar="AxB", help="devices on two axes, such as 2x2")
        if verb != "diff":
            group.add_argument(
                "--strategy",
                type=file_name,
                metavar="S",
                help="one of those below, or a strategy file (default auto)",
            )


def add_diff(sub: argparse.ArgumentParser) -> None:
    """What `netc diff` takes besides."""
    sub.set_defaults(save_strategy=None, strategy=None)
    sub.add_argument(
        "-o", "--output", type=file_name, metavar="FILE.html",
        help="both plans beside each other, as a page",
    )  # fmt: skip
    _alternatives(sub)


def add_plan(sub: argparse.ArgumentParser) -> None:
    """What `netc plan` takes besides."""
    _alternatives(sub)
    sub.add_argument(
        "--phases", action="store_true",
        help="draw the forward and the backward pass as two lanes, in a picture",
    )  # fmt: skip
    sub.add_argument(
        "-o",
        "--output",
        type=file_name,
        required=True,
        metavar="FILE",
        help="FILE.html, .svg, .pdf, .png, .dot or .json",
    )
    sub.add_argument(
        "--trace", type=file_name, metavar="FILE.json",
        help="draw a step that 'netc run --trace' measured below the predicted one, on a page",
    )  # fmt: skip


def _alternatives(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--alternatives", action="store_true",
        help="price other splits for a page also where that takes long",
    )  # fmt: skip


def add_explain(sub: argparse.ArgumentParser) -> None:
    """What `netc explain` takes besides."""
    sub.add_argument(
        "--layer", metavar="PATTERN",
        help="price the splits that these layers could have, and say what their exchanges hide "
        "behind",
    )  # fmt: skip
