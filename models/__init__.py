"""Networks that come with netc, as `.net` files."""

from pathlib import Path


def path(name: str) -> Path | None:
    """Return the file of the shipped network `name`, for example `vgg16`, if there is one."""
    if not name.isidentifier():
        return None
    file = Path(__file__).with_name(f"{name}.net")
    return file if file.is_file() else None
