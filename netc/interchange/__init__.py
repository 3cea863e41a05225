"""Other tools' names and formats: torchvision's names of weights, ONNX."""
