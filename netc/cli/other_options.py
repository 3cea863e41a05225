"""Options of the verbs that take no network to plan or to run."""

from __future__ import annotations

import argparse

from netc.cli.arguments import add_set, add_skip_bad, count, devices, file_name


def add_calibrate(sub: argparse.ArgumentParser) -> None:
    """What `netc calibrate` takes."""
    sub.add_argument(
        "networks", type=file_name, nargs="*", metavar="NET",
        help="what to measure: paths or shipped names (default alexnet and resnet18)",
    )  # fmt: skip
    group = sub.add_argument_group("measuring")
    group.add_argument(
        "--devices", type=devices, metavar="N",
        help="at most so many, besides 1, 2, 4, ... (default: the GPUs, or cores, that are here)",
    )  # fmt: skip
    group.add_argument(
        "--batch", type=count, metavar="N", help="images of a step (default 8, on GPUs 128)"
    )
    group.add_argument("--steps", type=count, default=5, metavar="N", help="to time (default 5)")
    group.add_argument("--precision", choices=("fp32", "tf32", "bf16"), help="default fp32")
    group.add_argument("--kernels", metavar="K", help="as of the other verbs")
    group.add_argument("--backend", choices=("cpu", "cuda"), help="default: what is there")
    group.add_argument(
        "--only", choices=("exchanges", "steps"),
        help="measure that part anew, and keep the rest as it was measured before",
    )  # fmt: skip
    group.add_argument(
        "--share-gpus", action="store_true", help="put all devices on one GPU: launches only"
    )
    group.add_argument(
        "-D", dest="define", action="append", default=[], metavar="NAME=VALUE",
        help="set a parameter of the networks",
    )  # fmt: skip
    add_set(group)
    group.add_argument(
        "-o", "--output", type=file_name, metavar="FILE.toml",
        help="a cluster file (default: this machine's own, which is then the one to plan for)",
    )  # fmt: skip
    # What is measured is the machine at hand, by the plans of every strategy.
    sub.set_defaults(
        runs=True, cluster=None, mesh=None, search_labels=None, no_share=False,
        exact_memory=False, pin=[], scheme=None, fc_update=None, updates=None,
        save_strategy=None, no_graph=False, memory=None, recompute=None,
    )  # fmt: skip


def add_import(sub: argparse.ArgumentParser) -> None:
    """What `netc import` takes."""
    sub.add_argument("model", type=file_name, metavar="FILE.onnx", help="a path")
    sub.add_argument(
        "-o", "--output", type=file_name, required=True, metavar="X.net",
        help="the network; the weights go into X.safetensors",
    )  # fmt: skip
    sub.add_argument("--replace", action="store_true", help="write over files that are there")


def add_fmt(sub: argparse.ArgumentParser) -> None:
    """What `netc fmt` takes."""
    sub.add_argument(
        "files", type=file_name, nargs="+", metavar="FILE",
        help="networks, written in place; '-' reads standard input and prints",
    )  # fmt: skip
    sub.add_argument(
        "--check", action="store_true",
        help="write nothing: name the files that would change, and exit with 1 if any would",
    )  # fmt: skip


def add_completion(sub: argparse.ArgumentParser) -> None:
    """What `netc completion` takes."""
    sub.add_argument(
        "shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish"
    )


def add_trace(sub: argparse.ArgumentParser) -> None:
    """What `netc trace` takes."""
    sub.add_argument("file", type=file_name, metavar="FILE.json", help="of 'netc run --trace'")
    sub.add_argument(
        "--top", type=count, default=10, metavar="N",
        help="how many waits, and layers, are shown (default 10)",
    )  # fmt: skip


def add_report(sub: argparse.ArgumentParser) -> None:
    """What `netc report` takes."""
    sub.add_argument("folder", type=file_name, metavar="RUN", help="the folder of a training")
    group = sub.add_argument_group("report")
    group.add_argument(
        "-o", "--output", type=file_name, metavar="FILE.html", help="default RUN/report.html"
    )
    group.add_argument(
        "--tensorboard", type=file_name, metavar="DIR",
        help="write the metrics as TensorBoard's event files into a folder, too",
    )  # fmt: skip
    group.add_argument(
        "--no-evaluation", action="store_true", help="leave out what needs the held-out images"
    )
    group = sub.add_argument_group("evaluation")
    group.add_argument(
        "--network", type=file_name, metavar="NET",
        help="network, or compiled program (default: what the training was given)",
    )  # fmt: skip
    group.add_argument(
        "-D", dest="define", action="append", default=[], metavar="NAME=VALUE",
        help="set a parameter of the network (default: as the training)",
    )  # fmt: skip
    group.add_argument(
        "--data", metavar="CALL", help="data set, such as 'idx(\"folder\")' (default: the same)"
    )
    add_skip_bad(group, "as the training")
    group.add_argument("--backend", choices=("cpu", "cuda"), help="default: what is there")
    # It is evaluated as by `netc eval`, on one device.
    sub.set_defaults(
        runs=True, goal="inference", set=[], batch=None, devices=None, mesh=None, strategy=None,
        scheme=None, fc_update=None, updates=None, pin=[], precision=None, kernels=None,
        cluster=None, memory=None, recompute=None, search_labels=None, no_share=False,
        exact_memory=False, save_strategy=None, share_gpus=False, no_graph=False, weights=None,
        allow_missing=[], allow_unexpected=[],
    )  # fmt: skip


ADDED = {
    "import": add_import,
    "calibrate": add_calibrate,
    "fmt": add_fmt,
    "completion": add_completion,
    "trace": add_trace,
    "report": add_report,
}
"""By verb what adds its options."""
