"""The frames of a whole reply to a request: HEADERS, one DATA, and trailers, of which but the stream and the DATA vary.

Imports `frames`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final

from wire.http2.tuned.frames import DATA, END_HEADERS, END_STREAM, HEADERS, UINT32, WORD_AND_FLAGS

TOGETHER_BYTES: Final = 1024
"""DATA of so many bytes is copied between the other frames, in one call; what is longer is not copied."""

_word_and_flags = WORD_AND_FLAGS.pack

Shape = tuple[Callable[..., bytes], bytes, bytes, bytes, bytes]
"""Of replies whose DATA has one size, `pack(head, id, middle, id, data, tail, id, end)`: what does not vary of that."""


class ReplyShapes(dict[int, Shape]):
    """The shapes of replies with the header blocks `start` and `end`, by the size of their DATA, which is at most
    `TOGETHER_BYTES`; each is made when it is first asked for."""

    __slots__ = ("_end", "_head", "_start", "_tail")

    def __init__(self, start: bytes, end: bytes) -> None:
        super().__init__()
        self._head = _word_and_flags(len(start) << 8 | HEADERS, END_HEADERS)
        self._start = start
        self._tail = _word_and_flags(len(end) << 8 | HEADERS, END_HEADERS | END_STREAM)
        self._end = end

    def __missing__(self, size: int) -> Shape:
        middle = self._start + _word_and_flags(size << 8 | DATA, 0)
        pack = Struct(f">5sI{len(middle)}sI{size}s5sI{len(self._end)}s").pack
        shape = self[size] = pack, self._head, middle, self._tail, self._end
        return shape

    def around(self, stream_id: int, size: int) -> tuple[bytes, bytes]:
        """What stands before and behind DATA of any size."""
        id_ = UINT32.pack(stream_id)
        before = b"".join((self._head, id_, self._start, _word_and_flags(size << 8 | DATA, 0), id_))
        return before, self._tail + id_ + self._end


@lru_cache(16)
def reply_shapes(start: bytes, end: bytes) -> ReplyShapes:
    """For these blocks, which nearly all connections have in common."""
    return ReplyShapes(start, end)
