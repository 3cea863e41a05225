"""What is measured on this machine: kernels for the compiler, steps for `netc profile`."""
