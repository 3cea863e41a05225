"""Words of the tree: which are known, what their declarations say, where they may stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netc.errors import Diagnostic, SyntaxProblem, clip, did_you_mean, listed
from netc.syntax import ast
from netc.syntax.evaluate import evaluate, show
from netc.syntax.layers import COMBINING, IDENTITY, KINDS
from netc.syntax.literals import WORDS
from netc.syntax.signature import Form, evaluate_arguments, pair, unknown_option

PARAMETER_LIMIT = 100
"""How many parameters a network or a block may have."""

_NAMES = {
    ast.Net: "net",
    ast.Input: "input",
    ast.Include: "include",
    ast.Block: "block",
    ast.Train: "train",
}


def check_word(element: ast.Layer | ast.Call, blocks: Mapping[str, ast.Block]) -> Diagnostic | None:
    """Return what is wrong with the first word of `element`, if anything (E010, E016)."""
    word = element.kind if isinstance(element, ast.Layer) else element.name
    text = clip(word.text)
    is_call = isinstance(element, ast.Call)
    if word.text in COMBINING:
        remedy = f"write one branch a line: '{text} {{ branch; branch }}'."
        return Diagnostic("E016", f"'{text}' needs its branches in braces.", word.span, help=remedy)
    if word.text in (blocks if is_call else (*KINDS, IDENTITY)):
        return None
    if word.text in (*KINDS, IDENTITY):
        remedy = f"write its values after it, without parentheses: '{text} ...'."
        return Diagnostic("E010", f"'{text}' is a layer, not a block.", word.span, help=remedy)
    if word.text in blocks:
        remedy = f"call it with parentheses: '{text}(...)'."
        return Diagnostic("E010", f"'{text}' is a block, not a layer.", word.span, help=remedy)
    return _unknown_word(word, is_call, blocks)


def _unknown_word(word: ast.Word, is_call: bool, blocks: Mapping[str, ast.Block]) -> Diagnostic:
    noun, known = ("block", tuple(blocks)) if is_call else ("layer", (*KINDS, IDENTITY))
    others = f"the {noun}s are {listed(known)}." if known else "no block is defined."
    hint = did_you_mean(word.text, (*KINDS, IDENTITY, *blocks)) + others
    return Diagnostic("E010", f"there is no {noun} '{clip(word.text)}'.", word.span, help=hint)


def chains(body: ast.Body) -> Iterator[ast.Chain]:
    """Yield every chain in `body` and in the bodies within, but not in blocks."""
    for statement in body:
        if isinstance(statement, ast.Chain):
            yield statement
            for element in statement.elements:
                for inner in _bodies(element):
                    yield from chains(inner)


def _bodies(element: ast.Element) -> tuple[ast.Body, ...]:
    match element:
        case ast.Group(body=body) | ast.Repeat(body=body) | ast.Combine(body=body):
            return (body,)
        case ast.Condition(arms=arms, otherwise=otherwise):
            return (*(arm.body for arm in arms), otherwise or ())
        case _:
            return ()


def unknown_words(body: ast.Body, blocks: Mapping[str, ast.Block]) -> Iterator[Diagnostic]:
    """Find unknown words in `body`, also where it is never expanded (E010, E012, E016)."""
    for chain in chains(body):
        for element in chain.elements:
            if isinstance(element, ast.Layer | ast.Call):
                problem = check_word(element, blocks)
                yield from [problem] if problem else _unknown_options(element, blocks)


def _unknown_options(
    element: ast.Layer | ast.Call, blocks: Mapping[str, ast.Block]
) -> Iterator[Diagnostic]:
    if isinstance(element, ast.Call):
        form = block_form(blocks[element.name.text])
    elif element.kind.text == IDENTITY:
        return
    else:
        form = KINDS[element.kind.text].form
    for each in element.arguments if isinstance(element, ast.Call) else element.options:
        if isinstance(each, ast.Option) and each.name.text not in form.names:
            yield unknown_option(form, each.name)


def misplaced(statement: ast.Statement, where: str) -> Diagnostic:
    """Return the diagnostic for a statement that may not stand here (E025)."""
    word = _NAMES.get(type(statement), "a layer")
    return Diagnostic("E025", f"'{word}' {where}.", statement.span)


def block_form(block: ast.Block) -> Form:
    """Return the arguments that calls of `block` take."""
    names = tuple(each.name.text for each in block.parameters)
    required = frozenset(each.name.text for each in block.parameters if each.default is None)
    return Form(block.name.text, "parameter", names, len(names), required)


def bind_block(
    block: ast.Block,
    call: ast.Call,
    caller: Mapping[str, ast.Scalar],
    network: Mapping[str, ast.Scalar],
) -> dict[str, ast.Scalar]:
    """Return what the body of `block` may read: its parameters and those of the network.

    Raise `SyntaxProblem` for wrong arguments (E011, E012, E013, E017).
    """
    arguments = evaluate_arguments(call.arguments, caller)
    given, problems = pair(block_form(block), arguments, call.span)
    if problems:
        raise SyntaxProblem(*problems)
    bound = dict(network)
    for parameter in block.parameters:
        name = parameter.name.text
        if name in given:
            bound[name] = given[name].value
        elif parameter.default is not None:
            bound[name] = evaluate(parameter.default, bound)
    return bound


def check_parameters(parameters: tuple[ast.Parameter, ...]) -> Iterator[Diagnostic]:
    """Find names that occur twice or have a meaning already (E021), and too many (E028)."""
    if len(parameters) > PARAMETER_LIMIT:
        message = f"there are {len(parameters):,} parameters (limit {PARAMETER_LIMIT})."
        yield Diagnostic("E028", message, parameters[PARAMETER_LIMIT].name.span)
        return
    seen: set[str] = set()
    for each in parameters:
        name = each.name.text
        if name in WORDS:
            message = f"'{name}' is a word of the language and cannot name a parameter."
            yield Diagnostic("E021", message, each.name.span)
        elif name in seen:
            yield Diagnostic("E021", f"there are two parameters '{clip(name)}'.", each.name.span)
        seen.add(name)


def check_blocks(blocks: list[ast.Block]) -> Iterator[Diagnostic]:
    """Find blocks that are defined twice or named like a layer (E021)."""
    seen: dict[str, ast.Block] = {}
    for block in blocks:
        name = block.name.text
        if name in (*KINDS, IDENTITY):
            message = f"'{name}' is a layer and cannot name a block."
            yield Diagnostic("E021", message, block.name.span)
        elif name in seen:
            message = f"block '{clip(name)}' is already defined, at {seen[name].span.origin}."
            yield Diagnostic("E021", message, block.name.span)
        seen.setdefault(name, block)
        yield from check_parameters(block.parameters)


def read_shape(statement: ast.Input, parameters: Mapping[str, ast.Scalar]) -> tuple[int, int, int]:
    """Return (C, H, W) of an input; raise `SyntaxProblem` (E011, E014)."""
    values = [evaluate(each, parameters) for each in statement.shape]
    parts: tuple[object, ...] = tuple(values)
    if len(values) == 1 and isinstance(values[0], tuple):
        parts = values[0]
    match parts:
        case (int(channels), int(height), int(width)) if min(channels, height, width) >= 1:
            return channels, height, width
    shown = " ".join(map(show, values))
    message = f"an input is channels x height x width, each 1 or more, not {clip(shown)}."
    remedy = "for example 'input image 3x224x224', or 'input image 3 side side'."
    raise SyntaxProblem(Diagnostic("E014", message, statement.span, help=remedy))
