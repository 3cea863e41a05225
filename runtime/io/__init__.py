"""Files that outlive a run: tensors in the safetensors format, and checkpoints made of them."""

from .checkpoint import Position, checkpoint_name, checkpoints, latest, load, save

__all__ = ["Position", "checkpoint_name", "checkpoints", "latest", "load", "save"]
