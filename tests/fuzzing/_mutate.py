"""Damage that all kinds share."""

from __future__ import annotations

import numpy as np

EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def damaged(rng: np.random.Generator, content: bytes, head: int = 64) -> bytes:
    """Some bytes overwritten, cut out or doubled, half of them among the first `head`."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        reach = min(head, len(changed)) if rng.random() < 0.5 else len(changed)
        place = int(rng.integers(0, max(reach, 1)))
        length = int(rng.integers(1, 9))
        choice = rng.integers(0, 5)
        if choice == 0:
            changed[place : place + length] = rng.bytes(length)
        elif choice == 1:
            changed[place : place + length] = bytes([int(rng.choice(EDGES))] * length)
        elif choice == 2:
            del changed[place : place + length]
        elif choice == 3:
            changed[place:place] = changed[place : place + length]
        else:
            del changed[place:]
    return bytes(changed)
