"""Kinds of files by their suffixes: who is given one of another kind is told what reads it."""

from __future__ import annotations

from pathlib import Path

from netc.errors import Diagnostic, clip

NETWORK, PROGRAM = "network", "compiled program"
_PICTURE = "is what netc writes for people", "no command reads it."
_OTHERS = (
    "is a file of another tool",
    "netc.from_torch(module) reads modules of PyTorch; weights come in as X.safetensors.",
)
_KINDS: dict[str, tuple[str, str]] = {
    ".net": ("is a network", "'netc compile {} -o X.netc' makes a compiled program of it."),
    ".onnx": ("is an ONNX model", "'netc import {} -o X.net' makes one of it."),
    ".safetensors": ("has weights", "'--weights {}' takes them, along with a network."),
    ".toml": ("has splits, or a machine", "'--strategy {}' or '--cluster {}' takes it."),
    ".json": ("is a trace, or a plan for other programs", "'netc trace {}' reads a trace."),
    ".npz": ("has arrays", "'--data {}' takes them, along with a network."),
    **dict.fromkeys((".svg", ".pdf", ".png", ".html", ".dot"), _PICTURE),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".h5", ".keras"), _OTHERS),
}  # fmt: skip
"""By suffix what a file is, and what to do with it."""


def of_another_kind(path: Path, wanted: str) -> Diagnostic | None:
    """Say it where a file that is there, and should be what is `wanted`, is by its suffix of
    another kind (E057); None where it is not.
    """
    suffix = path.suffix.lower()
    own = {NETWORK: ".net", PROGRAM: ".netc"}[wanted]
    if suffix == own or suffix not in _KINDS or not path.is_file():
        return None
    name, (what, hint) = clip(str(path), 80), _KINDS[suffix]
    return Diagnostic("E057", f"'{name}' {what}, and no {wanted}.", help=hint.replace("{}", name))
