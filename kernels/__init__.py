"""Kernels: numbers in, numbers out.

They know no graph, no plan and no device but their own. `netc_kernels.reference` defines every
op; faster kernels must agree with it within a stated tolerance.
"""
