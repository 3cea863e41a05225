"""The programs of a bundle by name, in the order of compiling them, and their inputs."""

TRAIN, EVAL, INIT = "train", "eval", "init"
PROGRAMS = (TRAIN, EVAL, INIT)
LABELS, SECOND_LABELS, SHARE = "labels", "labels2", "share"
"""Inputs, one element an image: its label; where a recipe mixes images, the label of what is mixed
in, and the share of the first one. All are in the layer of the labels."""
LABEL_INPUTS = (LABELS, SECOND_LABELS, SHARE)
