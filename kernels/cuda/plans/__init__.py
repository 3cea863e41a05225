"""Which of cuDNN's plans are fastest on common GPUs: made by `benchmarks/plans.py`."""
