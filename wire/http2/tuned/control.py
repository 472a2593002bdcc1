"""The tuned engine: frames about streams and the connection, both ways; errors; what a peer's frames are charged to.

Header sections and DATA are in `engine`, what calls send in `sender`. A rule broken at the cost of the connection
raises `ConnectionFault`, which `engine` catches.
"""

from __future__ import annotations

from typing import Final

from wire.config import Http2Config
from wire.http2.codes import (
    MAX_MAX_FRAME_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    MIN_MAX_FRAME_BYTES,
    ErrorCode,
    Setting,
)
from wire.http2.engine import SHORT_REPLY_BYTES, Sink
from wire.http2.limits import FREE_SETTINGS, WINDOWS_AT_ONCE
from wire.http2.tuned import frames
from wire.http2.tuned.decoder import DEFAULT_TABLE_BYTES, ConnectionFault, Decoder
from wire.http2.tuned.frames import ACK, UINT32
from wire.http2.tuned.sender import AnyStream, TunedSender
from wire.http2.tuned.streams import CONNECTION, ENDED, TunedStream

_PROTOCOL_ERROR: Final = ErrorCode.PROTOCOL_ERROR
_TABLE_SIZE: Final = int(Setting.HEADER_TABLE_SIZE)


class ControlFrames(TunedSender):
    """A method for each type of frame: (stream's id, flags, body)."""

    __slots__ = ("_decoder", "_now", "_settled", "_unused_ids")

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._decoder = Decoder(client, config.max_header_list_bytes, config.max_header_fields)
        # Until our SETTINGS are acknowledged the peer may still use the default, and may use ours already.
        self._decoder.allow_table(max(config.header_table_bytes, DEFAULT_TABLE_BYTES))
        self._now = 0.0
        self._settled = False  # our SETTINGS are acknowledged
        self._unused_ids = 0  # how many the peer ever left out

    def _on_other(self, stream_id: int, flags: int, body: bytes) -> None:
        """PRIORITY (§5.3.2) and types that are not known (§5.5) are read past, on streams of any state."""
        self._charge_control()

    def _on_rst_stream(self, stream_id: int, flags: int, body: bytes) -> None:
        stream = self.streams.get(stream_id)
        explained = self._limits.explains_reset(self.streams_opened)
        if stream is None:
            if not explained:
                self._charge_control()
            if self._is_idle(stream_id):
                raise ConnectionFault(_PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            return
        code = UINT32.unpack(body)[0]
        complete = self._client and stream.remote == ENDED and code == ErrorCode.NO_ERROR  # §8.1
        self._forget(stream_id)
        served = not complete and self._sink.on_reset(stream, code, True)
        if not (self._client or (served and explained)):
            self._charge_reset()

    def _on_settings(self, stream_id: int, flags: int, body: bytes) -> bool:
        if flags & ACK:
            if self._settled:
                self._charge_control()
                return False
            self._settled = True
            self._decoder.allow_table(self._config.header_table_bytes)
            self._sink.on_settings_ack()
            return False
        self._charge_control(max(1, len(body) // frames.SETTING.size - FREE_SETTINGS))
        self._count_reply()
        window_bytes = self._peer_window_bytes
        for setting, value in frames.SETTING.iter_unpack(body):
            self._apply_setting(setting, value)
        table_sizes = [value for setting, value in frames.SETTING.iter_unpack(body) if setting == _TABLE_SIZE]
        if table_sizes:  # of thousands only these matter (RFC 7541 §4.2)
            self._encoder.limit_table(min(table_sizes))
            self._encoder.limit_table(table_sizes[-1])
            self._reply_shapes = None
        self._widen_streams(self._peer_window_bytes - window_bytes)
        self._judge_short_requests()
        self._out.append(frames.SETTINGS_ACK)
        self._update_can_open()
        self._sink.on_settings()
        if self._peer_window_bytes > window_bytes:
            self._ready.update({stream_id: stream for stream_id, stream in self.streams.items() if stream.queue})
            self._write_turns()
        return self._peer_window_bytes != window_bytes and len(self.streams) > WINDOWS_AT_ONCE

    def _apply_setting(self, setting: int, value: int) -> None:
        """§6.5.2, all but the table's size; settings that are not known are ignored."""
        if setting == Setting.ENABLE_PUSH:
            if value > (0 if self._client else 1):
                raise ConnectionFault(_PROTOCOL_ERROR, "a bad SETTINGS_ENABLE_PUSH")
        elif setting == Setting.MAX_CONCURRENT_STREAMS:
            self._peer_max_streams = value
        elif setting == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1")
            self._peer_window_bytes = value
        elif setting == Setting.MAX_FRAME_SIZE:
            if not MIN_MAX_FRAME_BYTES <= value <= MAX_MAX_FRAME_BYTES:
                raise ConnectionFault(_PROTOCOL_ERROR, "a bad SETTINGS_MAX_FRAME_SIZE")
            self._peer_max_frame_bytes = value
        elif setting == Setting.MAX_HEADER_LIST_SIZE:
            self.peer_max_header_list_bytes = value

    def _judge_short_requests(self) -> None:
        """How much DATA a request may have that the sink is offered; -1: it is offered none."""
        self._short_request_bytes = -1
        self._spare = None  # its window is of the settings before
        if self._short_reply is not None and self._peer_window_bytes >= SHORT_REPLY_BYTES:
            self._short_request_bytes = min(self._config.max_frame_bytes, self._stream_window_bytes)

    def _widen_streams(self, change: int) -> None:
        """§6.9.2, once for a frame: what it changes in the end."""
        if change:
            self._charge_control(len(self.streams) // WINDOWS_AT_ONCE)
            for stream in self.streams.values():
                if not stream.widen(change):
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window over 2^31-1")

    def _on_push_promise(self, stream_id: int, flags: int, body: bytes) -> None:
        raise ConnectionFault(_PROTOCOL_ERROR, "PUSH_PROMISE, which our SETTINGS forbid")  # §6.6, §8.4

    def _on_ping(self, stream_id: int, flags: int, body: bytes) -> None:
        if flags & ACK:
            if not self._limits.explains_ping_ack():
                self._charge_control()
            self._sink.on_ping_ack(body)
        else:
            explained = self._limits.explains_ping()
            if not explained:
                self._charge_control()
            self._count_reply()
            self._out.append(frames.ping(body, ACK))
            self._sink.on_ping(explained)

    def _on_goaway(self, stream_id: int, flags: int, body: bytes) -> None:
        self._charge_control()
        last_id = UINT32.unpack_from(body)[0] & MAX_STREAM_ID
        code = UINT32.unpack_from(body, 4)[0]
        self.drained = True
        self.can_open = False
        if self._client:
            for stream in [stream for stream in self.streams.values() if stream.id > last_id]:
                if not stream.closed:  # the sink may have reset it meanwhile
                    self._resets.add(stream.id, stream.receive_window)
                    self._forget(stream.id)
                    self._sink.on_reset(stream, ErrorCode.REFUSED_STREAM, True)
        self._sink.on_goaway(last_id, code, body[8:])

    def _on_window_update(self, stream_id: int, flags: int, body: bytes) -> None:
        if not self._limits.explains_window_update():
            self._charge_control()
        increment = UINT32.unpack(body)[0] & MAX_WINDOW_BYTES
        if stream_id == CONNECTION:
            if not increment:
                raise ConnectionFault(_PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if not self._connection.widen(increment):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window over 2^31-1")  # §6.9.1
            self._write_turns()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(_PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        elif not increment:
            self._stream_error(stream, _PROTOCOL_ERROR)
        elif not stream.widen(increment):
            self._stream_error(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif stream.queue:
            self._ready[stream_id] = stream
            self._write_turns()

    # Errors and budgets ---------------------------------------------------------------------------------------------

    @property
    def streams_opened(self) -> int:
        return (self._next_id if self._client else self._highest_peer_id + 1 - 2 * self._unused_ids) // 2

    def _stream_error(self, stream: TunedStream, code: ErrorCode) -> None:
        """§5.4.2."""
        self._write_reset(stream.id, code, stream.receive_window)
        self._forget(stream.id)
        self._sink.on_reset(stream, code, False)

    def refuse(self, stream: AnyStream) -> None:
        self._write_reset(stream.id, ErrorCode.REFUSED_STREAM, stream.receive_window)
        self._forget(stream.id)

    def _reset_unseen(self, stream_id: int, code: ErrorCode) -> None:
        self._write_reset(stream_id, code, self._stream_window_bytes)

    def _write_reset(self, stream_id: int, code: ErrorCode, window_bytes: int) -> None:
        """RST_STREAM because of what the peer sent. `window_bytes`: what it may have sent since."""
        self._charge_reset()
        self._count_reply()
        self._resets.add(stream_id, window_bytes)
        self._out.append(frames.rst_stream(stream_id, code))

    def _charge_reset(self) -> None:
        if not self._limits.resets.charge(self._now):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _charge_control(self, count: int = 1) -> None:
        if not self._limits.controls.charge(self._now, count):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry nothing")

    def _count_reply(self) -> None:
        """Room for one more answer to what the peer sent, which does not read."""
        if self.queued_replies >= self._config.max_queued_replies:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many replies wait to be read")
        self.queued_replies += 1

    def _fail(self, code: ErrorCode, reason: str) -> None:
        """§5.4.1. The streams stay for the sink to end; nothing more is sent on them."""
        self._write_goaway(code, reason.encode())
        self._failed = True
        for stream in self.streams.values():
            stream.local = ENDED
        self._sink.on_connection_error(code, reason)

    # What is sent.

    def ping(self, payload: bytes) -> None:
        if not self._failed:
            self._limits.awaited += 1
            self._out.append(frames.ping(payload))

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> None:
        if self._failed:
            return
        if final or self._goaway_id is not None:
            self._write_goaway(code, debug)
        else:
            self._out.append(frames.goaway(MAX_STREAM_ID, code, debug))

    def _write_goaway(self, code: int, debug: bytes) -> None:
        """A final GOAWAY: names the highest stream of the peer's, but never a higher one than before (§6.8)."""
        if self._goaway_id is None:
            self._goaway_id = max(self._highest_peer_id, 0)
        self._stream_limit = 0
        self.drained = True
        self.can_open = False
        self._out.append(frames.goaway(self._goaway_id, code, debug))

    def _is_idle(self, stream_id: int) -> bool:
        """Never opened (§5.1.1): of ours those from the next one on, of the peer's those above its highest; nobody
        pushes."""
        if not stream_id & 1:
            return True
        return stream_id >= self._next_id if self._client else stream_id > self._highest_peer_id
