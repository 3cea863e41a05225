"""A plan as JSON, for other programs; `plan.schema.json` beside this file says what every key is.

A later version may add keys under the same number, and only another number may change or drop one.
"""

from __future__ import annotations

from typing import Any

from netc.export.describe import Description, ExchangeFacts, LayerFacts, PlanFacts, total_traffic
from netc.ir.plan import Plan
from netc.ir.programs import TRAIN
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
        "goal": "training" if facts.goal == TRAIN else "inference",
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
