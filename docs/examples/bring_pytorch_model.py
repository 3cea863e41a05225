"""Bring a PyTorch model: plan it, train it here, and load what was learned into it again.

Needs PyTorch and its exporter, `pip install torch onnxscript 'netc[onnx]'`; else it says so.
"""

import sys

import netc

try:
    import onnxscript  # noqa: F401 - PyTorch's exporter needs it
    import torch
    from torch import nn
except ImportError as missing:
    print(f"{missing.name} is not installed: pip install torch onnxscript 'netc[onnx]'")
    sys.exit()

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10),
)  # fmt: skip

network = netc.from_torch(model, image=(1, 8, 8), name="mine")
print(network.text)
print(network.plan(devices=4, strategy="hybrid", cluster="h100", batch=96))

trained = network.run(devices=2, strategy="hybrid", batch=96, data="digits()", epochs=4, lr=0.05)
print(trained)

model.load_state_dict(network.state_dict(trained))
images = torch.rand(5, 1, 8, 8)
with torch.no_grad():
    shares = model.eval()(images).softmax(1).numpy()
apart = abs(trained.predict(images.numpy()) - shares).max()
print(f"PyTorch predicts with the trained weights what netc does, to {apart:.0e}")
