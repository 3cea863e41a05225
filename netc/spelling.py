"""How the command line is called, said as Python is: `--share-gpus` is `share_gpus=True`.

Messages are made once, in the words of the command line; what Python shows of them is said by this
rule, and by nothing else. A text that names no option and no verb stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

FLAGS = frozenset({
    "alternatives", "exact-memory", "no-evaluation", "no-share", "phases", "replace", "resume",
    "share-gpus",
})  # fmt: skip
"""Options that stand without a value."""
LISTS = frozenset({"allow-missing", "allow-unexpected", "pin", "set"})
"""Options that may be given several times."""
RENAMED = {"set": "settings"}
"""Options whose words of Python are others."""
PHRASES = {
    "--backend null": "plan(...).step_seconds",
    "-o FILE.html": 'draw("FILE.html")',
    "--format safetensors": 'save("X.safetensors")',
    "--format onnx": 'save("X.onnx")',
    "netc compile --emit graph": 'plan(...).emit("graph")',
    "netc report --tensorboard": 'netc.report(...).save_events("DIR")',
}
"""What is said as a whole."""
COMMAND_LINE_ONLY = frozenset({"no-graph"})
"""Options for which Python has no word; they are named as they are."""
VERBS = {
    "calibrate": "netc.calibrate",
    "check": "network.summary",
    "compare": "network.compare",
    "compile": "network.plan",
    "data": "network.survey",
    "diff": "network.diff",
    "doctor": "netc.doctor",
    "eval": "network.evaluate",
    "explain": "network.explain",
    "import": "netc.from_onnx",
    "plan": "network.plan",
    "predict": "network.predict",
    "profile": "network.profile",
    "render": "network.render",
    "report": "netc.report",
    "run": "network.run",
    "summary": "network.summary",
    "trace": "netc.load_trace",
    "tune": "network.tune",
}
"""By verb what is called; functions of netc take what the verb is given first. Commands of
other verbs are named as they are.
"""
_OPTION = r"--[a-z]+(?:-[a-z]+)*"
_QUOTED = re.compile(rf"'((?:netc [a-z]+|{_OPTION}|-o )(?![a-z:])[^']*)'")
"""A command, or options with their values, in quotes."""
_BARE = re.compile(
    rf"(?:{_OPTION} '[^']*'(?: (?={_OPTION} '))?)+|{_OPTION} [^\s',;]+=(?:\S*[^\s',;.]|\.{{3}})"
)
"""Options with values that are quoted themselves, or settings."""
_NAME = re.compile(rf"(?<![\w-]){_OPTION}(?=:)")
"""An option that is wrong."""
_DEFINED = re.compile(r"(?<![\w-])-D (?=\w)")
_NUMBER = re.compile(r"\d+(\.\d+)?|N")


def in_python(text: str) -> str:
    """The text with calls of the command line as calls of Python."""
    if not any(each in text for each in ("--", "netc ", "-D ", "'-o ")):
        return text
    text = _QUOTED.sub(lambda found: f"'{_quoted(found[1])}'", text)
    text = _BARE.sub(lambda found: _words(found[0]), text)
    text = _NAME.sub(lambda found: _name(found[0].removeprefix("--")), text)
    return _DEFINED.sub("", text)


def place_in_python(name: str) -> str:
    """The name of a text, where it is an option, as a word of Python."""
    return _name(name.removeprefix("--")) if re.fullmatch(_OPTION, name) else name


def _quoted(text: str) -> str:
    if text in PHRASES:
        return PHRASES[text]
    if text.startswith("--"):
        return _words(text)
    if not text.startswith("netc "):
        return text
    _, verb, *rest = text.split(" ", 2)
    return _call(verb, rest[0] if rest else "") if verb in VERBS else text


def _call(verb: str, rest: str) -> str:
    """A call; what is written by it (`-o X`) is a value in Python, and has no name."""
    first, *options = re.split(rf"(?:^| )(?={_OPTION}|-o )", rest)
    words = [_words(each) for each in options if each.startswith("--")]
    called = VERBS[verb]
    if first.endswith(".netc"):
        called = f"netc.load_program({_text(first)}).{verb}"
    elif first and called.startswith("netc."):
        words.insert(0, "network" if first == "NET" else _text(first))
    return f"{called}({', '.join(words)})"


def _words(text: str) -> str:
    """Options with their values as words of a call."""
    lists: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for name, value in _parted(text):
        if value is None:
            found[name] = f"{_name(name)}=True" if name in FLAGS else _name(name)
        elif name in LISTS:
            lists.setdefault(name, []).append(value)
            found[name] = f"{_name(name)}=[{', '.join(map(_text, lists[name]))}]"
        else:
            found[name] = f"{_name(name)}={value if _NUMBER.fullmatch(value) else _text(value)}"
    return ", ".join(found.values())


def _parted(text: str) -> Iterator[tuple[str, str | None]]:
    for each in re.split(rf" (?={_OPTION})", text):
        name, blank, value = each.removeprefix("--").partition(" ")
        yield name, value.strip("'") if blank else None


def _text(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def _name(name: str) -> str:
    if name in COMMAND_LINE_ONLY:
        return f"--{name}"
    return RENAMED.get(name, name.replace("-", "_"))
