"""Values that keep views of themselves."""

from __future__ import annotations

from functools import cached_property


class Viewed:
    """A value that keeps views of itself once they were asked for: copies, and what pickle makes
    of it, have the value alone.
    """

    def __getstate__(self) -> dict[str, object]:
        kind = type(self)
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(kind, name, None), cached_property)
        }
