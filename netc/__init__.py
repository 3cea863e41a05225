"""netc: a compiler and runtime for convolutional networks on many devices."""

__version__ = "0.1.0"
