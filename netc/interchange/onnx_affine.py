"""Arithmetic with constants: one number for each channel, or one for all.

Behind a layer with weights it is folded into those. Elsewhere it is a `bn` that normalizes nothing
as long as it does not learn: mean 0 and variance 1.
"""

from __future__ import annotations

from dataclasses import replace

from netc.interchange.onnx_given import Given
from netc.interchange.onnx_network import Layers
from netc.interchange.onnx_values import Result, Shape, Unsupported, by
from netc.ir.onnx import OnnxFactor, OnnxTensor, OnnxTerm, OnnxWeight
from netc.syntax.network import NamedValues

_EPS = 1e-5
"""What a `bn` adds to the variance: this one's variance and it are 1 together."""
_ONE = OnnxTerm()


def constant_place(layers: Layers, node: Given) -> int | None:
    """Which of two operands does not depend on the images; None where both or none do."""
    places = [i for i, name in enumerate(node.operands()) if name not in layers.trace.data]
    return places[0] if len(places) == 1 and len(node.operands()) == 2 else None


def arithmetic(layers: Layers, node: Given) -> None:
    """Add, Sub, Mul or Div of images or rows and a constant."""
    place = constant_place(layers, node)
    if place is None:
        raise Unsupported("of values that both depend on the images; one must be a constant")
    constant, x = layers.constant(node, place, "constant"), layers.turned(node, 1 - place)
    factor = factor_of(constant, x)
    match node.node.op_type, place:
        case "Add", _:
            return _apply(layers, node, x, _ONE, OnnxTerm((factor,)))
        case "Sub", 1:
            return _apply(layers, node, x, _ONE, OnnxTerm((factor,), -1.0))
        case "Sub", _:
            return _apply(layers, node, x, OnnxTerm((), -1.0), OnnxTerm((factor,)))
        case "Mul", _:
            return _apply(layers, node, x, OnnxTerm((factor,)), None)
        case "Div", 1:
            return _apply(layers, node, x, OnnxTerm((replace(factor, inverse=True),)), None)
    raise Unsupported("of a constant by what the images decide")


def factor_of(constant: OnnxTensor, x: Result) -> OnnxFactor:
    """A constant as one number for each channel or feature of x, or one for all."""
    rank = len(x.own if x.view is None else x.view) + 1
    aligned = (1,) * (rank - len(constant.shape)) + constant.shape
    if aligned == (1,) * rank:
        return OnnxFactor(constant.name, ())
    if x.channels is not None and len(aligned) == rank:
        wanted = [1] * rank
        wanted[x.channels] = x.shape[0]
        if list(aligned) == wanted:
            return OnnxFactor(constant.name, (x.shape[0],))
    message = f"a constant of {by(constant.shape)} is neither one number nor one for each of the"
    raise Unsupported(f"{message} {x.shape[0]} {'channels' if len(x.shape) > 1 else 'features'}")


def _apply(layers: Layers, node: Given, x: Result, scale: OnnxTerm, shift: OnnxTerm | None) -> None:
    """Images times `scale` plus `shift`."""
    layer = layers.layers.get(x.layer)
    weighted = layer is not None and layer.kind in ("conv", "fc", "bn")
    if weighted and layers.is_read_once(x.layer):
        _fold(layers, x.layer, scale, shift)
        if x.layer in layers.affine:
            layers.note_affine(x.layer, node)
        return layers.pass_on(node, x)
    name = layers.add("bn", node, (x,), x.shape, eps=_EPS)
    shape = x.shape[:1]
    layers.fill(name, "weight", shape, scale)
    layers.fill(name, "bias", shape, shift or OnnxTerm((), 0.0))
    layers.fill(name, "running_mean", shape, OnnxTerm((), 0.0))
    layers.fill(name, "running_var", shape, OnnxTerm((), 1.0 - _EPS))
    layers.note_affine(name, node)
    layers.pass_on(node, replace(x, layer=name))


def _fold(layers: Layers, name: str, scale: OnnxTerm, shift: OnnxTerm | None) -> None:
    """Into the weights of the layer that makes the images."""
    weight = layers.weights[f"{name}.weight"]
    channels: Shape = weight.shape[:1]
    bias = layers.weights.get(f"{name}.bias")
    terms = bias.terms if bias else ()
    if scale != _ONE:
        layers.fill(name, "weight", weight.shape, *_scaled(weight.terms, scale, weight))
        terms = tuple(_product(term, scale) for term in terms)
    terms = (*terms, shift) if shift else terms
    if not terms:
        return
    if bias is None:
        layer = layers.layers[name]
        options = NamedValues.of(**(dict(layer.options) | {"bias": True}))
        layers.layers[name] = replace(layer, options=options)
    layers.fill(name, "bias", channels, *terms)


def _scaled(
    terms: tuple[OnnxTerm, ...], scale: OnnxTerm, weight: OnnxWeight
) -> tuple[OnnxTerm, ...]:
    """Filters times a number a filter, which is in their first dimension."""
    ones = (1,) * (len(weight.shape) - 1)
    across = tuple(replace(f, shape=(*f.shape, *ones) if f.shape else ()) for f in scale.factors)
    return tuple(_product(term, replace(scale, factors=across)) for term in terms)


def _product(one: OnnxTerm, other: OnnxTerm) -> OnnxTerm:
    return OnnxTerm((*one.factors, *other.factors), one.number * other.number)
