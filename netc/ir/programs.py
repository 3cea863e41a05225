"""The programs of a bundle by name, in the order of compiling them, and their inputs."""

TRAIN, PART, EVAL, INIT = "train", "part", "eval", "init"
PROGRAMS = (TRAIN, PART, EVAL, INIT)
"""All of them; `part` is there where gradients of several batches are added up before weights move.
"""
STEPS = (TRAIN, PART)
"""Those that are a step of a training."""
LABELS, SECOND_LABELS, SHARE = "labels", "labels2", "share"
"""Inputs, one element an image: its label; where a recipe mixes images, the label of what is mixed
in, and the share of the first one. All are in the layer of the labels."""
LABEL_INPUTS = (LABELS, SECOND_LABELS, SHARE)
