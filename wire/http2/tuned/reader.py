"""What has arrived and is not yet a whole frame or field block, and what its first bytes already tell.

In: bytes as they are read. Out: bytes that begin with a frame, and verdicts on a frame's size and place, of which the
size is judged before the rest of the frame is waited for. Holds at most one frame and one field block, both bounded.
Imports `frames`, `decoder` for `ConnectionFault`, `codes` and `limits`."""

from __future__ import annotations

from typing import Final

from wire.config import Http2Config
from wire.http2.codes import PREFACE, ErrorCode
from wire.http2.limits import HARD_HEADER_FACTOR
from wire.http2.preface import instead_of_preface, instead_of_settings
from wire.http2.tuned.decoder import ConnectionFault
from wire.http2.tuned.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
)

_MOST_COPIED_BYTES: Final = 1 << 14
"""To copy more than this takes longer than to handle the frame before it by itself."""

_PRIORITY_BYTES: Final = 5
_GOAWAY_BYTES: Final = 8
_EXACT_SIZES: Final = {PRIORITY: _PRIORITY_BYTES, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
"""Frames of one size only (§6.3, §6.4, §6.7, §6.9)."""

_OF_STREAMS: Final = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION))
_OF_CONNECTION: Final = frozenset((SETTINGS, PING, GOAWAY))


def _protocol_error(reason: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, reason)


def without_padding(flags: int, body: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding (§6.1)."""
    if not flags & PADDED:
        return body
    padding = body[0]
    if padding >= len(body):
        raise _protocol_error("padding longer than its frame")
    return body[1 : len(body) - padding]


class FrameReader:
    """The receiving end of one connection's bytes.

    `partial`: the beginning of a frame that is not whole. `rest`: bytes that were not looked at yet from `start` on,
    where a frame begins. `behind`: what was read behind the frame that `complete` gave. `guarded`: the next frame must
    be SETTINGS, or CONTINUATION.
    """

    __slots__ = (
        "_behind_at",
        "_block",
        "_block_flags",
        "_block_stream_id",
        "_client",
        "_config",
        "_continuations",
        "_max_block_bytes",
        "_preface_left",
        "behind",
        "guarded",
        "partial",
        "rest",
        "start",
    )

    def __init__(self, client: bool, config: Http2Config) -> None:
        self.partial: bytes | bytearray = b""
        self.rest = b""
        self.start = 0
        self.behind = b""
        self._behind_at = 0
        self.guarded = True
        self._client = client
        self._preface_left = PREFACE
        self._config = config
        # A field block between its HEADERS and the frame with END_HEADERS (§4.3); stream 0 while there is none.
        self._block_stream_id = 0
        self._block_flags = 0
        self._block = bytearray()
        self._continuations = 0
        self._max_block_bytes = config.max_header_list_bytes * HARD_HEADER_FACTOR

    def complete(self, data: bytes) -> bytes:
        """`data` behind what was left over, with a frame beginning at `start`; b"" if there is still no whole one.

        A frame that comes in many reads grows in one bytearray, so that its bytes are not copied again at each; where
        much follows it, it is given by itself, so that this is not copied either.
        """
        if self._preface_left:
            data = self._take_preface(data)
        rest = self.rest
        if rest:
            self.rest = b""
            if not data:
                return rest
            data = rest[self.start :] + data
            self.start = 0
            return data
        partial = self.partial
        if not partial:
            return data
        if len(partial) < HEADER_BYTES:
            self.partial = b""
            return bytes(partial) + data
        (word, _, _) = HEADER.unpack_from(partial)
        missing = (word >> 8) + HEADER_BYTES - len(partial)
        if len(data) < missing:
            if isinstance(partial, bytes):
                partial = self.partial = bytearray(partial)
            partial += data
            return b""
        self.partial = b""
        if len(data) - missing > _MOST_COPIED_BYTES:
            self.behind = data
            self._behind_at = missing
            data = data[:missing]
        return b"".join((partial, data))

    def take_behind(self) -> bytes:
        """What was read behind the frame that was completed, from `start` on."""
        data, self.behind = self.behind, b""
        self.start = self._behind_at
        return data

    def clear(self) -> None:
        """Let go of everything."""
        self.rest = self.partial = self.behind = b""
        self._block.clear()

    def _take_preface(self, data: bytes) -> bytes:
        """What is behind the client's preface (§3.4). Its first wrong byte ends the connection. A server has no bytes
        before its SETTINGS; a client looks whether what came first is another protocol."""
        if self._client:
            if problem := instead_of_settings(data):
                raise _protocol_error(problem)
            if data:
                self._preface_left = b""
            return data
        left = self._preface_left
        size = min(len(left), len(data))
        if data[:size] != left[:size]:
            raise _protocol_error(instead_of_preface(left, data))
        self._preface_left = left[size:]
        return data[size:]

    def judge_size(self, kind: int, size: int, flags: int) -> None:
        """What a frame's header says of its size (§4.2, §6). Raises `ConnectionFault`."""
        if size > self._config.max_frame_bytes:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame larger than SETTINGS_MAX_FRAME_SIZE")
        if kind == DATA:
            fits = size > 0 or not flags & PADDED
        elif kind == HEADERS:
            fits = size >= (1 if flags & PADDED else 0) + (_PRIORITY_BYTES if flags & HAS_PRIORITY else 0)
        elif kind == SETTINGS:
            fits = size % SETTING.size == 0 and not (flags & ACK and size)
        elif kind == GOAWAY:
            fits = size >= _GOAWAY_BYTES
        else:
            fits = _EXACT_SIZES.get(kind, size) == size
        if not fits:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame of a size that its type cannot have")
        if kind == CONTINUATION and self._block_stream_id:
            size += len(self._block)
            if self._continuations >= self._config.max_continuation_frames:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a field block of too many frames")
        elif kind != HEADERS:
            return
        if size > self._max_block_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a field block that is far too large")

    def judge_place(self, kind: int, flags: int, stream_id: int) -> None:
        """Whether this type of frame may come here. Raises `ConnectionFault`."""
        if self._block_stream_id:
            if kind != CONTINUATION or stream_id != self._block_stream_id:
                raise _protocol_error("a frame within a field block")  # §4.3, §6.10
            return
        if self.guarded:
            if kind != SETTINGS or flags & ACK:
                raise _protocol_error("the first frame is not SETTINGS")  # §3.4
            self.guarded = False
        if kind in (_OF_CONNECTION if stream_id else _OF_STREAMS):
            raise _protocol_error("a frame on the wrong kind of stream")
        if kind == CONTINUATION:
            raise _protocol_error("CONTINUATION of nothing")

    def take_headers(self, stream_id: int, flags: int, body: bytes) -> bytes | None:
        """HEADERS, whose priority is read past (§5.3.2). The field block, or None if CONTINUATIONs follow."""
        block = without_padding(flags, body)
        if flags & HAS_PRIORITY:
            if len(block) < _PRIORITY_BYTES:
                raise _protocol_error("padding longer than its frame")
            block = block[_PRIORITY_BYTES:]
        if flags & END_HEADERS:
            return block
        self._block_stream_id = stream_id
        self._block_flags = flags
        self._block += block
        self.guarded = True
        return None

    def take_continuation(self, flags: int, body: bytes) -> tuple[bytes, bool] | None:
        """CONTINUATION: the field block and whether it ends the stream, or None if more follow."""
        self._block += body
        self._continuations += 1
        if not flags & END_HEADERS:
            return None
        block = bytes(self._block)
        self._block.clear()
        self._block_stream_id = self._continuations = 0
        self.guarded = False
        return block, bool(self._block_flags & END_STREAM)
