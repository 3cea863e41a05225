"""Files that many processes read and write at once: whole or not there."""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, then give it this one; who reads finds all of it, or what
    was there before. Makes the folder.

    Nothing waits for the disk: after a power failure the file may be damaged, so it is for what can
    be made again. Raises OSError; then nothing has changed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not tempfile, whose files other users cannot read
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
