"""Streams that we reset, and what their peer may have had under way when we did (RFC 9113 §5.1).

In: each reset with what was left of the stream's receive window, and each frame that comes for a closed stream. Out:
whether it may be a late one, and whether the reset explains it, so that it spends no budget of `limits`. Imports the
contract, `engine`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from wire.http2.engine import RESETS_REMEMBERED

_SECTIONS: Final = 2  # a response's headers and its trailers


class ResetMemory:
    """The last `RESETS_REMEMBERED` streams that we reset, and of those before them the sum of what may come; one for
    both engines. A peer whose event loop was blocked answers thousands of calls that we gave up long ago."""

    __slots__ = ("_bytes", "_left", "_oldest", "_sections")

    def __init__(self) -> None:
        self._left: OrderedDict[int, list[int]] = OrderedDict()  # id → bytes of DATA and sections that may come
        self._oldest = 0  # the highest id that was forgotten
        self._bytes = self._sections = 0  # that may come on those

    def add(self, stream_id: int, window_bytes: int) -> None:
        """We reset a stream on which the peer might have sent `window_bytes` more."""
        self._left[stream_id] = [window_bytes, _SECTIONS]
        if len(self._left) > RESETS_REMEMBERED:
            forgotten, (size_bytes, sections) = self._left.popitem(last=False)
            self._oldest = max(self._oldest, forgotten)
            self._bytes += max(size_bytes, 0)
            self._sections += sections

    def excuses(self, stream_id: int) -> bool:
        """Whether a frame on this closed stream may be a late one; of ids so low that we forgot some, every one may."""
        return stream_id in self._left or stream_id <= self._oldest

    def explains_data(self, stream_id: int, size_bytes: int, ends_stream: bool) -> bool:
        """Whether so much DATA was within the stream's window; behind END_STREAM nothing more is explained."""
        left = self._left.get(stream_id)
        if left is None and stream_id <= self._oldest and size_bytes <= self._bytes:
            self._bytes -= size_bytes
            return True
        if left is None or size_bytes > left[0]:
            return False
        left[0] -= size_bytes
        if ends_stream:
            left[:] = -1, 0
        return True

    def explains_section(self, stream_id: int, ends_stream: bool) -> bool:
        """Whether the stream may have had one more field section; behind END_STREAM nothing more is explained."""
        left = self._left.get(stream_id)
        if left is None and stream_id <= self._oldest and self._sections:
            self._sections -= 1
            return True
        if left is None or not left[1]:
            return False
        left[1] -= 1
        if ends_stream:
            left[:] = -1, 0
        return True
