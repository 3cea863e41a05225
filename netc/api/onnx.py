"""Networks with weights as ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netc.api.written import renamed
from netc.interchange.to_onnx import to_onnx
from netc.syntax import Network
from netc_runtime.io import onnx_file


def write_onnx(
    path: Path, network: Network, values: Mapping[str, Any], batch: int | None = None
) -> None:
    """Write a network with weights as ONNX; DataError where the system refuses."""
    onnx_file.write(path, to_onnx(network, batch), renamed(values, {}))
