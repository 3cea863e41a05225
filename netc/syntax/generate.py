"""Turn `grammar.lark` into `tables.json`, which the parser runs: `python -m netc.syntax.generate`.

Lark is needed here and in the tests only. Importing it costs about 0.1 s and building this grammar
0.2 s more, which every command would pay; reading the tables takes a few milliseconds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lark import Lark
from lark.grammar import Rule

_HERE = Path(__file__).parent


def build_tables() -> str:
    """Return the text of `tables.json`; raise Lark's error where the grammar is ambiguous."""
    grammar = (_HERE / "grammar.lark").read_text()
    lark = Lark(grammar, parser="lalr", lexer="basic", strict=True, maybe_placeholders=False)
    table = lark.parser.parser._parse_table
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    order = _number_states(table.states, table.start_states["start"])
    words, patterns = _terminals(lark)
    parts = {
        "words": [json.dumps(words)],
        "patterns": [json.dumps(each) for each in patterns],
        "ignored": [json.dumps(sorted(lark.ignore_tokens))],
        "rules": [json.dumps(_rule(rule)) for rule in rules],
        "states": [json.dumps(_actions(table.states[state], rules, order)) for state in order],
        "end": [json.dumps(order[table.end_states["start"]])],
    }
    return _layout(parts)


def _number_states(states: dict[int, dict[str, Any]], start: int) -> dict[int, int]:
    """Return new numbers, in the order of a walk from `start`: those of Lark vary."""
    order = {start: 0}
    queue = [start]
    for state in queue:
        for _, (action, target) in sorted(states[state].items()):
            if action.name == "Shift" and target not in order:
                order[target] = len(order)
                queue.append(target)
    return order


def _actions(
    actions: dict[str, Any], rules: dict[Rule, int], order: dict[int, int]
) -> dict[str, int]:
    """Encode: go to state n as n, reduce by rule r as -1 - r."""
    return {
        symbol: order[target] if action.name == "Shift" else -1 - rules[target]
        for symbol, (action, target) in sorted(actions.items())
    }


def _rule(rule: Rule) -> list[Any]:
    """Encode a rule: origin, action, length, kept children, spliced children, inlined if single."""
    kept = [i for i, each in enumerate(rule.expansion) if not getattr(each, "filter_out", False)]
    spliced = [i for i in kept if rule.expansion[i].name.startswith("__")]
    inlined = bool(rule.options.expand1 and not rule.alias)
    action = rule.alias or str(rule.origin.name)
    return [str(rule.origin.name), action, len(rule.expansion), kept, spliced, inlined]


def _terminals(lark: Lark) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Split the terminals: reserved words by text, and patterns, the first that matches wins."""
    name = next(each for each in lark.terminals if each.name == "NAME").pattern.value
    reserved = {
        each.pattern.value: str(each.name)
        for each in lark.terminals
        if each.pattern.type == "str" and re.fullmatch(name, each.pattern.value)
    }
    others = [each for each in lark.terminals if each.name not in reserved.values()]
    others.sort(key=lambda each: (-each.priority, -each.pattern.max_width, each.name))
    return reserved, [(str(each.name), each.pattern.to_regexp()) for each in others]


def _layout(parts: dict[str, list[str]]) -> str:
    """Write one state and one rule a line, so that a change shows as a small difference."""
    lists = {"patterns", "rules", "states"}
    entries = [
        f'"{key}": [\n' + ",\n".join(lines) + "\n]" if key in lists else f'"{key}": {lines[0]}'
        for key, lines in parts.items()
    ]
    return "{\n" + ",\n".join(entries) + "\n}\n"


if __name__ == "__main__":
    (_HERE / "tables.json").write_text(build_tables())
