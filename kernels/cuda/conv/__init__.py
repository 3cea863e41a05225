"""Convolutions, their gradients and products of matrices on GPUs."""
