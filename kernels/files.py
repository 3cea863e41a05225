"""Files that many processes read and write at once: whole or not there."""

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

CHECKSUM_BYTES = 32


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


def write_checked(path: Path, key: str, content: bytes) -> None:
    """Write a file whole that begins with a checksum of its content and of the `key`, which says
    what it is. As `write_whole` otherwise.
    """
    write_whole(path, checksum(key, content) + content)


def read_checked(path: Path, key: str) -> bytes | None:
    """The content of a file; None unless it is whole and the one that is asked for."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    content = found[CHECKSUM_BYTES:]
    return content if found[:CHECKSUM_BYTES] == checksum(key, content) else None


def checksum(key: str, content: bytes) -> bytes:
    """Of a content and what it is."""
    return blake2b(key.encode() + b"\0" + content, digest_size=CHECKSUM_BYTES).digest()


def digest(*parts: str) -> str:
    """A short name for texts."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
