"""A plan as JSON, for other programs.

`version` is 1; a later version may add keys under the same number, and only another number may
change or drop one. Bytes are those of one step. Lists by device have one entry a device.

    version      1
    network      name of the network
    batch        examples of a step, over all devices
    strategy     name of the strategy, or of the strategy file
    scheme       exchange scheme: "a", "b", "c", or null where nothing is exchanged in rounds
    updates      of weights that several devices have: "replicated" or "sharded"
    cluster      name of the machine that is planned for, or null
    mesh         axes: names; shape: devices along each; devices: how many in all
    splits       layer -> one label per mesh axis: "n", "k", "c", "h", "w", "r" or "@2"
    layers       in topological order, inputs first
        name, kind, options, inputs
        dtype          "f32", "bf16" or "f64"
        shape          of the result, for the whole batch, N C H W or N K
        split          as in `splits`
        local_shape    of the result on the first device that holds some of it, in one round
        parameters     trained weights; local_parameters: of the device that holds the most
        forward_flops  floating-point operations of the forward pass, over all devices
        rounds         how often a step runs the layer
    exchanges    in the order of the plan
        name           of the plan's node
        kind           all_reduce, all_gather, all_to_all, reduce_scatter, broadcast, reduce ...
        axes           names of the mesh axes whose groups take part
        role           activation, gradient, weights, statistics, places or labels
        from, to       the layer that computes what is moved; the layers that read it
        round          number of the round, or null for once a step
        sent_bytes, received_bytes     by device
    totals
        parameters
        sent_bytes, received_bytes     by device
        memory_bytes   by device, or null
        step_seconds   predicted, or null
    notes        sentences
"""

from __future__ import annotations

from typing import Any

from netc.export.describe import Description, ExchangeFacts, LayerFacts, PlanFacts, total_traffic
from netc.ir.plan import Plan
from netc.ir.traffic import Traffic
from netc.ir.types import Mesh
from netc.syntax.network import Network

VERSION = 1


def describe_json(
    description: Description, plan: Plan, network: Network, facts: PlanFacts
) -> dict[str, Any]:
    """A description of `plan` as plain values: dicts, lists, numbers, texts."""
    mesh = plan.mesh
    return {
        "version": VERSION,
        "network": network.name,
        "batch": description.batch,
        "strategy": facts.strategy,
        "scheme": facts.scheme or None,
        "updates": facts.updates,
        "cluster": facts.cluster or None,
        "mesh": {"axes": list(mesh.axes), "shape": list(mesh.shape), "devices": mesh.size},
        "splits": {layer: list(split) for layer, split in plan.splits},
        "layers": [_layer(layer) for layer in description.layers],
        "exchanges": [_exchange(exchange, mesh) for exchange in description.exchanges],
        "totals": {
            "parameters": description.parameters,
            **_bytes(total_traffic(description.exchanges), mesh),
            "memory_bytes": list(facts.memory_bytes) or None,
            "step_seconds": facts.step_seconds,
        },
        "notes": list(facts.notes),
    }


def _layer(layer: LayerFacts) -> dict[str, Any]:
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in layer.options.items()}
    return {
        "name": layer.name,
        "kind": layer.kind,
        "options": options,
        "inputs": list(layer.inputs),
        "dtype": layer.type.dtype,
        "shape": list(layer.type.shape),
        "split": list(layer.split),
        "local_shape": list(layer.local),
        "parameters": layer.parameters,
        "local_parameters": layer.local_parameters,
        "forward_flops": layer.flops,
        "rounds": layer.rounds,
    }


def _exchange(exchange: ExchangeFacts, mesh: Mesh) -> dict[str, Any]:
    return {
        "name": exchange.name,
        "kind": exchange.kind,
        "axes": [mesh.axes[axis] for axis in exchange.axes],
        "role": exchange.role,
        "from": exchange.source,
        "to": list(exchange.targets),
        "round": exchange.round,
        **_bytes(exchange.traffic, mesh),
    }


def _bytes(traffic: Traffic, mesh: Mesh) -> dict[str, list[int]]:
    pairs = [traffic.get(device, (0, 0)) for device in range(mesh.size)]
    return {
        "sent_bytes": [sent for sent, _ in pairs],
        "received_bytes": [received for _, received in pairs],
    }
