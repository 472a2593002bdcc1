"""A stream's queue of DATA that waits for a window, of both engines.

In: DATA in pieces of any size. Out: chunks, which hold little more memory than bytes. Imports nothing of wire.
"""

from __future__ import annotations

from collections import deque
from typing import Final

Chunk = bytes | bytearray | memoryview

SMALL_BYTES: Final = 1024
"""Pieces up to here are copied together: a queued object costs about 250 bytes beside what is in it."""

JOINED_BYTES: Final = 1 << 14  # that a chunk of small pieces grows to; one frame by default


MOST_FRAMED_BYTES: Final = 1 << 20
"""Of queued DATA, that are framed when windows open before the rest waits for `write_more`: a millisecond or two."""


def append_chunk(queue: deque[Chunk], data: bytes | bytearray | memoryview) -> None:
    """Queue `data`. A large piece is queued without a copy."""
    if len(data) > SMALL_BYTES:
        queue.append(memoryview(data))
        return
    last = queue[-1] if queue else None
    if isinstance(last, bytearray) and len(last) + len(data) <= JOINED_BYTES:
        last += data
    else:
        queue.append(bytearray(data))
