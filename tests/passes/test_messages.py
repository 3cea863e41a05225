"""What the compiler says of a user's mistakes, to the letter. The texts are in messages.txt; each
case there is a network's body behind '> ' with options in a line '@ ', then what is said of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import netc_clusters
from netc.cost import read_cluster
from netc.errors import NetError, render
from netc.ir.types import line_mesh
from netc.passes.choose_splits import Pin
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import parse_text

CLUSTER = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
GOLDEN = Path(__file__).parent / "messages.txt"
HEAD = "net t()\ninput image 3x8x8\n"


def cases() -> list[str]:
    """The blocks of the golden file."""
    return GOLDEN.read_text().removesuffix("\n").split("\n====\n")


def said(case: str) -> str:
    """The case as it stands, with what is said of it now."""
    lines = case.splitlines()
    body = "".join(line[2:] + "\n" for line in lines if line.startswith("> "))
    asked = next((line[2:] for line in lines if line.startswith("@ ")), "")
    chosen = {key: ast.literal_eval(value) for key, _, value in
              (item.partition("=") for item in asked.split("; ") if item)}  # fmt: skip
    head = [line for line in lines if line.startswith(("> ", "@ "))]
    pins = tuple(Pin(*pin) for pin in chosen.pop("pins", ()))
    mesh = line_mesh(chosen.pop("devices", 1))
    options = {"strategy": "data"} | chosen
    try:
        network = parse_text(HEAD + body, "t.net")
        compile_network(network, Options(mesh, 8, CLUSTER, pins=pins, **options))
    except NetError as error:
        return "\n".join([*head, f"exit code {error.exit_code}", render(error.diagnostics)])
    return "\n".join([*head, "nothing"])


@pytest.mark.parametrize("case", cases(), ids=range(len(cases())))
def test_the_message_is_as_written(case: str) -> None:
    assert said(case) == case


if __name__ == "__main__":
    GOLDEN.write_text("\n====\n".join(said(case) for case in cases()) + "\n")
