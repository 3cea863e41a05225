"""Files to `Network`: parameters and `-D`, expansion, what must hold of the whole network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from netc.errors import (
    ERROR_LIMIT,
    Diagnostic,
    Source,
    Span,
    SyntaxProblem,
    UsageError,
    clip,
    did_you_mean,
    listed,
)
from netc.syntax import ast
from netc.syntax.evaluate import evaluate, show
from netc.syntax.expand import Expander, Stop
from netc.syntax.files import NetworkFiles, read_program, read_source
from netc.syntax.layers import LOSS
from netc.syntax.literals import WORDS, parse_define
from netc.syntax.network import Network, Recipe
from netc.syntax.overrides import PLACE, parse_overrides, with_overrides
from netc.syntax.recipe import build_recipe
from netc.syntax.words import chains, check_blocks, check_parameters, unknown_words
from netc.text import normalized, shown_name


def parse_file(
    path: Path | str, defines: Mapping[str, str] | None = None, settings: Sequence[str] = ()
) -> Network:
    """Return the network in the file at `path`, its parameters overridden by `defines`, its recipe
    by `settings`, `train.PATH=VALUE` each.

    Raise `SyntaxProblem` with everything that is wrong in the file or in one it includes, and
    `UsageError` for a define that the network does not have or cannot take (E026), or for wrong
    settings, with the diagnostics that the same mistakes in a file have.
    """
    path = Path(path)
    return _parse(read_source(path, shown_name(path), None), path, defines or {}, settings)


def parse_text(
    text: str,
    name: str = "text.net",
    defines: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
) -> Network:
    """Return the network that `text` says; `name` stands for the file, also for includes.

    Raise as `parse_file` does.
    """
    source = Source(shown_name(Path(name)), normalized(text))
    return _parse(source, Path(name), defines or {}, settings)


def _parse(
    source: Source, path: Path, defines: Mapping[str, str], settings: Sequence[str]
) -> Network:
    overrides = parse_overrides(settings)
    program = read_program(source, path)
    net, train = _headers(program)
    program.problems += check_blocks(program.blocks)
    if program.problems or net is None:
        raise SyntaxProblem(*program.problems[:ERROR_LIMIT])
    parameters = _bind_network(net, defines)
    return _build(program, net, with_overrides(train, overrides), parameters)


def _headers(program: NetworkFiles) -> tuple[ast.Net | None, ast.Train | None]:
    """Return the `net` line and the `train` block; report what is missing or doubled."""
    statements = program.main.statements
    nets = [each for each in statements if isinstance(each, ast.Net)]
    trains = [each for each in statements if isinstance(each, ast.Train)]
    for name, found in (("net", nets[1:]), ("train", trains[1:])):
        program.problems += (
            Diagnostic("E021", f"'{name}' may stand once in a file.", each.span) for each in found
        )
    if not nets:
        name = program.main.source.name
        what = "has no 'net' line" if statements else "is empty"
        remedy = "begin with 'net name', then 'input image 3x224x224' and the layers."
        program.problems.append(Diagnostic("E008", f"'{name}' {what}.", help=remedy))
    for net in nets:
        program.problems += check_parameters(net.parameters)
    return next(iter(nets), None), next(iter(trains), None)


def _bind_network(net: ast.Net, defines: Mapping[str, str]) -> dict[str, ast.Scalar]:
    """Return the values of the network's parameters."""
    names = tuple(each.name.text for each in net.parameters)
    problems = [_unknown_define(net, name, names) for name in defines if name not in names]
    bound: dict[str, ast.Scalar] = {}
    for parameter in net.parameters:
        name = parameter.name.text
        default = evaluate(parameter.default, bound) if parameter.default else None
        if name in defines:
            bound[name] = _read_define(name, defines[name], default, problems)
        elif default is not None:
            bound[name] = default
        else:
            message = f"parameter '{name}' of '{net.name.text}' has no value."
            remedy = f"give it one with -D {name}=VALUE."
            problems.append(Diagnostic("E026", message, parameter.name.span, help=remedy))
    if problems:
        raise UsageError(*problems)
    return bound


def _unknown_define(net: ast.Net, name: str, names: tuple[str, ...]) -> Diagnostic:
    known = listed(names) or "none"
    message = f"-D {clip(name)}: '{net.name.text}' has no parameter '{clip(name)}'."
    hint = f"{did_you_mean(name, names)}its parameters: {known}."
    return Diagnostic("E026", message, net.span, help=hint)


def _read_define(
    name: str, text: str, default: ast.Scalar | None, problems: list[Diagnostic]
) -> ast.Scalar:
    try:
        value = parse_define(text)
    except SyntaxProblem as problem:
        (wrong,) = problem.diagnostics
        problems.append(Diagnostic("E026", f"-D {name}: {wrong.message}", help=wrong.help))
        return 0
    is_text = isinstance(value, str) and value not in WORDS
    if is_text and default is not None and not isinstance(default, str):
        message = f"-D {name}: '{clip(text)}' is not a value like {clip(show(default))}."
        problems.append(Diagnostic("E026", message))
    return value


def _build(
    program: NetworkFiles,
    net: ast.Net,
    train: ast.Train | None,
    parameters: Mapping[str, ast.Scalar],
) -> Network:
    """Expand the main file; raise `SyntaxProblem` with everything that is wrong."""
    blocks = {each.name.text: each for each in program.blocks}
    labels = {("", name): span for name, span in _labels(program.main.statements)}
    for block in program.blocks:
        labels |= {(block.name.text, name): span for name, span in _labels(block.body)}
    expander = Expander(blocks, parameters, labels)
    recipe = Recipe()
    try:
        expander.run(program.main.statements)
        for body in (program.main.statements, *(block.body for block in program.blocks)):
            expander.report(unknown_words(body, blocks))
        if train is not None:
            recipe, problems = build_recipe(train, parameters)
            expander.report(problems)
    except Stop:
        pass
    inputs, layers = tuple(expander.inputs), tuple(expander.layers)
    network = Network(net.name.text, inputs, layers, recipe, program.main.source)
    problems = expander.problems or list(_check_ends(network, net.span))
    if problems:
        outside = all(each.span and each.span.source.name == PLACE for each in problems)
        kind = UsageError if outside else SyntaxProblem
        raise kind(*sorted(problems, key=_place)[:ERROR_LIMIT])
    return network


def _place(problem: Diagnostic) -> tuple[str, int]:
    assert problem.span is not None
    return problem.span.source.name, problem.span.start


def _labels(body: ast.Body) -> Iterator[tuple[str, Span]]:
    """Yield every name defined with `:=` in `body`, for messages about names used too early."""
    for chain in chains(body):
        if chain.label:
            yield chain.label.text, chain.label.span


def _check_ends(network: Network, header: Span) -> Iterator[Diagnostic]:
    """Find results that nothing reads, and a missing loss (E023, E024)."""
    read = {name for layer in network.layers for name in layer.inputs}
    for spec in network.inputs:
        if spec.name not in read:
            yield Diagnostic("E024", f"nothing reads the input '{spec.name}'.", spec.span)
    if not any(layer.kind == LOSS for layer in network.layers):
        remedy = f"end the network with '{LOSS}'."
        yield Diagnostic("E023", "the network has no loss.", header, help=remedy)
        return
    for layer in network.layers:
        if layer.name not in read and layer.kind != LOSS:
            yield Diagnostic(
                "E024", f"nothing reads the result of '{clip(layer.name)}'.", layer.span
            )
