"""Joins a transport, an engine and the calls on it: what a client's and a server's connection have in common.

Bytes come in by `data_received` and go straight into the engine, which calls back the sink's methods (of the
subclasses); whatever that produced leaves in one write. Sends made at other times are gathered: `wake` has them
written once, after the callbacks of the present loop turn. Nothing here awaits, but for senders that must wait for
their peer.

Imports `transport.transport`, `http2`, `config`, `deadline`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from wire.config import CallConfig, EngineName, Http2Config, KeepaliveConfig
from wire.deadline import DeadlineTimer
from wire.http2.codes import ErrorCode
from wire.http2.engine import Engine, HeaderList, Sink, Stream
from wire.http2.engines import engine_factory
from wire.http2.preface import NO_SERVER, TLS_CLIENT, TLS_SERVER
from wire.live import ConnectionState, next_number
from wire.message_decoder import ThreadTurns
from wire.transport.contract import Future, Peer, Runtime, Timer, Transport

_TURN_ROOM = 1 << 16
"""What all streams together may send in one loop turn, in bytes; after that, what each request brings, or one message
for each sender. Whenever so much more was sent, it is written out."""
MESSAGE_COST = 128
"""What each message takes of that beside its bytes: 500 small ones are a millisecond's work."""
_WRITE_BYTES = 1 << 18  # framed, these are written before a long message is framed, and in pieces, which spares a copy
_PING_PAYLOAD = b"wirelive"


class Sender(Protocol):
    """Keeps what it sends together until the connection writes."""

    def written(self) -> None: ...


class Connection:
    """One HTTP/2 connection in either role. A `transport.transport.TransportProtocol` and an `http2.engine.Sink`.

    `calls_wait`: some have not begun, because there is no room for their replies; `flush` then says `wake_calls`.
    `congested`: the transport holds more than it wants to; senders wait. `closing`: the transport is closed once no
    stream is open and what was read is handled. `lost`: there is no transport any more. `heard_at`: when the peer last
    sent something, on the runtime's clock.
    """

    __slots__ = (
        "_at_eof",
        "_awaiting_ping",
        "_behind",
        "_blocked",
        "_flush_due",
        "_flush_planned",
        "_gathered",
        "_is_client",
        "_keepalive",
        "_keepalive_timer",
        "_make_engine",
        "_max_turn_s",
        "_more_to_write",
        "_now",
        "_pings_when_idle",
        "_reading_held",
        "_settings_timeout_s",
        "_settings_timer",
        "_stall_timer",
        "_turn",
        "_turn_calls",
        "_turn_ends_at",
        "_turn_open",
        "calls_failed",
        "calls_wait",
        "closing",
        "config",
        "congested",
        "deadlines",
        "engine",
        "error",
        "heard_at",
        "lost",
        "max_metadata_bytes",
        "number",
        "runtime",
        "thread_turns",
        "transport",
        "turn",
        "turn_room",
    )

    def __init__(
        self,
        runtime: Runtime,
        *,
        client: bool,
        engine: EngineName,
        http2: Http2Config,
        calls: CallConfig,
        keepalive: KeepaliveConfig,
    ) -> None:
        self.number = next_number()
        self.calls_failed = 0
        """Calls that ended with a status other than OK."""
        self.runtime = runtime
        self.config = calls
        self.max_metadata_bytes = http2.max_header_list_bytes
        self.engine: Engine
        """Made with the transport, and closed with it: the two hold each other, and a connection that never comes about
        would keep them for the garbage collector."""
        new_engine = engine_factory(engine)
        self._make_engine: Callable[[Sink], Engine] = lambda sink: new_engine(client, sink, http2)
        self.deadlines = DeadlineTimer(runtime.now, runtime.call_later)
        self.transport: Transport | None = None
        self.lost = False
        self.congested = False
        self.closing = False
        self.calls_wait = False
        self.error: str | None = None
        """What broke the connection, as a sentence, once something has."""
        self._now = runtime.now
        self._flush_due = self._flush_planned = False  # due: planned, or at the end of this read
        self.turn_room = 0
        """What streams may still send in this turn; each takes its share of it, and when there is none left asks
        `turn_over`."""
        self.turn = 0
        """Counts what is written: what is sent within one of these leaves together."""
        self._gathered: list[Sender] = []
        self._turn_open = False  # something was sent since the last flush, or is being received
        self._turn_calls = 0  # clients: that began since the last write
        self._more_to_write = False
        self._blocked: list[Future[None]] = []
        self._is_client = client
        self._max_turn_s = http2.max_turn_s
        self._settings_timeout_s = http2.settings_timeout_s
        self._settings_timer: Timer | None = None
        self.thread_turns = ThreadTurns(runtime)
        self._behind = False  # there are frames that were read and not handled
        self._at_eof = False  # the peer closed its side, which is to be told behind them
        self._reading_held = False  # for another reason
        self._turn = float("-inf")  # when the present turn of the loop began, on the runtime's clock
        self._turn_ends_at = 0.0  # when reading must give way, on `perf_counter`'s
        self._keepalive = keepalive
        self._pings_when_idle = keepalive.without_calls or not client
        self._keepalive_timer: Timer | None = None
        self._awaiting_ping = False
        self.heard_at = 0.0
        self._stall_timer: Timer | None = None

    # What a transport calls.

    def connection_made(self, transport: Transport) -> None:
        self.heard_at = self._now()
        self.engine = self._make_engine(self)
        self.engine.start()
        self.transport = transport  # last: another thread that sees it may ask for our state
        if self._is_client:  # a server's SETTINGS wait for the client's preface: HTTP/1 would take them for an answer
            self.flush()
        self._settings_timer = self.runtime.call_later(self._settings_timeout_s, self._settings_ignored)
        if self._keepalive.time_s is not None:
            self._keepalive_timer = self.runtime.call_later(self._keepalive.time_s, self._check_silence)

    def data_received(self, data: bytes) -> None:
        self.heard_at = now = self._now()
        self._flush_due = self._turn_open = True
        self.turn_room = 0 if self.congested else _TURN_ROOM
        if self.engine.receive(data, now):
            self._receive_rest(now)
        self.flush()

    def _receive_rest(self, now: float) -> None:
        """Go on with what was read while this turn of the loop has time left. What then is left waits for the next one,
        and so does what the transport has not read yet.

        uvloop reads up to 32 times in a turn, and its clock stands still meanwhile; so these reads share one turn.
        """
        if now != self._turn:
            self._turn = now
            self._turn_ends_at = self._end_of_turn()
        while self.error is None and not self.must_give_way():
            if not self.engine.receive(b"", self.heard_at):
                return
            if perf_counter() >= self._turn_ends_at:
                break
        if self.error is not None:
            return
        if not self._behind:
            self._behind = True
            self._update_reading()
            self.in_turn(self._next_turn)

    def in_turn(self, callback: Callable[[], object]) -> None:
        """Have it called in a turn of the loop to come."""
        self.runtime.call_soon(callback)

    def _end_of_turn(self) -> float:
        return perf_counter() + self._max_turn_s

    def late(self) -> bool:
        """Whether this turn of the loop has lasted as long as it may: what goes on by itself awaits `later`."""
        return perf_counter() >= self._end_of_turn()

    def later(self) -> Future[None]:
        """Done in a turn of the loop to come."""
        waiter: Future[None] = self.runtime.future()
        self.release([waiter])
        return waiter

    def release(self, waiters: list[Future[None]]) -> None:
        """Let tasks go on that waited for room, or for messages."""
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def must_give_way(self) -> bool:
        """Whether what was read must let other callbacks run before this turn's time is over."""
        return False

    def _next_turn(self) -> None:
        """Where `_receive_rest` has to go on."""
        if not self._behind:  # the transport is lost or closed
            return
        self._behind = False
        self._flush_due = self._turn_open = True
        self.turn_room = 0 if self.congested else _TURN_ROOM
        self._turn_ends_at = self._end_of_turn()
        self._receive_rest(self._turn)
        self.flush()
        if not self._behind:
            self._update_reading()
            if self._at_eof:
                self.eof_received()

    def _update_reading(self) -> None:
        """Have the transport read, or not."""
        if self.transport is not None:
            if self._behind or self._reading_held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def eof_received(self) -> None:
        if self._behind:
            self._at_eof = True
        elif self.transport is not None:
            self._close_transport(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        while self._behind and self._is_client and self.error is None:  # calls may end well with what came in time
            self._behind = self.engine.receive(b"", self.heard_at)
        self._behind = False
        self.lost = True
        self.transport = None
        for timer in (self._keepalive_timer, self._stall_timer, self._settings_timer):
            if timer is not None:
                timer.cancel()
        self.deadlines.close()
        self._unblock()
        streams = list(self.engine.streams.values())
        self.engine.close()
        reason = f"the connection broke: {error}" if error else "the peer closed the connection"
        self.on_lost(self.error or reason, [stream.call for stream in streams if stream.call is not None])

    def pause_writing(self) -> None:
        self.congested = True
        self.turn_room = min(self.turn_room, 0)  # whoever sends asks `turn_over`, and then looks at this
        self._watch_stall()

    def resume_writing(self) -> None:
        self.congested = False
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        self._unblock()
        if self._more_to_write:
            self.in_turn(self._write_more)

    reply: tuple[HeaderList, HeaderList] | None = None

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        return None

    @abstractmethod
    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None: ...

    @abstractmethod
    def on_lost(self, reason: str, calls: list[Any]) -> None:
        """The transport is gone, and the streams are closed; end their calls."""

    def wake_calls(self) -> None:
        """Something left: there may be room for the calls that wait."""

    def state(self, peer: Peer) -> ConnectionState:
        """For a connection that has its transport."""
        engine, transport = self.engine, self.transport
        send_window, receive_window = engine.windows
        return ConnectionState(
            self.number,
            peer,
            engine.streams_opened,
            self.calls_failed,
            len(engine.streams),
            send_window,
            receive_window,
            engine.held_bytes,
            max(0.0, self._now() - self.heard_at),
            None if transport is None else transport.local_address(),
            None if transport is None else transport.counters(),
        )

    # Writing.

    def flush(self) -> None:
        """Write what the engine has queued."""
        self._flush_due = self._flush_planned
        self._turn_open = False
        self.turn_room = 0
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            for sender in gathered:
                sender.written()
        self._write()
        if self.closing and not self.engine.streams and not self._behind and self.transport is not None:
            self._close_transport(self.transport)
        if self.calls_wait and self.transport is not None:
            self.wake_calls()

    def _planned_flush(self) -> None:
        """One in each turn of the loop: senders that have had their share of it get the next one after this."""
        self._flush_planned = False
        self.flush()

    def _write(self) -> None:
        self._turn_calls = 0
        self.turn += 1
        engine, transport = self.engine, self.transport
        if engine.held_bytes > _WRITE_BYTES and engine.framed_bytes > _WRITE_BYTES and transport is not None:
            transport.writelines(engine.take_pieces())
            return
        data = engine.take()
        if data and transport is not None:
            transport.write(data)

    def make_room(self) -> None:
        """A long message is to be queued. Of many in one turn not all leave at once: to write tens of mebibytes takes
        tens of milliseconds, and most of it would only be copied, as the peer's socket takes no more than a few."""
        if self.engine.framed_bytes > _WRITE_BYTES:
            self._write()

    def wake(self) -> None:
        """Something was queued: have it written after the callbacks of this loop turn."""
        if not self._flush_due:
            self._flush_due = self._flush_planned = True
            self.runtime.call_soon(self._planned_flush)

    def call_started(self, call: Any) -> None:
        """Clients: a call has begun on a stream. As `wake`, at the latest."""
        self.wake()

    def gather(self, sender: Sender) -> None:
        """Have `sender.written()` called before the next `flush` writes. As `wake`."""
        self._gathered.append(sender)
        if not self._flush_due:
            self._flush_due = self._flush_planned = True
            self.runtime.call_soon(self._planned_flush)

    def turn_over(self) -> bool:
        """A message was sent, for which `turn_room` had no room left. As `wake`; True when its sender shall let others
        run. What never waits is written out every so often."""
        if not self._turn_open:  # it is the first since the last flush
            self._turn_open = True
            self.wake()
            if not self.congested:
                self.turn_room += _TURN_ROOM
            return self.turn_room <= 0
        if self.turn_room < -_TURN_ROOM:
            self._write()
            self.turn_room = 0
        return True

    def uncongested(self) -> Future[None]:
        """Done once the transport takes bytes again, or is lost; whoever waits for it may end that before."""
        future = self.runtime.future()
        self._blocked.append(future)
        return future

    def _unblock(self) -> None:
        blocked, self._blocked = self._blocked, []
        self.release(blocked)

    def break_off(self, code: ErrorCode, reason: str) -> None:
        """End the connection with GOAWAY because of what the peer does."""
        if self.error is None and self.transport is not None:
            self.error = reason
            self.engine.goaway(code, reason.encode())
            self._close()

    def _watch_stall(self) -> None:
        assert self.transport is not None
        unsent_bytes = self.transport.unsent_bytes()
        self._stall_timer = self.runtime.call_later(self._keepalive.timeout_s, self._check_stall, unsent_bytes)

    def _check_stall(self, unsent_bytes: int) -> None:
        """Give a peer up that took nothing since the transport held `unsent_bytes`; one that is slow may go on."""
        if self.transport is None:
            return
        if self.transport.unsent_bytes() < unsent_bytes:
            self._watch_stall()
        else:
            self.error = self.error or "the peer stopped reading"
            self.transport.abort()

    # What an engine calls; the rest is in the subclasses.

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        stream.call.on_data(data, end_stream)

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        stream.call.on_trailers(trailers)

    def whole_answer(self, headers: HeaderList, trailers: HeaderList) -> Any:
        return None

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> bool:
        return stream.call is not None and bool(stream.call.on_reset(code, by_peer))

    def on_writable(self, stream: Stream) -> None:
        if stream.call is not None:
            stream.call.on_writable()

    def on_settings(self) -> None: ...

    def on_more_to_write(self) -> None:
        self._more_to_write = True
        if not self.congested:
            self.in_turn(self._write_more)

    def _write_more(self) -> None:
        """Windows have opened for more than was to be written at once; what is congested goes on later."""
        if self._more_to_write and not self.congested and not self.lost:
            self._more_to_write = False
            self.engine.write_more()
            self.flush()

    def on_settings_ack(self) -> None:
        if self._settings_timer is not None:
            self._settings_timer.cancel()
            self._settings_timer = None

    def _settings_ignored(self) -> None:
        self._settings_timer = None
        self.break_off(ErrorCode.SETTINGS_TIMEOUT, "the SETTINGS were not acknowledged in time")  # RFC 9113 §6.5.3

    def on_ping(self, explained: bool) -> None: ...

    def on_ping_ack(self, payload: bytes) -> None: ...

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None: ...

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        told = reason in (NO_SERVER, TLS_CLIENT, TLS_SERVER)
        self.error = reason if told else f"the peer broke HTTP/2: {reason} ({code.name})"
        self.runtime.call_soon(self._close)

    def _close(self) -> None:
        if self.transport is not None:
            self.flush()
            self._close_transport(self.transport)

    def _close_transport(self, transport: Transport) -> None:
        """Close once all is written; by force when the peer does not take it in time."""
        self._behind = False
        transport.close()
        if self._stall_timer is None:
            self._watch_stall()

    # Keepalive (A8, A18).

    def _check_silence(self) -> None:
        time_s = self._keepalive.time_s
        assert time_s is not None
        silent_s = self._now() - self.heard_at
        if self._awaiting_ping and silent_s >= self._keepalive.timeout_s:  # else it lives: its answer may be queued
            self.error = "the peer did not answer a keepalive ping"
            if self.transport is not None:
                self.transport.abort()
            return
        self._awaiting_ping = False
        pause_s = time_s - silent_s
        if silent_s >= time_s:
            pause_s = time_s
            if self._pings_when_idle or self.engine.streams:
                self._awaiting_ping = True
                pause_s = self._keepalive.timeout_s
                self.engine.ping(_PING_PAYLOAD)
                self.wake()
        self._keepalive_timer = self.runtime.call_later(pause_s, self._check_silence)
