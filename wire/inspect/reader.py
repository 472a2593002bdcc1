"""Reads one connection from its bytes, both directions, and tells what they mean: the heart of a trace.

It needs no engine: it cuts frames, decodes header fields, counts windows and cuts messages by itself, so it shows what
is there even where an engine objects. Bytes go in by `feed`, `Record`s come out at the function it was given. It never
raises because of bytes: what cannot be read is told as such, and what follows is told as far as it can be.

Windows are counted from what passes by, with a SETTINGS' value from its acknowledgement on (RFC 9113 §6.5.3).
Imports `hpack`, `http2.codes`, `rpc` and its siblings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import hpack

from wire.http2.codes import DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, FrameType, Setting, error_name
from wire.inspect import frames
from wire.inspect.frames import Cutter, NoFrames, Parsed, Preface, RawFrame
from wire.inspect.messages import MessageDescriber
from wire.inspect.records import (
    PREFACE,
    CallEnded,
    ConnectionLost,
    ConnectionMade,
    Frame,
    Message,
    RawBytes,
    Record,
    To,
)
from wire.inspect.schemas import Schemas
from wire.inspect.secrets import Secrets
from wire.inspect.streams import Half, MessageCutter, StreamState
from wire.status import StatusCode, status_from_http, status_from_http2_error

logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes out every field, credentials too

MAX_MESSAGE_BYTES: Final = 1 << 20
"""What is kept of a message, to be shown by field; a longer one is told with its size only."""
_MAX_BLOCK_BYTES: Final = 1 << 20
_MAX_HEADER_LIST_BYTES: Final = 1 << 20
_MAX_STREAMS: Final = 10_000
_MAX_FORGOTTEN: Final = 1000
_GRPC: Final = b"application/grpc"

Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Block:
    """A field block that has begun (RFC 9113 §4.3)."""

    stream: int
    ends_stream: bool
    promised: bool
    data: bytearray


class _Direction:
    """What is known of the bytes that travel one way."""

    __slots__ = ("block", "cutter", "decoder", "failed", "initial_window_bytes", "unacknowledged", "window_bytes")

    def __init__(self, to: To, whole: bool) -> None:
        self.cutter = Cutter(to, whole=whole)
        self.decoder: hpack.Decoder | None = hpack.Decoder(_MAX_HEADER_LIST_BYTES)
        """None once a block could not be decoded: those that follow build on it."""
        self.failed = False
        self.block: _Block | None = None
        self.window_bytes: int | None = DEFAULT_WINDOW_BYTES if whole else None
        """What may still be sent this way on the connection."""
        self.initial_window_bytes: int | None = DEFAULT_WINDOW_BYTES if whole else None
        self.unacknowledged: list[list[tuple[int, int]]] = []
        """SETTINGS that travelled this way."""


class ConnectionReader:
    """Reads one connection. `whole`: from its first byte on."""

    __slots__ = ("_describer", "_directions", "_emit", "_forgotten", "_highest", "_secrets", "_streams", "connection")

    def __init__(
        self,
        connection: int,
        emit: Callable[[Record], None],
        *,
        schemas: Schemas,
        secrets: Secrets,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        whole: bool = True,
    ) -> None:
        self.connection = connection
        self._emit = emit
        self._secrets = secrets
        self._describer = MessageDescriber(schemas, secrets, max_message_bytes)
        self._directions = {to: _Direction(to, whole) for to in To}
        self._streams: dict[int, StreamState] = {}
        self._forgotten: dict[int, str] = {}  # methods of streams that are over, for the frames that come late
        self._highest = 0

    def made(self, at_s: float, *, client: str, server: str, tls: str = "") -> None:
        """The connection stands."""
        self._emit(ConnectionMade(connection=self.connection, at_s=at_s, client=client, server=server, tls=tls))

    def feed(self, to: To, data: bytes, at_s: float) -> None:
        """Bytes travel to that side, at a time that never goes back (seconds)."""
        direction = self._directions[to]
        if direction.failed:
            self._raw(to, data, at_s, "")
            return
        try:
            for found in direction.cutter.feed(data):
                if isinstance(found, RawFrame):
                    self._frame(to, found, at_s)
                elif isinstance(found, NoFrames):
                    self._raw(to, found.data, at_s, found.problem)
                elif isinstance(found, Preface):
                    self._emit(Frame(connection=self.connection, at_s=at_s, to=to, name=PREFACE, size_bytes=24))
        except Exception as error:  # a mistake in here must not end a connection
            direction.failed = True
            self._raw(to, data, at_s, f"the inspector failed on these bytes ({type(error).__name__})")

    def lost(self, at_s: float, reason: str = "") -> None:
        """The connection is gone."""
        for to, direction in self._directions.items():
            if direction.cutter.held_bytes:
                self._raw(to, b"", at_s, f"the connection ended {direction.cutter.held_bytes} bytes into a frame")
        for stream in list(self._streams.values()):
            self._end_call(stream, at_s, "the connection was lost", StatusCode.UNAVAILABLE)
        self._streams.clear()
        self._emit(ConnectionLost(connection=self.connection, at_s=at_s, reason=reason))

    def give_up(self, to: To, problem: str, at_s: float) -> None:
        """What travels to that side cannot be read from here on, because bytes were not seen."""
        self._directions[to].failed = True
        self._raw(to, b"", at_s, problem)

    # Frames.

    def _raw(self, to: To, data: bytes, at_s: float, problem: str) -> None:
        content = data if self._secrets.shown else None
        self._emit(
            RawBytes(
                connection=self.connection, at_s=at_s, to=to, size_bytes=len(data), problem=problem, content=content
            )
        )

    def _frame(self, to: To, frame: RawFrame, at_s: float) -> None:
        direction = self._directions[to]
        parsed = frames.parse(frame)
        if direction.block is not None and (
            frame.kind != FrameType.CONTINUATION or frame.stream != direction.block.stream
        ):
            parsed.problems.append("a field block has begun, and only its CONTINUATION may follow")  # §6.10
            self._lose_fields(direction)
        stream = self._stream_of(to, frame, at_s)
        since_s = None
        if stream is not None and stream.last_at_s is not None:
            since_s = at_s - stream.last_at_s
        fields: Fields = []
        messages: list[Message] = []
        window_of: To | None = None
        if frame.kind in (FrameType.HEADERS, FrameType.PUSH_PROMISE, FrameType.CONTINUATION):
            fields = self._block(direction, frame, parsed)
            if fields and stream is not None and frame.kind != FrameType.PUSH_PROMISE:
                self._read_fields(to, stream, fields, at_s)
        elif frame.kind == FrameType.DATA:
            window_of = to
            messages = self._data(to, stream, frame, parsed, at_s)
        elif frame.kind == FrameType.WINDOW_UPDATE:
            window_of = to.other
            self._grant(to.other, frame.stream, stream, parsed)
        elif frame.kind == FrameType.SETTINGS:
            self._settings(to, frame, parsed)
        method = stream.method if stream is not None else self._forgotten.get(frame.stream, "")
        half = stream.halves[to] if stream is not None else None
        window_half = stream.halves[window_of] if stream is not None and window_of is not None else None
        progress = half.cutter.progress if half is not None and half.cutter is not None else None
        self._emit(
            Frame(
                connection=self.connection,
                at_s=at_s,
                to=to,
                name=frame.name,
                flags=frame.flag_names(),
                stream=frame.stream,
                size_bytes=len(frame.payload),
                padding_bytes=parsed.padding_bytes,
                method=method,
                since_s=since_s,
                details=tuple(parsed.details),
                fields=self._shown(fields),
                messages=tuple(messages),
                message_progress=progress if frame.kind == FrameType.DATA else None,
                stream_window_bytes=window_half.window_bytes if window_half is not None else None,
                connection_window_bytes=None if window_of is None else self._directions[window_of].window_bytes,
                problems=tuple(parsed.problems),
            )
        )
        if stream is not None:
            stream.last_at_s = at_s
            self._progress(to, stream, frame, parsed, at_s)

    def _stream_of(self, to: To, frame: RawFrame, at_s: float) -> StreamState | None:
        """The frame's stream; made with its first frame that can open it (RFC 9113 §5.1)."""
        stream = self._streams.get(frame.stream)
        if stream is not None or not frame.stream or frame.kind not in (FrameType.HEADERS, FrameType.DATA):
            return stream
        if frame.stream <= self._highest or (
            frame.kind == FrameType.DATA and self._directions[to].window_bytes is not None
        ):
            return None  # it is over, or was never opened
        self._highest = frame.stream
        halves = {each: Half(self._directions[each].initial_window_bytes) for each in To}
        stream = StreamState(frame.stream, halves, at_s)
        self._streams[frame.stream] = stream
        if len(self._streams) > _MAX_STREAMS:
            self._forget(next(iter(self._streams.values())))
        return stream

    def _forget(self, stream: StreamState) -> None:
        self._streams.pop(stream.id, None)
        self._forgotten[stream.id] = stream.method
        if len(self._forgotten) > _MAX_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    # Header fields.

    def _block(self, direction: _Direction, frame: RawFrame, parsed: Parsed) -> Fields:
        """The fields of the block that this frame completes, else none."""
        if frame.kind == FrameType.CONTINUATION:
            block = direction.block
            if block is None:
                parsed.problems.append("no field block has begun that this could continue")
                self._lose_fields(direction)
                return []
            block.data += parsed.content
        else:
            block = direction.block = _Block(
                frame.stream,
                bool(frame.flags & frames.END_STREAM),
                frame.kind == FrameType.PUSH_PROMISE,
                bytearray(parsed.content),
            )
        if len(block.data) > _MAX_BLOCK_BYTES:
            parsed.problems.append(f"a field block of more than {_MAX_BLOCK_BYTES} bytes, which are not kept")
            self._lose_fields(direction)
            return []
        if not frame.flags & frames.END_HEADERS:
            return []
        direction.block = None
        return self._decode(direction, bytes(block.data), parsed)

    def _decode(self, direction: _Direction, block: bytes, parsed: Parsed) -> Fields:
        if direction.decoder is None:
            parsed.problems.append(f"a field block of {len(block)} bytes cannot be read: an earlier one could not")
            return []
        try:
            decoded: Any = direction.decoder.decode(block, raw=True)
        except Exception as error:  # hpack raises more than its own where a block is malformed
            direction.decoder = None
            parsed.problems.append(f"a field block of {len(block)} bytes cannot be read: {_reason(error)}")
            return []
        return [(bytes(name), bytes(value)) for name, value in decoded]

    def _lose_fields(self, direction: _Direction) -> None:
        direction.block = None
        direction.decoder = None

    def _shown(self, fields: Fields) -> tuple[tuple[str, str], ...]:
        shown = []
        for name, value in fields:
            text = name.decode("latin-1")
            shown.append((text, self._secrets.field_value(text.lower(), value.decode("utf-8", "backslashreplace"))))
        return tuple(shown)

    def _read_fields(self, to: To, stream: StreamState, fields: Fields, at_s: float) -> None:
        half = stream.halves[to]
        for name, value in fields:
            if name == b":path" and to is To.SERVER:
                stream.method = value.decode("utf-8", "backslashreplace").partition("?")[0]
            elif name == b"content-type" and half.cutter is None:
                if value.startswith(_GRPC) and not value.startswith(_GRPC + b"-web"):
                    half.cutter = MessageCutter(self._describer.max_message_bytes)
            elif name == b"grpc-encoding":
                half.encoding = value
            elif to is To.CLIENT:
                if name == b":status":
                    stream.http_status = _number(value)
                elif name == b"grpc-status":
                    stream.grpc_status = _number(value)
                elif name == b"grpc-message":
                    stream.grpc_message = unquote(value.decode("latin-1"), errors="replace")
        if to is To.CLIENT and stream.first_response_at_s is None:
            stream.first_response_at_s = at_s

    # DATA and windows.

    def _data(self, to: To, stream: StreamState | None, frame: RawFrame, parsed: Parsed, at_s: float) -> list[Message]:
        size = len(frame.payload)  # padding counts, too (RFC 9113 §6.9.1)
        direction = self._directions[to]
        if direction.window_bytes is not None:
            direction.window_bytes -= size
            if direction.window_bytes < 0:
                parsed.problems.append(f"{-direction.window_bytes} bytes more than the connection's window")
        if stream is None:
            parsed.problems.append("the stream is not open")
            return []
        half = stream.halves[to]
        if half.window_bytes is not None:
            half.window_bytes -= size
            if half.window_bytes < 0:
                parsed.problems.append(f"{-half.window_bytes} bytes more than the stream's window")
        if half.cutter is None:
            return []
        gave_up = half.cutter.problem
        messages = []
        for piece in half.cutter.feed(parsed.content):
            half.messages += 1
            half.message_bytes += piece.size_bytes
            messages.append(self._describer.describe(to, stream.method, half.encoding, half.messages, piece))
        if half.cutter.problem != gave_up:
            parsed.problems.append(half.cutter.problem)
        if frame.flags & frames.END_STREAM and half.cutter.partial:
            parsed.problems.append("the stream ends in the middle of a message")
        return messages

    def _grant(self, to: To, stream_id: int, stream: StreamState | None, parsed: Parsed) -> None:
        """A WINDOW_UPDATE: more may be sent to that side."""
        if not stream_id:
            direction = self._directions[to]
            direction.window_bytes = _grown(direction.window_bytes, parsed.increment, parsed)
        elif stream is not None:
            half = stream.halves[to]
            half.window_bytes = _grown(half.window_bytes, parsed.increment, parsed)

    def _settings(self, to: To, frame: RawFrame, parsed: Parsed) -> None:
        if not frame.flags & frames.ACK:
            self._directions[to].unacknowledged.append(parsed.settings)
            for identifier, value in parsed.settings:
                decoder = self._directions[to.other].decoder
                if identifier == Setting.HEADER_TABLE_SIZE and decoder is not None:
                    # Only upwards: an encoder that keeps to a smaller one says so in its next block (RFC 7541 §4.2).
                    decoder.max_allowed_table_size = max(decoder.max_allowed_table_size, value)
            return
        waiting = self._directions[to.other].unacknowledged
        if not waiting:
            if self._directions[to].window_bytes is not None:
                parsed.problems.append("an acknowledgement of SETTINGS that were not sent")
            return
        for identifier, value in waiting.pop(0):
            if identifier != Setting.INITIAL_WINDOW_SIZE:
                continue
            direction = self._directions[to]  # the side that sent them is the one that the acknowledgement goes to
            before = direction.initial_window_bytes
            direction.initial_window_bytes = value
            for stream in self._streams.values():
                half = stream.halves[to]
                if half.window_bytes is not None and before is not None:
                    half.window_bytes += value - before

    # How calls end.

    def _progress(self, to: To, stream: StreamState, frame: RawFrame, parsed: Parsed, at_s: float) -> None:
        """What the frame means for its call, once it was told."""
        if frame.kind == FrameType.RST_STREAM:
            code = parsed.error_code or 0
            if not stream.over:
                how = f"RST_STREAM {error_name(code)} by the {to.other.value}"
                self._end_call(stream, at_s, how, status_from_http2_error(code))
            self._forget(stream)
            return
        if frame.kind in (FrameType.HEADERS, FrameType.DATA) and frame.flags & frames.END_STREAM:
            stream.halves[to].ended = True
        if stream.halves[To.CLIENT].ended and self._directions[To.CLIENT].block is None:
            if stream.grpc_status is not None:
                self._end_call(stream, at_s, "", stream.grpc_status)
            else:
                how = "END_STREAM without a grpc-status"
                if stream.http_status not in (None, 200):
                    how = f"HTTP status {stream.http_status}"
                self._end_call(stream, at_s, how, status_from_http(stream.http_status or 0))
        if stream.over and all(half.ended for half in stream.halves.values()):
            self._forget(stream)

    def _end_call(self, stream: StreamState, at_s: float, how: str, status: int) -> None:
        if stream.over or not stream.method:
            stream.over = True
            return
        stream.over = True
        requests, responses = stream.halves[To.SERVER], stream.halves[To.CLIENT]
        first = stream.first_response_at_s
        self._emit(
            CallEnded(
                connection=self.connection,
                at_s=at_s,
                stream=stream.id,
                method=stream.method,
                status=_status_name(status),
                status_message=stream.grpc_message,
                how=how,
                requests=requests.messages,
                request_bytes=requests.message_bytes,
                responses=responses.messages,
                response_bytes=responses.message_bytes,
                first_response_s=None if first is None else first - stream.begun_at_s,
                took_s=at_s - stream.begun_at_s,
            )
        )


def _grown(window_bytes: int | None, increment: int, parsed: Parsed) -> int | None:
    if window_bytes is None:
        return None
    window_bytes += increment
    if window_bytes > MAX_WINDOW_BYTES:
        parsed.problems.append(f"a window of {window_bytes} bytes, over {MAX_WINDOW_BYTES}")
    return window_bytes


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < 10 else None


def _status_name(status: int) -> str:
    try:
        return StatusCode(status).name
    except ValueError:
        return str(status)


def _reason(error: Exception) -> str:
    """In words of our own: hpack's may quote the block."""
    if isinstance(error, hpack.InvalidTableIndexError):
        return "it names a field that the table does not have"
    if isinstance(error, hpack.InvalidTableSizeError):
        return "it makes the table larger than was allowed"
    if isinstance(error, hpack.OversizedHeaderListError):
        return f"its fields are more than {_MAX_HEADER_LIST_BYTES} bytes"
    return "it is malformed"
