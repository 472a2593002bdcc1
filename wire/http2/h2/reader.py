"""Bytes → whole frames, judged by size and place: what stands in front of h2.

In: bytes in any chunking. Out: one frame after another, field blocks joined and without padding. A frame that the
contract of `engine` forbids on sight raises `PeerError`: a wrong preface, a size that the 9-byte header shows to be
wrong, a field block that is too long or interrupted, a stream id that the type cannot have, a push. At most one frame
and one field block are buffered, both bounded. Imports `codes`, `limits` and `wire.config`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from wire.config import Http2Config
from wire.http2.codes import MAX_STREAM_ID, PREFACE, ErrorCode, FrameType
from wire.http2.limits import HARD_HEADER_FACTOR
from wire.http2.preface import instead_of_preface, instead_of_settings

HEADER: Final = Struct(">HBBBL")  # length in two parts, type, flags, stream id (§4.1)
HEADER_BYTES: Final = 9

SLICE_BYTES: Final = 512
"""Of what was read, in which the frames of one slice begin: 34 of the smallest DATA, each of which costs h2 60 µs."""

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
_PRIORITY: Final = 0x20

_PRIORITY_BYTES: Final = 5
_SETTING_BYTES: Final = 6
_GOAWAY_BYTES: Final = 8
_EXACT_BYTES: Final[dict[int, int]] = {  # §6.3, §6.4, §6.7, §6.9
    FrameType.PRIORITY: _PRIORITY_BYTES,
    FrameType.RST_STREAM: 4,
    FrameType.PING: 8,
    FrameType.WINDOW_UPDATE: 4,
}

# As plain names: an attribute of an enumeration costs a call.
_DATA, _HEADERS, _CONTINUATION = FrameType.DATA, FrameType.HEADERS, FrameType.CONTINUATION
_SETTINGS, _GOAWAY, _PUSH_PROMISE = FrameType.SETTINGS, FrameType.GOAWAY, FrameType.PUSH_PROMISE
_OF_CONNECTION: Final = frozenset((_SETTINGS, FrameType.PING, _GOAWAY))
_OF_STREAMS: Final = frozenset(
    (_DATA, _HEADERS, _CONTINUATION, _PUSH_PROMISE, FrameType.RST_STREAM, FrameType.PRIORITY)
)

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream id, and the frame with its header; of HEADERS only the field block, CONTINUATIONs joined."""


class PeerError(Exception):
    """The peer made a connection error (RFC 9113 §5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def pack_frame(kind: FrameType, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    length = len(payload)
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def without_padding(frame: bytes, skip: int = 0) -> bytes:
    """What a padded frame carries (§6.1), behind `skip` bytes of other fields."""
    start = HEADER_BYTES + 1 + skip
    end = len(frame) - frame[HEADER_BYTES]
    if end < start:
        raise PeerError(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return frame[start:end]


class FrameReader:
    """The receiving end of one connection's bytes."""

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_stream_id",
        "_client",
        "_continuations",
        "_max_block_bytes",
        "_max_continuations",
        "_max_frame_bytes",
        "_needed_bytes",
        "_preface",
        "_rest",
        "_settled",
        "_unread",
        "_unread_at",
        "has_more",
        "slice_over",
    )

    def __init__(self, client: bool, config: Http2Config) -> None:
        self._max_frame_bytes = config.max_frame_bytes
        self._max_block_bytes = HARD_HEADER_FACTOR * config.max_header_list_bytes
        self._max_continuations = config.max_continuation_frames
        self._client = client
        self._preface = PREFACE
        self._settled = False  # SETTINGS came
        self.has_more = False
        """`read` ended with its slice, and there may be whole frames behind that."""
        self.slice_over = False
        """The frames that were read were work enough for one slice; set by whoever handles them."""
        self._unread = b""  # what then is to be read, from `_unread_at` on
        self._unread_at = 0
        self._rest = bytearray()  # received, not yet a whole frame
        self._needed_bytes = 0  # of `_rest`, before it is worth another look
        self._block: bytearray | None = None  # a field block that is not yet complete
        self._block_flags = 0
        self._block_stream_id = 0
        self._continuations = 0

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, as far as they begin within a slice of it; `read(b"")` goes on. Raises
        `PeerError`, after which there is no more to read."""
        at = 0
        if self.has_more:
            at = self._unread_at
            if data:
                data = self._unread[at:] + data
                at = 0
            else:
                data = self._unread
            self._unread = b""
            self.has_more = False
        elif self._rest:
            self._rest += data
            if len(self._rest) < self._needed_bytes:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if self._preface and self._client:
            if problem := instead_of_settings(data):
                raise PeerError(ErrorCode.PROTOCOL_ERROR, problem)
            if data:
                self._preface = b""
        if self._preface:
            at = min(len(self._preface), len(data))
            if data[:at] != self._preface[:at]:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, instead_of_preface(self._preface, data))
            self._preface = self._preface[at:]
        self._needed_bytes = HEADER_BYTES
        self.slice_over = False
        stop = at + SLICE_BYTES
        while len(data) - at >= HEADER_BYTES:
            if at >= stop or self.slice_over:
                self._unread, self._unread_at, self.has_more = data, at, True
                return
            high, low, kind, flags, stream_id = HEADER.unpack_from(data, at)
            stream_id &= MAX_STREAM_ID
            length = high << 8 | low
            self._check_size(kind, flags, length)
            end = at + HEADER_BYTES + length
            if end > len(data):
                self._needed_bytes = end - at
                break
            self._check_place(kind, flags, stream_id)
            frame = data[at:end]
            at = end
            if kind == _HEADERS:
                skip = _PRIORITY_BYTES if flags & _PRIORITY else 0  # §5.3.2
                block = without_padding(frame, skip) if flags & PADDED else frame[HEADER_BYTES + skip :]
                if flags & END_HEADERS:
                    yield kind, flags, stream_id, block
                else:
                    self._block = bytearray(block)
                    self._block_flags, self._block_stream_id, self._continuations = flags, stream_id, 0
            elif self._block is None:
                yield kind, flags, stream_id, frame
            else:
                self._block += frame[HEADER_BYTES:]
                self._continuations += 1
                if flags & END_HEADERS:
                    block, self._block = bytes(self._block), None
                    yield _HEADERS, self._block_flags, stream_id, block
        self._rest += data[at:]

    def clear(self) -> None:
        """Let go of everything."""
        self._rest.clear()
        self._block = None
        self._unread = b""
        self.has_more = False

    def _check_size(self, kind: int, flags: int, length: int) -> None:
        """What the 9-byte header alone shows to be wrong (§4.2), before the frame is buffered."""
        if length > self._max_frame_bytes:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind == _DATA:
            fits = length > 0 or not flags & PADDED
        elif kind == _HEADERS:
            fits = length >= (1 if flags & PADDED else 0) + (_PRIORITY_BYTES if flags & _PRIORITY else 0)
        elif kind in _EXACT_BYTES:
            fits = length == _EXACT_BYTES[kind]
        elif kind == _SETTINGS:  # §6.5
            fits = length % _SETTING_BYTES == 0 and not (length and flags & ACK)
        else:
            fits = length >= _GOAWAY_BYTES or kind != _GOAWAY
        if not fits:
            raise PeerError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of type {kind} and {length} bytes")
        if kind == _CONTINUATION and self._block is not None:
            length += len(self._block)
            if self._continuations == self._max_continuations:
                raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a field block of too many frames")
        elif kind != _HEADERS:
            return
        if length > self._max_block_bytes:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a field block that is too large")

    def _check_place(self, kind: int, flags: int, stream_id: int) -> None:
        """Whether this type of frame may come here."""
        if not self._settled:  # §3.4
            if kind != _SETTINGS or flags & ACK:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._settled = True
        if kind in _OF_CONNECTION if stream_id else kind in _OF_STREAMS:
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"a frame of type {kind} on stream {stream_id}")
        if self._block is None:
            if kind == _CONTINUATION:  # §6.10
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        elif kind != _CONTINUATION or stream_id != self._block_stream_id:  # §4.3
            raise PeerError(ErrorCode.PROTOCOL_ERROR, f"a frame of type {kind} within a field block")
        if kind == _PUSH_PROMISE:  # §6.6
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which is disabled")
