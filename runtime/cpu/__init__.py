"""The cpu backend: devices are threads, kernels are NumPy's or Numba's."""
