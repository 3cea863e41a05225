"""The page itself: one file that asks for no other."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib import resources
from string import Template

from netc.export.describe import PlanFacts
from netc.export.page.data import PlanCase, page_data
from netc.export.style import EXCHANGE, on, tints
from netc.export.words import MEANINGS
from netc.ir.plan import Plan
from netc.syntax.network import Network
from netc.text import json_text

SCRIPTS = (
    "dom", "theme", "words", "plan", "fold", "layered", "layout", "cards", "graph", "moves",
    "panel", "overview", "source", "clock", "lanes", "memory", "diff", "keys", "choices", "frame",
    "app",
)  # fmt: skip
"""The files of the page's script, in order."""
STYLES = (
    "tones", "base", "frame", "tables", "panel", "graph", "clock", "paper", "small",
)  # fmt: skip
"""The files of its style sheet, in order; `dark` is what is otherwise in the dark."""


def page_html(plan: Plan, network: Network, facts: PlanFacts) -> str:
    """A training plan as a page. The same plan gives the same text."""
    return _page([PlanCase(plan, network, facts)], f"{network.name}: {facts.strategy}")


def diff_html(first: PlanCase, second: PlanCase) -> str:
    """Two training plans of one network beside each other, as a page."""
    names = f"{first.facts.strategy} and {second.facts.strategy}"
    return _page([first, second], f"{first.network.name}: {names}")


def _page(cases: list[PlanCase], title: str) -> str:
    body = (
        "<noscript>This page draws a plan with JavaScript.</noscript>",
        f'<script type="application/json" id="data">{_data(cases)}</script>',
    )
    return document(title, style_sheet(STYLES), script_of(SCRIPTS), "\n".join(body))


def document(title: str, style: str, script: str, body: str) -> str:
    """A page of one file: `body` is markup, to which the script is added."""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, style)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            body,
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


def _data(cases: list[PlanCase]) -> str:
    """JSON in which nothing looks like an element, whatever names and texts there are."""
    text = json_text(page_data(cases), compact=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str, style: str) -> str:
    """Nothing is loaded, and nothing runs but the page's own script."""
    parts = {"script-src": _hash(script), "style-src": _hash(style), "img-src": "data:"}
    allowed = "; ".join(f"{name} {value}" for name, value in parts.items())
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def script_of(names: Sequence[str]) -> str:
    """The script made of these files, of which one has the function `start`."""
    parts = "\n".join(_asset(f"{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}\nstart();\n}})();\n'


def _asset(name: str) -> str:
    return resources.files("netc.export.page").joinpath(name).read_text(encoding="utf-8")


def style_sheet(names: Sequence[str]) -> str:
    """The style sheet made of these files, with the colours of pictures where it names them."""
    colors = {"exchange": EXCHANGE[0], "dark": _asset("dark.css")}
    for letter in MEANINGS:
        strong, _ = tints(letter)
        colors |= {css_name(letter): strong, f"on_{css_name(letter)}": on(strong)}
    parts = "\n".join(_asset(f"{name}.css") for name in names)
    return Template(parts).substitute(colors)


def css_name(letter: str) -> str:
    """A split's letter in names of style sheets, which know no "@"."""
    return "one" if letter == "@" else letter
