"""What a training needs besides its program: images, random order, schedules, and a record."""

from .augment import augment, order
from .datasets import Dataset, open_dataset
from .metrics import Metrics
from .progress import Progress
from .schedule import learning_rate

__all__ = ["Dataset", "Metrics", "Progress", "augment", "learning_rate", "open_dataset", "order"]
