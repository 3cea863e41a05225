"""Strategies: one split per layer, and nothing else."""
