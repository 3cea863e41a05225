"""The programs of a bundle by name, in the order of compiling them."""

TRAIN, EVAL, INIT = "train", "eval", "init"
PROGRAMS = (TRAIN, EVAL, INIT)
