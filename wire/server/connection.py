"""One client's connection: which handler a request goes to, how many run, and how all of it ends.

In come a transport's bytes, as `Connection` takes them; out go requests, each to a call that its route makes. A
connection knows of a call, a route and its server what the protocols below say. Imports `connection`'s layer and below.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import Any, Final, Protocol

from wire.config import ServerConfig
from wire.connection import Connection
from wire.http2.codes import ErrorCode
from wire.http2.engine import SHORT_REPLY_BYTES, HeaderList, Stream
from wire.http2.preface import HTTP1, HTTP1_ANSWER
from wire.rpc.compression import compressor
from wire.rpc.framing import PREFIX_BYTES, unpack_prefix
from wire.rpc.headers import (
    OK_TRAILER_FIELDS,
    RESPONSE_FIELDS,
    RequestHead,
    parse_request,
    timeout_like,
)
from wire.server.age import ConnectionAge
from wire.server.held_messages import HeldMessages
from wire.server.parts import Call
from wire.server.turns import Turns
from wire.status import StatusCode
from wire.throttle import Throttle
from wire.transport.contract import Future, Peer, Runtime, Task, Timer, Transport

_log = logging.getLogger("wire.server")

OK_HEADERS = HeaderList(RESPONSE_FIELDS, shared=True)
OK_TRAILERS = HeaderList(OK_TRAILER_FIELDS, shared=True)

_DRAIN_PAYLOAD = b"wiredone"
_TURN_REPLY_BYTES: Final = 1 << 18  # of replies that wait to be written: then each unary call looks at the clock first
_UNWIND_TURNS = 8  # of the loop, that reading waits for handlers that were cancelled: two to four are enough
_DRAIN_PING_S = 5.0  # how long a peer may take to acknowledge the first GOAWAY's ping; then the final one is sent


class Route(Protocol):
    """Where a path leads."""

    @property
    def call_type(self) -> Callable[[ServerConnection, Stream, HeaderList], Call]: ...

    @property
    def short_bytes(self) -> int:
        """Up to this size a message that is a whole request goes straight to `Call.answer`; -1: none does."""


class Owner(Protocol):
    """What a connection needs of its server."""

    context: Context
    """In which the server was entered. Each handler runs in a copy of it."""
    stopping: bool
    turns: Turns
    warnings: Throttle

    @property
    def fallback(self) -> Route | None:
        """Where all other paths lead; None: nowhere."""

    def connection_opened(self, connection: ServerConnection) -> None:
        """A connection has its transport."""

    def connection_lost(self, connection: ServerConnection) -> None:
        """A connection has lost its transport."""

    def connection_ended(self, connection: ServerConnection) -> None:
        """A handler of a connection that was lost has ended."""


def _set(waiter: Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def accepts(head: RequestHead, encoding: bytes) -> bool:
    """Whether the client takes responses in that grpc-encoding."""
    return encoding in head.accepted_encodings.replace(b" ", b"").split(b",")


class ServerConnection(Connection):
    """One client's connection. See `Connection`; what is added here is finding handlers, and ending well."""

    __slots__ = (
        "_age",
        "_drain_timer",
        "_encoding",
        "_fallback",
        "_given_way",
        "_hold_at_bytes",
        "_last_ping_at",
        "_max_running",
        "_min_ping_interval_s",
        "_ping_strikes",
        "_pings_allowed",
        "_preface_timeout_s",
        "_preface_timer",
        "_reply_buffer_bytes",
        "_routes",
        "_server",
        "_stall_s",
        "_unstarted",
        "_waiting",
        "_waiting_timer",
        "_wake_due",
        "compress",
        "context",
        "held",
        "hold_at_bytes",
        "max_receive_bytes",
        "max_send_bytes",
        "peer",
        "running",
        "short_reply_bytes",
        "turns",
    )

    def __init__(self, server: Owner, runtime: Runtime, routes: Mapping[bytes, Route], config: ServerConfig) -> None:
        super().__init__(
            runtime,
            client=False,
            engine=config.engine,
            http2=config.http2,
            calls=config.calls,
            keepalive=config.keepalive,
        )
        self._server = server
        self.context = server.context
        self.turns = server.turns
        self._routes = routes
        self._fallback = server.fallback
        self.peer = Peer("")
        self.running: set[Call] = set()
        """Calls whose handlers run in tasks, also those whose streams are gone: the set keeps the tasks alive."""
        self._unstarted: list[Call] = []
        self.compress = None if config.calls.compression is None else compressor(config.calls.compression)
        self._encoding = (config.calls.compression or "identity").encode()
        self.max_receive_bytes = config.calls.max_receive_message_bytes
        limit = config.calls.max_send_message_bytes
        self.max_send_bytes = 2**32 - 1 if limit is None else limit
        self.short_reply_bytes = min(self.max_send_bytes, SHORT_REPLY_BYTES - PREFIX_BYTES)
        self._max_running = config.http2.max_concurrent_streams
        self._preface_timeout_s = config.preface_timeout_s
        self._preface_timer: Timer | None = None
        self._drain_timer: Timer | None = None
        self._age: ConnectionAge | None = None
        self._reply_buffer_bytes = config.reply_buffer_bytes
        self._hold_at_bytes = min(config.reply_buffer_bytes, _TURN_REPLY_BYTES)
        self.hold_at_bytes = self._hold_at_bytes
        """When the engine holds more, a unary call whose handler is about to begin asks `hold`; -1: in any case."""
        self.held = HeldMessages(config.handler_messages_bytes)
        self._waiting: dict[Call, Any] = {}  # in order, with what `begin` takes
        self._waiting_timer: Timer | None = None
        self._stall_s = config.keepalive.timeout_s
        self._wake_due = False
        self._min_ping_interval_s = config.keepalive.min_ping_interval_s
        self._pings_allowed = config.keepalive.max_ping_strikes
        self._given_way = 0
        self._ping_strikes = 0
        self._last_ping_at = float("-inf")

    def encoding_for(self, head: RequestHead) -> bytes | None:
        """The grpc-encoding of the responses to a request; None when they travel as they are."""
        return self._encoding if self.compress is not None and accepts(head, self._encoding) else None

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        self.peer = transport.peer
        self._server.connection_opened(self)
        _log.debug("%s connected", transport.peer.address)
        self._preface_timer = self.runtime.call_later(self._preface_timeout_s, self._preface_missing)
        super().connection_made(transport)
        self._become(GreetingConnection)
        if self._keepalive.max_connection_age_s is not None or self._keepalive.max_connection_idle_s is not None:
            self._age = ConnectionAge(self.runtime, self._keepalive, self)
        if self._server.stopping:  # it was on its way when the listeners were closed
            self.drain()

    # Turns of the loop, which it shares with the server's other connections.

    def in_turn(self, callback: Callable[[], object]) -> None:
        self.turns.add(self, callback)

    def _end_of_turn(self) -> float:
        return self.turns.end()

    def release(self, waiters: list[Future[None]]) -> None:
        turns = self.turns
        for waiter in waiters:
            if turns.free:
                turns.free -= 1
                _set(waiter)
            elif turns.let_go():
                _set(waiter)
            else:
                turns.add(self, partial(_set, waiter), tasks=1)

    def cancel_task(self, task: Task) -> None:
        turns = self.turns
        call_soon = self.runtime.call_soon  # at once is too soon: a task must begin before it can clean up
        if turns.free:
            turns.free -= 1
            call_soon(task.cancel)
        else:
            turns.add(self, partial(call_soon, task.cancel), tasks=1, ending=True)

    def must_give_way(self) -> bool:
        # Handlers that were cancelled end in turns of the loop to come. A peer whose deadlines passed while the loop
        # was blocked sends thousands of calls with their resets at once: they get the time, and no stream is refused.
        if len(self.running) - len(self.engine.streams) <= self._max_running // 4 or self._given_way == _UNWIND_TURNS:
            self._given_way = 0
            return False
        self._given_way += 1
        return True

    def pause_writing(self) -> None:
        # Unary replies do not wait for the transport, so requests must: a peer that does not read is not read from.
        super().pause_writing()
        self._reading_held = True
        self._update_reading()
        self.hold_at_bytes = -1

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reading_held = False
        self._update_reading()
        if self.calls_wait:
            self.wake_calls()
        else:
            self.hold_at_bytes = self._hold_at_bytes

    def on_lost(self, reason: str, calls: list[Call]) -> None:
        for timer in (self._preface_timer, self._drain_timer, self._waiting_timer):
            if timer is not None:
                timer.cancel()
        if self._age is not None:
            self._age.close()
            self._age = None
        if self.error is not None and not self._server.stopping:
            self._server.warnings.warning(self.error, "%s: %s", self.peer.address, self.error)
        else:
            _log.debug("%s disconnected: %s", self.peer.address, reason)
        for call in calls:
            call.cancel()
        self._server.connection_lost(self)

    # What the engine calls.

    reply = (OK_HEADERS, OK_TRAILERS)

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        head = headers.parsed
        if head is None:
            head = headers.parsed = self._parse(headers)
        if head.refusal is not None:
            self.calls_failed += 1
            self.engine.send_headers(stream, HeaderList(head.refusal), end_stream=True)
            return
        if len(self.running) >= self._max_running:
            # Handlers of streams that were reset may still be unwinding (CVE-2023-44487).
            self.calls_failed += 1
            self.engine.refuse(stream)
            return
        call = head.route.call_type(self, stream, headers)
        self._attach(stream, call)
        if end_stream:
            call.on_end()

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        head = headers.parsed
        if head is None:
            head = headers.parsed = self._parse(headers)
        message_at = start + PREFIX_BYTES
        size = stop - message_at
        if (
            not 0 <= size <= head.short_bytes
            or self.engine.held_bytes > self.hold_at_bytes
            or len(self.running) >= self._max_running
        ):
            return None
        compressed, length = unpack_prefix(data, start)
        if compressed or length != size:
            return None
        call = head.route.call_type(self, stream, headers)
        reply: bytes = call.answer(data[message_at:stop])
        if not reply and not stream.closed:
            self._attach(stream, call)
        return reply

    def _attach(self, stream: Stream, call: Call) -> None:
        stream.call = call
        if call.deadline is not None:
            self.deadlines.add(call)

    def start_soon(self, call: Call) -> None:
        """Have the call started at the loop's next turn, where what else this read brings does not do it."""
        if not self._unstarted:
            self.runtime.call_soon(self._start_calls)
        self._unstarted.append(call)

    def _start_calls(self) -> None:
        calls, self._unstarted = self._unstarted, []
        for call in calls:
            call.start()

    def _parse(self, headers: HeaderList) -> RequestHead:
        model = headers.model
        if model is not None and model.parsed is not None:
            known: RequestHead = model.parsed
            try:
                headers.own = timeout_like(known, model.fields, model.varies_at, headers.value)
            except ValueError:
                pass
            else:
                return known
        head = parse_request(headers.fields)
        headers.own = head.timeout_s
        if head.refusal is None:
            head.find_route(self._routes, self._fallback)
        return head

    def on_settings(self) -> None:
        if self._preface_timer is not None:
            self._preface_timer.cancel()
            self._preface_timer = None
        self._become(ServerConnection)

    def _become(self, kind: type[ServerConnection]) -> None:
        self.__class__ = kind

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        super().on_connection_error(code, reason)
        if reason == HTTP1 and self.transport is not None:
            self.engine.take()
            self.transport.write(HTTP1_ANSWER)

    def _preface_missing(self) -> None:
        self._preface_timer = None
        if self.transport is not None:
            self.error = "no HTTP/2 preface came in time"
            self.transport.abort()

    def on_ping(self, explained: bool) -> None:
        now = self.heard_at
        if explained:  # gRPC proposal A8: each HEADERS or DATA frame that we write clears the strikes
            self._ping_strikes = 0
        elif now - self._last_ping_at < self._min_ping_interval_s:
            self._ping_strikes += 1
            if self._ping_strikes > self._pings_allowed:
                self.break_off(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping_at = now

    # Room for replies. Until there is some, unary calls wait in order with their handlers not begun.

    def _full(self) -> bool:
        """Whether a unary call must wait. What streams of responses hold does not count: each has its own bound, and
        their readers may be slow for ever."""
        if self.congested:
            return True
        limit = self._reply_buffer_bytes
        return self.engine.held_bytes > limit and sum(self._unary_bytes().values()) > limit

    def _unary_bytes(self) -> dict[int, int]:
        """What each unary reply holds that waits for a window, by stream."""
        return {
            stream.id: stream.queued_bytes
            for stream in self.engine.streams.values()
            if stream.queued_bytes and stream.call is not None and stream.call.outgoing is None
        }

    def hold(self, call: Call, what: Any) -> bool:
        """The engine holds over `hold_at_bytes`. True when the call must wait; `call.begin(what)` follows."""
        if not self.calls_wait or self.lost:
            if self.congested or self.engine.held_bytes > self._reply_buffer_bytes:
                self._write()  # the rest is behind closed windows, or has made the transport congested
            if self.lost or not (self._full() or perf_counter() >= self.turns.end()):
                return False  # one that was cancelled is told so where it waits
            self.calls_wait = True
            self.hold_at_bytes = -1
            self._watch_grants()
        self._waiting[call] = what
        return True

    def drop(self, call: Call) -> None:
        """The call has ended; if it waited, it does no more."""
        what = self._waiting.pop(call, None)
        if what is not None:
            self.held.leave(call.holder)
            if isinstance(what, tuple) and isinstance(what[0], CoroutineType):
                what[0].close()  # else it would warn that it was never awaited

    def wake_calls(self) -> None:
        if not self._wake_due:
            self._wake_due = True
            self.in_turn(self._begin_calls)

    def _begin_calls(self) -> None:
        """Begin calls while there is room. A task replies only when it runs, so there is no more than one a turn."""
        self._wake_due = False
        begun = False
        while self._waiting and not self.lost and not self._full():
            begun = True
            call = next(iter(self._waiting))
            what = self._waiting.pop(call)
            if call.begin(what) or perf_counter() >= self.turns.end():
                self.wake_calls()
                break
            self._write()
        if not self._waiting:
            self.calls_wait = False
            self.hold_at_bytes = -1 if self.congested else self._hold_at_bytes
            if self._waiting_timer is not None:
                self._waiting_timer.cancel()
                self._waiting_timer = None
        if begun or not self._waiting:
            self.wake()

    def _watch_grants(self) -> None:
        self._waiting_timer = self.runtime.call_later(self._stall_s, self._check_grants, self._unary_bytes())

    def _check_grants(self, before: dict[int, int]) -> None:
        """Give a peer up that has let none of the replies shrink that were queued then; one that is slow may go on."""
        now = self._unary_bytes()
        if before and all(now.get(stream_id, 0) >= size_bytes for stream_id, size_bytes in before.items()):
            self._waiting_timer = None
            self.break_off(ErrorCode.ENHANCE_YOUR_CALM, "replies are not taken")
        else:
            self._watch_grants()

    # Ending.

    def handler_ended(self, call: Call) -> None:
        """A handler's task is over, and has perhaps sent something."""
        self.running.discard(call)
        if self.held.sizes and call not in self._waiting:
            self.held.leave(call.holder)
        if self.running:
            self.wake()
        elif not self._flush_due:  # nobody else will send anything in this turn
            self.flush()
        if self.lost:
            self._server.connection_ended(self)

    def drain(self) -> None:
        """Ask the client to go elsewhere: GOAWAY for all streams, and once it knows, a final one; open calls go on."""
        if self._drain_timer is None and self.transport is not None:
            self.engine.goaway(final=False)
            self.engine.ping(_DRAIN_PAYLOAD)
            self.wake()
            self._drain_timer = self.runtime.call_later(_DRAIN_PING_S, self._drained)

    def on_ping_ack(self, payload: bytes) -> None:
        if payload == _DRAIN_PAYLOAD:
            self._drained()

    def _drained(self) -> None:
        if not self.closing and not self.lost:
            self.engine.goaway()
            self.closing = True
            self.wake()

    def end(self, reason: str = "the server is shutting down") -> None:
        """Fail what is still open, and close."""
        for stream in list(self.engine.streams.values()):
            call = stream.call
            if call is not None:
                call.fail(StatusCode.UNAVAILABLE, reason)
                call.cancel()  # of its handler; the stream has let go of it
        self.break_off(ErrorCode.NO_ERROR, reason)


class GreetingConnection(ServerConnection):
    """One whose client's SETTINGS have not come, and to which nothing is written: a client of HTTP/1 would take our
    SETTINGS for the answer to a request of which but one byte has come. What ends it is written all the same."""

    __slots__ = ()

    def flush(self) -> None:
        if self.__class__ is not GreetingConnection:  # it was planned before
            ServerConnection.flush(self)
        elif self.closing or self.error is not None:
            self._become(ServerConnection)
            self.flush()
        else:
            self._flush_due = self._flush_planned
