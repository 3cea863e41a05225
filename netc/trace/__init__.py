"""Traces: when every instruction of a training step ran on every device, measured and predicted."""
