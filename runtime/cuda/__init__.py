"""The cuda backend: devices are GPUs."""
