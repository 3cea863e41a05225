"""Makes module.onnx and module.safetensors: a small module as netc has PyTorch export it, with its
tensors, images, and the scores that PyTorch gives. `python tests/goldens/make_module.py`, with
PyTorch, onnxscript and netc installed; made with PyTorch 2.14.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import save_file

from netc.api.torch import exported

FOLDER = Path(__file__).parent
IMAGE = (3, 21, 19)


class Block(torch.nn.Module):
    """A residual block with one relu of two uses."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = torch.nn.BatchNorm2d(channels, momentum=0.25)
        self.relu = torch.nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        return self.relu(x + self.relu(self.bn(self.conv(x))))


class Small(torch.nn.Module):
    """A bit of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=2),
            torch.nn.Tanh(),
            torch.nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
            Block(4),
            torch.nn.MaxPool2d(3, 2, ceil_mode=True),
        )
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.classifier = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(4, 5))
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def main() -> None:
    torch.manual_seed(7)
    module = Small()
    for name, value in module.named_buffers():
        if "running" in name:
            value.add_(torch.rand_like(value))
    proto = exported(module, IMAGE)
    images = torch.randn(4, *IMAGE)
    with torch.no_grad():
        scores = module.eval()(images)
    for node in proto.graph.node:
        node.doc_string = ""
        for prop in list(node.metadata_props):
            if prop.key != "pkg.torch.onnx.name_scopes":
                node.metadata_props.remove(prop)
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:]
    onnx.save(proto, FOLDER / "module.onnx")
    state = {f"state.{name}": value for name, value in module.state_dict().items()}
    save_file({**state, "images": images, "scores": scores}, FOLDER / "module.safetensors")


if __name__ == "__main__":
    main()
