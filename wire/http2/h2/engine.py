"""The reference engine, everything that it receives: PyPI's h2 behind the contract of `wire.http2.engine`.

h2 keeps the windows and the states of streams, applies settings, encodes fields and writes frames. Each frame is judged
before h2 sees it, by `reader` and then here, because h2 4.4.1 ends the connection where RFC 9113 ends a stream or reads
on, and bounds nothing. So h2 only sees frames that it accepts, and two kinds not at all: field sections are decoded by
`field_decoder`, and h2 gets an empty HEADERS in their place, for the stream's state; and GOAWAY, as for h2 that ends
every stream.

What it sends is in `sender`. Nothing in wire but this folder imports h2.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from h2.exceptions import ProtocolError

from wire.config import Http2Config
from wire.http2.codes import (
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    ErrorCode,
    FrameType,
    Setting,
)
from wire.http2.engine import Fields, Sink, Stream
from wire.http2.h2.field_decoder import FieldDecoder
from wire.http2.h2.reader import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEADER_BYTES,
    PADDED,
    FrameReader,
    PeerError,
    pack_frame,
    without_padding,
)
from wire.http2.h2.sender import H2Sender, H2Stream
from wire.http2.limits import FREE_SETTINGS, LEAST_STALL_S, WINDOWS_AT_ONCE, tiny
from wire.http2.validation import content_length

_UINT: Final = Struct(">L")
_TWO_UINTS: Final = Struct(">LL")
_SETTING: Final = Struct(">HL")
_KNOWN_SETTINGS: Final = frozenset(Setting)
_ENCODER_TABLE_BYTES: Final = 4096
_H2_GOAWAY_BYTES: Final = 17


class H2Engine(H2Sender):
    """One HTTP/2 connection of either role. `client`: our role; `sink`: hears what was received; `config`: limits and
    windows."""

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._field_decoder = FieldDecoder(client, config)
        self._reader = FrameReader(client, config)
        self._now = float("inf")  # until the first read
        self._skipped = range(0)  # server: the ids it skipped last
        self._unused_ids = 0  # how many it ever skipped
        self._settled = False  # our SETTINGS are acknowledged
        # The connection's receive window as the peer has it, and what of it went to DATA that h2 did not see.
        self._receive_window = config.connection_window_bytes
        self._granted_bytes = config.connection_window_bytes  # on the connection, ever
        self._unseen_bytes = 0

    # Reading.

    def receive(self, data: bytes, now: float) -> bool:
        if self._failed:
            return False
        if now - self._now >= LEAST_STALL_S:
            self._limits.stalled(self._now, now)
        self._now = now
        try:
            for kind, flags, stream_id, frame in self._reader.read(data):
                if _HANDLERS.get(kind, H2Engine._on_other)(self, flags, stream_id, frame):
                    self._reader.slice_over = True
            return self._reader.has_more
        except PeerError as error:
            self._fail(error.code, error.reason)
        except ProtocolError as error:  # new settings open a stream's window too far (§6.9.2), which h2 finds
            self._out.append(self._h2.data_to_send()[:-_H2_GOAWAY_BYTES])
            self._fail(ErrorCode(error.error_code), "settings that open a window too far")
        self._reader.clear()
        return False

    # Frames. `frame` is the whole of it, header included.

    def _on_data(self, flags: int, stream_id: int, frame: bytes) -> None:
        data = without_padding(frame) if flags & PADDED else frame[HEADER_BYTES:]
        length = len(frame) - HEADER_BYTES
        end = flags & END_STREAM != 0
        stream = self.streams.get(stream_id)
        if (
            not end
            and tiny(length, len(data))
            and not (length == len(data) and self._limits.explains_tiny(self._granted_bytes - self._receive_window))
        ) or (stream is None and not self._resets.explains_data(stream_id, length, end)):
            self._charge_control()
        if length > self._receive_window:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        self._receive_window -= length
        self._unseen_bytes += length
        if stream is None:
            self._check_late(stream_id, ErrorCode.STREAM_CLOSED)
        elif stream.peer_ended:
            self._break_stream(stream, ErrorCode.STREAM_CLOSED)
        elif self._client and not stream.answered:
            self._break_stream(stream, ErrorCode.PROTOCOL_ERROR)
        elif length > stream.receive_window:
            raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than its stream's window")
        elif not self._fits_length(stream, len(data), end):
            self._break_stream(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self._h2.receive_data(frame)
            self._unseen_bytes -= length
            stream.receive_window -= length
            if end:
                self._peer_ended(stream)
            elif length > len(data):
                stream.receive_window += length - len(data)
                self._widen(((stream_id, length - len(data)),))
            if data or end:
                self._sink.on_data(stream, data, end)
        window_bytes = self._config.connection_window_bytes
        if self._receive_window <= window_bytes - window_bytes // 2:
            self._grant_connection()

    def _on_reset(self, flags: int, stream_id: int, frame: bytes) -> None:
        stream = self.streams.get(stream_id)
        explained = self._limits.explains_reset(self.streams_opened)
        if stream is None:
            if not explained:
                self._charge_control()
            self._check_opened(stream_id)
            return
        (code,) = _UINT.unpack_from(frame, HEADER_BYTES)
        self._h2.receive_data(frame)
        self._close(stream)
        complete = self._client and stream.peer_ended and code == ErrorCode.NO_ERROR  # §8.1
        served = not complete and self._sink.on_reset(stream, code, True)
        if not (self._client or (served and explained)):
            self._charge_reset()

    def _on_settings(self, flags: int, stream_id: int, frame: bytes) -> bool:
        if flags & ACK:
            if self._settled:
                self._charge_control()
                return False
            self._settled = True
            self._field_decoder.settings_acknowledged()
            self._sink.on_settings_ack()
            return False
        self._charge_control(max(1, (len(frame) - HEADER_BYTES) // _SETTING.size - FREE_SETTINGS))
        self._count_reply()
        table_sizes: list[int] = []
        settings: dict[int, int] = {}  # h2 keeps every setting it is given, so it gets those that are known
        for identifier, value in _SETTING.iter_unpack(frame[HEADER_BYTES:]):
            if identifier in _KNOWN_SETTINGS:
                try:
                    self._h2.remote_settings.validate_received_setting(identifier, value)
                except ProtocolError as error:
                    raise PeerError(ErrorCode(error.error_code), f"setting {identifier} is {value}") from None
                if identifier == Setting.HEADER_TABLE_SIZE:
                    table_sizes.append(min(value, _ENCODER_TABLE_BYTES))
                else:
                    settings[identifier] = value
        if table_sizes:  # of thousands only these matter (RFC 7541 §4.2)
            self._resize_encoder_table(min(table_sizes))
            self._resize_encoder_table(table_sizes[-1])
        window_bytes = self._h2.remote_settings.initial_window_size
        changed = settings.get(Setting.INITIAL_WINDOW_SIZE, window_bytes) != window_bytes
        if changed:
            self._charge_control(len(self.streams) // WINDOWS_AT_ONCE)
        payload = b"".join([_SETTING.pack(*setting) for setting in settings.items()])
        self._h2.receive_data(pack_frame(FrameType.SETTINGS, 0, 0, payload))
        self._update_can_open()
        limit = settings.get(Setting.MAX_HEADER_LIST_SIZE)
        if limit is not None:
            self.peer_max_header_list_bytes = limit
        self._sink.on_settings()
        if Setting.INITIAL_WINDOW_SIZE in settings:
            self._ready.update({id_: stream for id_, stream in self.streams.items() if stream.queued_bytes})
            self._pump()
        return changed and len(self.streams) > WINDOWS_AT_ONCE

    def _resize_encoder_table(self, size_bytes: int) -> None:
        encoder = self._h2.encoder
        if size_bytes != encoder.header_table_size:  # a second change to the same size would hide the first from hpack
            encoder.header_table_size = size_bytes
            changes = encoder.table_size_changes
            changes[:] = sorted({min(changes), size_bytes})  # RFC 7541 §4.2: the smallest and the last

    def _on_ping(self, flags: int, stream_id: int, frame: bytes) -> None:
        if flags & ACK:
            if not self._limits.explains_ping_ack():
                self._charge_control()
            self._sink.on_ping_ack(frame[HEADER_BYTES:])
        else:
            explained = self._limits.explains_ping()
            if not explained:
                self._charge_control()
            self._count_reply()
            self._h2.receive_data(frame)
            self._sink.on_ping(explained)

    def _on_goaway(self, flags: int, stream_id: int, frame: bytes) -> None:
        self._charge_control()
        last_id, code = _TWO_UINTS.unpack_from(frame, HEADER_BYTES)
        last_id &= MAX_STREAM_ID
        self.drained = True
        self.can_open = False
        if self._client:
            for stream in [stream for id_, stream in self.streams.items() if id_ > last_id]:
                if not stream.closed:  # the sink may have reset it meanwhile
                    self._resets.add(stream.id, self._h2.streams[stream.id].inbound_flow_control_window)
                    self._close(stream)
                    self._sink.on_reset(stream, ErrorCode.REFUSED_STREAM, True)
        self._sink.on_goaway(last_id, code, frame[HEADER_BYTES + _TWO_UINTS.size :])

    def _on_window_update(self, flags: int, stream_id: int, frame: bytes) -> None:
        if not self._limits.explains_window_update():
            self._charge_control()
        increment = _UINT.unpack_from(frame, HEADER_BYTES)[0] & MAX_WINDOW_BYTES
        frame = pack_frame(FrameType.WINDOW_UPDATE, 0, stream_id, _UINT.pack(increment))  # h2 minds the reserved bit
        if stream_id == 0:
            if increment == 0:
                raise PeerError(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
            if self._h2.outbound_flow_control_window + increment > MAX_WINDOW_BYTES:
                raise PeerError(ErrorCode.FLOW_CONTROL_ERROR, "a WINDOW_UPDATE past the largest window")
            self._h2.receive_data(frame)
            self._pump()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_opened(stream_id)
        elif increment == 0:
            self._break_stream(stream, ErrorCode.PROTOCOL_ERROR)
        elif self._h2.streams[stream_id].outbound_flow_control_window + increment > MAX_WINDOW_BYTES:
            self._break_stream(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            self._h2.receive_data(frame)
            if stream.queued_bytes:
                self._ready[stream_id] = stream
                self._pump()

    def _on_other(self, flags: int, stream_id: int, frame: bytes) -> None:
        """PRIORITY (§5.3.2) and types that are not known (§5.5)."""
        self._charge_control()

    # Field sections.

    def _on_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        end_stream = flags & END_STREAM != 0
        fields = self._field_decoder.decode(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            if not self._client and stream_id > self._highest_id and stream_id & 1:
                self._on_request(stream_id, fields, end_stream)
            else:
                if not self._resets.explains_section(stream_id, end_stream):
                    self._charge_control()
                skipped = stream_id in self._skipped  # §5.1.1
                self._check_late(stream_id, ErrorCode.PROTOCOL_ERROR if skipped else ErrorCode.STREAM_CLOSED)
        elif stream.peer_ended:
            self._break_stream(stream, ErrorCode.STREAM_CLOSED)
        elif self._client and not stream.answered:
            self._on_response(stream, fields, end_stream)
        else:
            self._on_trailers(stream, fields, end_stream)

    def _on_request(self, stream_id: int, fields: Fields, end_stream: bool) -> None:
        if stream_id > self._highest_id + 2:
            self._skipped = range(self._highest_id + 2, stream_id, 2)
            self._unused_ids += len(self._skipped)
        self._highest_id = stream_id
        self.drained = self.drained or stream_id == MAX_STREAM_ID
        if self._last_id is not None or len(self.streams) >= self._config.max_concurrent_streams:  # §6.8, §5.1.2
            self._refuse(stream_id, ErrorCode.REFUSED_STREAM)
            return
        section = self._field_decoder.judge(fields, trailers=False)
        if isinstance(section, ErrorCode):
            self._refuse(stream_id, section)
            return
        stream = H2Stream(stream_id, self._config.stream_window_bytes)
        stream.expected_bytes = content_length(fields)
        if not self._fits_length(stream, 0, end_stream):
            self._refuse(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self.streams[stream_id] = stream
        self._take_headers(stream, end_stream)
        self._sink.on_headers(stream, section, end_stream)

    def _on_response(self, stream: H2Stream, fields: Fields, end_stream: bool) -> None:
        section = self._field_decoder.judge(fields, trailers=False)
        if isinstance(section, ErrorCode):
            self._break_stream(stream, section)
        elif fields[0][1].startswith(b"1"):  # §8.1
            if end_stream:
                self._break_stream(stream, ErrorCode.PROTOCOL_ERROR)
            else:
                self._charge_control()
        else:
            stream.answered = True
            stream.expected_bytes = content_length(fields)
            self._take_headers(stream, end_stream)
            self._sink.on_headers(stream, section, end_stream)

    def _on_trailers(self, stream: H2Stream, fields: Fields, end_stream: bool) -> None:
        section = self._field_decoder.judge(fields, trailers=True)
        if isinstance(section, ErrorCode):
            self._break_stream(stream, section)
        elif not end_stream or not self._fits_length(stream, 0, True):
            self._break_stream(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            self._take_headers(stream, True)
            self._sink.on_trailers(stream, section)

    def _fits_length(self, stream: H2Stream, size_bytes: int, end_stream: bool) -> bool:
        """Count DATA against content-length (§8.1.1)."""
        stream.received_bytes += size_bytes
        if stream.expected_bytes < 0 or (self._client and stream.received_bytes == 0):
            return True
        if end_stream:
            return stream.received_bytes == stream.expected_bytes
        return stream.received_bytes <= stream.expected_bytes

    def _take_headers(self, stream: H2Stream, end_stream: bool) -> None:
        """Have h2 follow the stream's state; it gets no field, as the module says."""
        self._h2.receive_data(pack_frame(FrameType.HEADERS, END_HEADERS | (END_STREAM if end_stream else 0), stream.id))
        if end_stream:
            self._peer_ended(stream)

    # Streams' ends, errors and limits.

    def _check_opened(self, stream_id: int) -> None:
        """Raise for a frame on a stream that is idle (§5.1)."""
        if stream_id & 1 == 0 or (stream_id >= self._next_id if self._client else stream_id > self._highest_id):
            raise PeerError(ErrorCode.PROTOCOL_ERROR, "a frame on a stream that was never opened")

    def _check_late(self, stream_id: int, code: ErrorCode) -> None:
        """Raise for a frame on a stream that is not open, unless it can have crossed a reset of ours (§5.1)."""
        self._check_opened(stream_id)
        if not self._resets.excuses(stream_id):
            raise PeerError(code, "a frame on a stream that is closed")

    @property
    def windows(self) -> tuple[int, int]:
        return self._h2.outbound_flow_control_window, self._receive_window

    @property
    def streams_opened(self) -> int:
        return (self._next_id if self._client else self._highest_id + 1 - 2 * self._unused_ids) // 2

    def _charge_control(self, count: int = 1) -> None:
        if not self._limits.controls.charge(self._now, count):
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _count_reply(self) -> None:
        if self.queued_replies >= self._config.max_queued_replies:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many replies that are not read")
        self.queued_replies += 1

    def _charge_reset(self) -> None:
        if not self._limits.resets.charge(self._now):
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        """A stream error of a stream that neither h2 nor the sink has seen."""
        self._charge_reset()
        self._count_reply()
        self._queue(pack_frame(FrameType.RST_STREAM, 0, stream_id, _UINT.pack(code)))
        self._resets.add(stream_id, self._config.stream_window_bytes)

    def _break_stream(self, stream: H2Stream, code: ErrorCode) -> None:
        """A stream error (§5.4.2)."""
        self._charge_reset()
        self._count_reply()
        self._reset(stream, code)
        self._sink.on_reset(stream, code, False)

    def _fail(self, code: ErrorCode, reason: str) -> None:
        self.goaway(code, reason.encode())
        self._failed = True
        self._sink.on_connection_error(code, reason)

    def refuse(self, stream: Stream) -> None:
        self._charge_reset()
        self._count_reply()
        self._reset(self.streams[stream.id], ErrorCode.REFUSED_STREAM)

    def _grant_connection(self) -> None:
        """On arrival, whatever becomes of the stream: one that nobody reads must not hold up the others."""
        increment = self._config.connection_window_bytes - self._receive_window
        self._receive_window += increment
        self._granted_bytes += increment
        if self._unseen_bytes:
            self._queue(pack_frame(FrameType.WINDOW_UPDATE, 0, 0, _UINT.pack(self._unseen_bytes)))
        if increment > self._unseen_bytes:
            self._h2.increment_flow_control_window(increment - self._unseen_bytes)
        self._unseen_bytes = 0


_HANDLERS: Final[dict[int, Callable[[H2Engine, int, int, bytes], bool | None]]] = {
    FrameType.DATA: H2Engine._on_data,
    FrameType.HEADERS: H2Engine._on_headers,
    FrameType.RST_STREAM: H2Engine._on_reset,
    FrameType.SETTINGS: H2Engine._on_settings,
    FrameType.PING: H2Engine._on_ping,
    FrameType.GOAWAY: H2Engine._on_goaway,
    FrameType.WINDOW_UPDATE: H2Engine._on_window_update,
}
