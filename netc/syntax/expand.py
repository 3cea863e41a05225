"""Tree to layers: calls blocks, repeats, takes branches, names every layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from netc.errors import (
    ERROR_LIMIT,
    Diagnostic,
    Span,
    SyntaxProblem,
    clip,
    did_you_mean,
    listed,
)
from netc.syntax import ast
from netc.syntax.domains import NATURAL
from netc.syntax.evaluate import evaluate, evaluate_condition
from netc.syntax.layers import IDENTITY, LOSS, bind_layer
from netc.syntax.lexer import SIZE_LIMIT, too_many
from netc.syntax.network import InputSpec, Layer, NamedValues
from netc.syntax.scope import Scope
from netc.syntax.signature import Argument, Signature, evaluate_arguments, wrong_value
from netc.syntax.words import bind_block, check_word, misplaced, read_shape

WORK_CHARACTERS = 100
"""So many characters of expressions count as one layer, for each time they are evaluated."""

_UNKNOWN = ""
"""Read where the layer that should be read is missing, which has been reported."""


class Stop(Exception):  # noqa: N818 - not an error: the problems found so far are kept
    """Enough problems, or too many layers."""


class Expander:
    """Collects layers and problems. A problem ends one element, not the expansion."""

    def __init__(
        self,
        blocks: Mapping[str, ast.Block],
        parameters: Mapping[str, ast.Scalar],
        labels: Mapping[tuple[str, str], Span],
    ) -> None:
        """Know the `blocks`, the network's parameters, and where each block defines its names."""
        self.inputs: list[InputSpec] = []
        self.layers: list[Layer] = []
        self.problems: list[Diagnostic] = []
        self._blocks = blocks
        self._parameters = parameters
        self._labels = labels
        self._taken: dict[str, Span] = {}
        self._seen: set[tuple[str, str, int, int]] = set()
        self._loss: Layer | None = None
        self._starved = False
        self._size = 0

    def run(self, statements: ast.Body) -> None:
        """Expand the top level of a file. Raise `Stop` where going on makes no sense."""
        scope = Scope(self._parameters)
        current: str | None = None
        for statement in statements:
            if isinstance(statement, ast.Input):
                current = self._input(statement, scope)
            elif isinstance(statement, ast.Chain):
                current = self._chain(statement, scope, current)

    def report(self, problems: Iterable[Diagnostic], trail: tuple[str, ...] = ()) -> None:
        """Keep what is new of `problems`: a place in a repeated body is reported once."""
        for each in problems:
            span = each.span
            assert span is not None, each
            key = (each.code, span.source.name, span.start, span.end)
            if key not in self._seen:
                self._seen.add(key)
                self.problems.append(replace(each, span=replace(span, trail=trail)))
        if len(self.problems) >= ERROR_LIMIT:
            raise Stop

    def _input(self, statement: ast.Input, scope: Scope) -> str:
        name = statement.name
        try:
            shape = read_shape(statement, scope.parameters)
        except SyntaxProblem as problem:
            self.report(problem.diagnostics)
            shape = (1, 1, 1)
        if self._claim(name.text, name.span, scope):
            scope.names[name.text] = name.text
            self.inputs.append(InputSpec(name.text, shape, statement.span))
        return name.text

    def _body(self, body: ast.Body, scope: Scope, current: str | None) -> str | None:
        for statement in body:
            current = self._statement(statement, scope, current)
        return current

    def _statement(self, statement: ast.Statement, scope: Scope, current: str | None) -> str | None:
        if isinstance(statement, ast.Chain):
            return self._chain(statement, scope, current)
        self.report([misplaced(statement, "belongs at the top level of a file")], scope.trail)
        return current

    def _chain(self, chain: ast.Chain, scope: Scope, current: str | None) -> str | None:
        """Expand a chain that reads `current`; return the layer at its end."""
        label = chain.label
        if label and not self._claim(scope.prefix + label.text, label.span, scope):
            label = None
        for index, element in enumerate(chain.elements):
            last = index == len(chain.elements) - 1
            if index and isinstance(element, ast.Reference):
                self.report([_reference_within(element)], scope.trail)
            try:
                current = self._element(element, scope, current, label if last else None)
            except SyntaxProblem as problem:
                self.report(problem.diagnostics, scope.trail)
        if label:
            scope.names[label.text] = current or _UNKNOWN
        return current

    def _element(
        self, element: ast.Element, scope: Scope, current: str | None, label: ast.Word | None
    ) -> str | None:
        self._count(element.span, _work(element))
        match element:
            case ast.Layer():
                return self._layer(element, scope, current, label)
            case ast.Call():
                return self._call(element, scope, current, label)
            case ast.Group():
                return self._body(element.body, scope.inside(element.span), current)
            case ast.Repeat():
                return self._repeat(element, scope, current)
            case ast.Combine():
                return self._combine(element, scope, current, label)
            case ast.Condition():
                return self._condition(element, scope, current)
            case ast.Reference():
                return self._reference(element, scope)

    def _layer(
        self, layer: ast.Layer, scope: Scope, current: str | None, label: ast.Word | None
    ) -> str | None:
        kind = layer.kind.text
        problem = check_word(layer, self._blocks)
        if problem is not None:
            raise SyntaxProblem(problem)
        arguments = evaluate_arguments((*layer.values, *layer.options), scope.parameters)
        if kind == IDENTITY:
            Signature(IDENTITY).bind(arguments, layer.span)
            return current
        options = bind_layer(kind, arguments, layer.span)
        return self._add(kind, options, (current,), layer.span, scope, label)

    def _call(
        self, call: ast.Call, scope: Scope, current: str | None, label: ast.Word | None
    ) -> str | None:
        name = call.name.text
        problem = check_word(call, self._blocks)
        if problem is not None:
            raise SyntaxProblem(problem)
        if name in scope.calls:
            circle = (*scope.calls[scope.calls.index(name) :], name)
            chain = clip(" calls ".join(f"'{each}'" for each in circle), 400)
            message = f"block '{name}' calls itself."
            raise SyntaxProblem(Diagnostic("E018", message, call.name.span, notes=(chain,)))
        block = self._blocks[name]
        parameters = bind_block(block, call, scope.parameters, self._parameters)
        same_file = call.span.source is block.span.source
        place = call.span.place if same_file else call.span.origin
        inner = scope.inside(call.span, f"in block '{name}', called at {place}")
        inner = inner.called(name, label.text if label else None, parameters)
        return self._body(block.body, inner, current)

    def _repeat(self, repeat: ast.Repeat, scope: Scope, current: str | None) -> str | None:
        argument = Argument(None, evaluate(repeat.times, scope.parameters), repeat.times.span)
        try:
            count = NATURAL.convert(argument.value)
        except ValueError:
            raise SyntaxProblem(wrong_value("'repeat'", NATURAL, argument)) from None
        assert isinstance(count, int)
        self._count(repeat.times.span, count)
        for number in range(1, count + 1):
            inner = scope.inside(repeat.span, f"repeat {number} of {count}")
            current = self._body(repeat.body, inner, current)
        return current

    def _combine(
        self, combine: ast.Combine, scope: Scope, current: str | None, label: ast.Word | None
    ) -> str | None:
        kind = combine.kind.text
        if len(combine.body) < 2:
            message = f"'{kind}' needs two branches or more, here is {len(combine.body) or 'none'}."
            remedy = "write one branch a line; 'identity' passes the input on."
            raise SyntaxProblem(Diagnostic("E016", message, combine.kind.span, help=remedy))
        inner = scope.inside(combine.span)
        ends = tuple(self._statement(each, inner, current) for each in combine.body)
        return self._add(kind, NamedValues(), ends, combine.kind.span, scope, label)

    def _condition(self, condition: ast.Condition, scope: Scope, current: str | None) -> str | None:
        inner = scope.inside(condition.span)
        for test, body in condition.arms:
            if evaluate_condition(test, scope.parameters):
                return self._body(body, inner, current)
        return self._body(condition.otherwise or (), inner, current)

    def _reference(self, reference: ast.Reference, scope: Scope) -> str:
        name = reference.name.text
        if name in scope.names:
            return scope.names[name]
        defined = self._labels.get(("".join(scope.calls[-1:]), name))
        here = reference.span
        if defined and defined.start > here.start:
            message = f"'${clip(name)}' is read before it is defined, at {defined.place}."
            raise SyntaxProblem(Diagnostic("E020", message, here))
        known = listed(scope.names)
        remedy = f"the names here are {known}." if known else "a block reads only its own names."
        message = f"there is no name '{clip(name)}' here."
        hint = did_you_mean(name, scope.names) + remedy
        raise SyntaxProblem(Diagnostic("E020", message, here, help=hint))

    def _add(
        self,
        kind: str,
        options: NamedValues,
        inputs: tuple[str | None, ...],
        span: Span,
        scope: Scope,
        label: ast.Word | None,
    ) -> str:
        """Add a layer; return its name."""
        scope.counts[kind] += 1
        name = scope.prefix + (label.text if label else f"{kind}{scope.counts[kind]}")
        if label is None:
            self._claim(name, span, scope, f"name this layer too: 'name := {kind} ...'.")
        read = tuple(self._readable(each, kind, span, scope) for each in inputs)
        layer = Layer(name, kind, options, read, replace(span, trail=scope.trail))
        self.layers.append(layer)
        if kind == LOSS:
            self._add_loss(layer, span, scope)
        return name

    def _add_loss(self, layer: Layer, span: Span, scope: Scope) -> None:
        if self._loss is not None:
            assert self._loss.span is not None
            note = f"the first is at {self._loss.span.origin}"
            problem = Diagnostic("E023", "the network has two losses.", span, notes=(note,))
            self.report([problem], scope.trail)
        self._loss = self._loss or layer

    def _readable(self, name: str | None, kind: str, span: Span, scope: Scope) -> str:
        """Return what to read; report where there is nothing, or the loss."""
        if name is None and not self._starved:
            self._starved = True
            message = f"there is nothing that '{kind}' could read."
            remedy = "declare the input above, for example 'input image 3x224x224'."
            self.report([Diagnostic("E022", message, span, help=remedy)], scope.trail)
        if name is not None and self._loss is not None and name == self._loss.name:
            message = f"'{kind}' cannot follow '{LOSS}', which ends the network."
            self.report([Diagnostic("E024", message, span)], scope.trail)
        return name or _UNKNOWN

    def _claim(self, name: str, span: Span, scope: Scope, remedy: str = "") -> bool:
        """Take the name for a layer or an input; report where it is taken."""
        if name not in self._taken:
            self._taken[name] = span
            return True
        if self._taken[name] is span:
            remedy = "a name within 'repeat' is defined in every round: make the body a block."
        message = f"the name '{clip(name)}' is already taken, at {self._taken[name].origin}."
        self.report([Diagnostic("E021", message, span, help=remedy)], scope.trail)
        return False

    def _count(self, span: Span, size: int = 1) -> None:
        self._size += size
        if self._size > SIZE_LIMIT:
            self.report([too_many(span)])
            raise Stop


def _work(element: ast.Element) -> int:
    """How much of what a network may have in all the element itself is, without bodies."""
    match element:
        case ast.Layer() | ast.Call():
            return 1 + _length(element.span) // WORK_CHARACTERS
        case ast.Condition(arms=arms):
            return 1 + sum(_length(arm.test.span) for arm in arms) // WORK_CHARACTERS
        case ast.Reference():
            return 0
        case _:
            return 1


def _length(span: Span) -> int:
    return span.end - span.start


def _reference_within(reference: ast.Reference) -> Diagnostic:
    message = f"'${clip(reference.name.text)}' must begin its chain."
    remedy = "here it would drop the result of what stands before it; start a new line."
    return Diagnostic("E020", message, reference.span, help=remedy)
