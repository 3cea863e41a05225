"""The page of a training: curves, what came of the held-out images, filters."""

from netc.export.training.facts import FirstFilters, HeldOut, ShownImage, TrainingFacts
from netc.export.training.page import training_html

__all__ = ["FirstFilters", "HeldOut", "ShownImage", "TrainingFacts", "training_html"]
