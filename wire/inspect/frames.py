"""The bytes of one direction of a connection → frames, and what their payloads say. Never raises.

What RFC 9113 forbids becomes a sentence in `Parsed.problems`; what cannot be cut into frames is handed on as it is.
Imports `http2.codes` and `records`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from wire.http2.codes import MAX_MAX_FRAME_BYTES, MAX_WINDOW_BYTES, MIN_MAX_FRAME_BYTES, FrameType, Setting, error_name
from wire.http2.codes import PREFACE as PREFACE_BYTES
from wire.inspect.records import To

HEADER_BYTES: Final = 9  # RFC 9113 §4.1
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
_PADDED: Final = 0x8
_PRIORITY: Final = 0x20
_MAX_DEBUG_BYTES: Final = 500  # of what a GOAWAY says

_FLAGS: Final[dict[int, dict[int, str]]] = {
    FrameType.DATA: {END_STREAM: "END_STREAM", _PADDED: "PADDED"},
    FrameType.HEADERS: {
        END_STREAM: "END_STREAM",
        END_HEADERS: "END_HEADERS",
        _PADDED: "PADDED",
        _PRIORITY: "PRIORITY",
    },
    FrameType.SETTINGS: {ACK: "ACK"},
    FrameType.PING: {ACK: "ACK"},
    FrameType.PUSH_PROMISE: {END_HEADERS: "END_HEADERS", _PADDED: "PADDED"},
    FrameType.CONTINUATION: {END_HEADERS: "END_HEADERS"},
}
_SETTINGS: Final = {each.value: each.name for each in Setting} | {
    0x8: "ENABLE_CONNECT_PROTOCOL",  # RFC 8441
    0x9: "NO_RFC7540_PRIORITIES",  # RFC 9218
    0xFE03: "GRPC_ALLOW_TRUE_BINARY_METADATA",  # gRPC proposal G1
}
_SIZES: Final = {FrameType.PRIORITY: 5, FrameType.RST_STREAM: 4, FrameType.PING: 8, FrameType.WINDOW_UPDATE: 4}
_OF_CONNECTION: Final = frozenset({FrameType.SETTINGS, FrameType.PING, FrameType.GOAWAY})
_OF_STREAM: Final = frozenset(
    {
        FrameType.DATA,
        FrameType.HEADERS,
        FrameType.PRIORITY,
        FrameType.RST_STREAM,
        FrameType.PUSH_PROMISE,
        FrameType.CONTINUATION,
    }
)
_LOOKS: Final = (
    ((b"\x16\x03",), "a TLS handshake: with its certificates a tap can look inside"),
    ((b"\x14\x03", b"\x15\x03", b"\x17\x03"), "TLS records: with its certificates a tap can look inside"),
    ((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"HTTP/1."), "HTTP/1"),
    ((b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"), "the PROXY protocol"),
    ((b"SSH-",), "SSH"),
)


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame as it was cut. `kind` may be none of the registry's."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def name(self) -> str:
        try:
            return FrameType(self.kind).name
        except ValueError:
            return f"{self.kind:#04x}"

    def flag_names(self) -> tuple[str, ...]:
        """Those that are set; ones that the kind does not have as a number."""
        known = _FLAGS.get(self.kind, {})
        names = [name for bit, name in known.items() if self.flags & bit]
        rest = self.flags & ~sum(known)
        return (*names, f"{rest:#04x}") if rest else tuple(names)


@dataclass(frozen=True, slots=True)
class NoFrames:
    """Bytes of a direction that speaks no HTTP/2, from the first of them on. `problem` says so, the first time."""

    data: bytes
    problem: str


class Preface:
    """The client's preface came (RFC 9113 §3.4)."""


class Cutter:
    """Cuts one direction's bytes, in any chunking. What it holds is less than a frame (16 MiB).

    `whole`: the bytes are looked at from the connection's first on, so that they begin with a preface or SETTINGS.
    """

    __slots__ = ("_at_start", "_buffer", "_is_raw", "_to")

    def __init__(self, to: To, *, whole: bool) -> None:
        self._to = to
        self._buffer = bytearray()
        self._at_start = whole
        self._is_raw = False

    @property
    def held_bytes(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[RawFrame | NoFrames | Preface]:
        if self._is_raw:
            yield NoFrames(data, "")
            return
        buffer = self._buffer
        buffer += data
        if self._at_start:
            problem = self._check_start()
            if problem is None:  # too little to tell
                return
            self._at_start = False
            if problem:
                self._is_raw = True
                yield NoFrames(bytes(buffer), problem)
                buffer.clear()
                return
            if self._to is To.SERVER:
                del buffer[: len(PREFACE_BYTES)]
                yield Preface()
        at = 0
        while len(buffer) - at >= HEADER_BYTES:
            size = int.from_bytes(buffer[at : at + 3], "big")
            end = at + HEADER_BYTES + size
            if end > len(buffer):
                break
            kind, flags, stream = struct.unpack_from(">BBI", buffer, at + 3)
            yield RawFrame(kind, flags, stream & 0x7FFFFFFF, bytes(buffer[at + HEADER_BYTES : end]))
            at = end
        del buffer[:at]

    def _check_start(self) -> str | None:
        """What is wrong with how the bytes begin: "" for nothing, None while it cannot be told."""
        begun = bytes(self._buffer[: len(PREFACE_BYTES)])
        if self._to is To.SERVER:
            if begun == PREFACE_BYTES:
                return ""
            if PREFACE_BYTES.startswith(begun):
                return None
        else:
            if len(begun) < 5 and not any(_begins(begun, starts) for starts, _ in _LOOKS):
                return None
            if begun[3:4] in (bytes([FrameType.SETTINGS]), bytes([FrameType.GOAWAY])):
                return ""
        for starts, what in _LOOKS:
            if _begins(begun, starts):
                return f"this is not HTTP/2 but {what}"
        return "this is not HTTP/2: it does not begin with " + ("SETTINGS", "the preface")[self._to is To.SERVER]


def _begins(data: bytes, starts: tuple[bytes, ...]) -> bool:
    return any(data.startswith(start) for start in starts)


@dataclass(slots=True)
class Parsed:
    """What a payload says. `content`: DATA's bytes or a fragment of a field block, without padding and priority."""

    content: bytes = b""
    padding_bytes: int = 0
    details: list[tuple[str, int | str]] = field(default_factory=list)
    settings: list[tuple[int, int]] = field(default_factory=list)
    increment: int = 0
    error_code: int | None = None
    problems: list[str] = field(default_factory=list)


def parse(frame: RawFrame) -> Parsed:
    """Read a frame's payload."""
    parsed = Parsed()
    kind, payload = frame.kind, frame.payload
    if kind in _OF_CONNECTION and frame.stream:
        parsed.problems.append(f"{frame.name} belongs to the connection, and names a stream")
    if kind in _OF_STREAM and not frame.stream:
        parsed.problems.append(f"{frame.name} belongs to a stream, and names none")
    size = _SIZES.get(kind)  # type: ignore[call-overload]
    if size is not None and len(payload) != size:
        parsed.problems.append(f"{frame.name} has {size} bytes, not {len(payload)}")
        return parsed
    if kind in (FrameType.DATA, FrameType.HEADERS, FrameType.PUSH_PROMISE):
        payload = _unpad(frame, payload, parsed)
    if kind == FrameType.HEADERS and frame.flags & _PRIORITY:
        if len(payload) < 5:
            parsed.problems.append("the priority is cut short")
        _priority(payload, parsed)
        payload = payload[5:]
    elif kind == FrameType.PUSH_PROMISE:
        parsed.details.append(("promised", int.from_bytes(payload[:4], "big") & 0x7FFFFFFF))
        payload = payload[4:]
    if kind in (FrameType.DATA, FrameType.HEADERS, FrameType.PUSH_PROMISE, FrameType.CONTINUATION):
        parsed.content = payload
    elif kind == FrameType.PRIORITY:
        _priority(payload, parsed)
    elif kind == FrameType.RST_STREAM:
        _error(payload, parsed)
    elif kind == FrameType.SETTINGS:
        _settings(frame, payload, parsed)
    elif kind == FrameType.PING:
        parsed.details.append(("payload", payload.hex()))
    elif kind == FrameType.GOAWAY:
        _goaway(payload, parsed)
    elif kind == FrameType.WINDOW_UPDATE:
        parsed.increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        parsed.details.append(("increment", parsed.increment))
        if not parsed.increment:
            parsed.problems.append("an increment of 0")
    return parsed


def _unpad(frame: RawFrame, payload: bytes, parsed: Parsed) -> bytes:
    if not frame.flags & _PADDED:
        return payload
    if not payload:
        parsed.problems.append("there is no room for the length of the padding")
        return b""
    padding = payload[0]
    parsed.padding_bytes = padding
    if padding > len(payload) - 1:
        parsed.problems.append(f"{padding} bytes of padding are more than the frame has")
        return b""
    return payload[1 : len(payload) - padding]


def _priority(payload: bytes, parsed: Parsed) -> None:
    if len(payload) >= 5:
        word = int.from_bytes(payload[:4], "big")
        parsed.details += [("depends_on", word & 0x7FFFFFFF), ("weight", payload[4] + 1)]
        if word >> 31:
            parsed.details.append(("exclusive", 1))


def _error(payload: bytes, parsed: Parsed) -> None:
    parsed.error_code = int.from_bytes(payload, "big")
    parsed.details.append(("error", error_name(parsed.error_code)))


def _settings(frame: RawFrame, payload: bytes, parsed: Parsed) -> None:
    if frame.flags & ACK and payload:
        parsed.problems.append("an acknowledgement with a payload")
    if len(payload) % 6:
        parsed.problems.append("the last setting is cut short")
    for at in range(0, len(payload) - 5, 6):
        identifier, value = struct.unpack_from(">HI", payload, at)
        parsed.settings.append((identifier, value))
        name = _SETTINGS.get(identifier) or f"{identifier:#06x}"
        parsed.details.append((name, value))
        if identifier == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW_BYTES:
            parsed.problems.append(f"{name} is at most {MAX_WINDOW_BYTES}")
        elif identifier == Setting.ENABLE_PUSH and value > 1:
            parsed.problems.append(f"{name} is 0 or 1")
        elif identifier == Setting.MAX_FRAME_SIZE and not MIN_MAX_FRAME_BYTES <= value <= MAX_MAX_FRAME_BYTES:
            parsed.problems.append(f"{name} is from {MIN_MAX_FRAME_BYTES} to {MAX_MAX_FRAME_BYTES}")


def _goaway(payload: bytes, parsed: Parsed) -> None:
    if len(payload) < 8:
        parsed.problems.append("GOAWAY is cut short")
        return
    parsed.details.append(("last_stream", int.from_bytes(payload[:4], "big") & 0x7FFFFFFF))
    _error(payload[4:8], parsed)
    if len(payload) > 8:
        text = payload[8 : 8 + _MAX_DEBUG_BYTES].decode("utf-8", "backslashreplace")
        parsed.details.append(("debug", text))
