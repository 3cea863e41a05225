"""netc: a compiler and runtime for convolutional networks on many devices.

    import netc

    network = netc.load("vgg16", classes=10)
    print(network.plan(devices=4, cluster="h100"))

docs/python.md tells the whole of it. What is offered here is imported once it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netc.api.calibrate import Calibration, calibrate
    from netc.api.compare import Comparison
    from netc.api.doctor import doctor
    from netc.api.explain import Explanation
    from netc.api.from_onnx import from_onnx
    from netc.api.model import Model, format, load, parse
    from netc.api.plan import NetworkPlan
    from netc.api.profile import Profile
    from netc.api.program import OpenTraining, RunnableProgram, Trained, load_program
    from netc.api.report import TrainingReport, report
    from netc.api.session import OpenProgram
    from netc.api.torch import from_torch
    from netc.api.traces import TraceAnalysis, load_trace
    from netc.api.tune import Tuning
    from netc.errors import (
        DataError,
        DeviceError,
        Diagnostic,
        NetError,
        PlanError,
        SyntaxProblem,
        UsageError,
    )
    from netc_runtime.io.problems import DamagedError
    from netc_runtime.train.events import EpochDone, Evaluating, Finished, RolledBack, StepDone
    from netc_runtime.train.saving import ExplodedError

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "Comparison",
    "DamagedError",
    "DataError",
    "DeviceError",
    "Diagnostic",
    "EpochDone",
    "Evaluating",
    "Explanation",
    "ExplodedError",
    "Finished",
    "Model",
    "NetError",
    "NetworkPlan",
    "OpenProgram",
    "OpenTraining",
    "PlanError",
    "Profile",
    "RolledBack",
    "RunnableProgram",
    "StepDone",
    "SyntaxProblem",
    "TraceAnalysis",
    "Trained",
    "TrainingReport",
    "Tuning",
    "UsageError",
    "calibrate",
    "doctor",
    "format",
    "from_onnx",
    "from_torch",
    "load",
    "load_program",
    "load_trace",
    "parse",
    "report",
]

_HOME = {
    "netc.api.calibrate": ("Calibration", "calibrate"),
    "netc.api.compare": ("Comparison",),
    "netc.api.doctor": ("doctor",),
    "netc.api.explain": ("Explanation",),
    "netc.api.from_onnx": ("from_onnx",),
    "netc.api.model": ("Model", "format", "load", "parse"),
    "netc.api.plan": ("NetworkPlan",),
    "netc.api.profile": ("Profile",),
    "netc.api.program": ("OpenTraining", "RunnableProgram", "Trained", "load_program"),
    "netc.api.report": ("TrainingReport", "report"),
    "netc.api.session": ("OpenProgram",),
    "netc.api.torch": ("from_torch",),
    "netc.api.traces": ("TraceAnalysis", "load_trace"),
    "netc.api.tune": ("Tuning",),
    "netc.errors": (
        "DataError", "DeviceError", "Diagnostic", "NetError", "PlanError", "SyntaxProblem",
        "UsageError",
    ),
    "netc_runtime.io.problems": ("DamagedError",),
    "netc_runtime.train.events": (
        "EpochDone", "Evaluating", "Finished", "RolledBack", "StepDone",
    ),
    "netc_runtime.train.saving": ("ExplodedError",),
}  # fmt: skip
"""By module what it has of `__all__`."""


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    for module, names in _HOME.items():
        if name in names:
            value = globals()[name] = getattr(import_module(module), name)
            return value
    raise AttributeError(f"module 'netc' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Names, for completion."""
    return sorted((*__all__, "__version__"))
