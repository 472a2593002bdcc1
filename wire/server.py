"""The server: what listens, what each accepted connection does with requests, and how both end.

In come connections from `Runtime.listen`; each becomes a `ServerConnection`, which finds the handler for every
request and hands the call to `server_call`. Imports everything below; nothing of the client but the service
description.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from contextvars import copy_context
from types import CoroutineType, TracebackType
from typing import Any, Self

import anyio

from wire.config import CallConfig, ServerConfig
from wire.connection import Connection
from wire.errors import ServiceError, UsageError
from wire.http2.codes import ErrorCode
from wire.http2.engine import HeaderList, Stream
from wire.http2.preface import HTTP1, HTTP1_ANSWER
from wire.rpc.compression import compressor
from wire.rpc.headers import RequestHead, parse_request, parse_similar_request, status_response
from wire.server_call import Route, ServerCall
from wire.service import Servicer
from wire.slow_handlers import SlowHandlers
from wire.status import StatusCode
from wire.throttle import Throttle
from wire.transport import sockets
from wire.transport.address import parse_address
from wire.transport.link import Future, Link, Listener, Peer, Runtime, Timer
from wire.transport.runtime import open_runtime
from wire.transport.tls import ServerTls

_log = logging.getLogger("wire.server")

_DRAIN_PAYLOAD = b"wiredone"
_DRAIN_PING_S = 5.0  # how long a peer may take to acknowledge the first GOAWAY's ping; then the final one is sent
_UNWIND_S = 5.0  # how long cancelled handlers may take to end

Routes = dict[bytes, Route]  # type: ignore[type-arg]


class ServerConnection(Connection):
    """One client's connection. See `Connection`; what is added here is finding handlers, and ending well."""

    __slots__ = (
        "_drain_timer",
        "_encoding",
        "_last_head",
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
        "_waiting",
        "_waiting_timer",
        "_wake_due",
        "compress",
        "context",
        "hold_at_bytes",
        "max_receive_bytes",
        "max_send_bytes",
        "peer",
        "running",
    )

    def __init__(self, server: Server, runtime: Runtime, routes: Routes, config: ServerConfig) -> None:
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
        self._routes = routes
        self.peer = Peer("")
        self.running: set[ServerCall] = set()
        """Calls whose handlers run in tasks, also those whose streams are gone: the set keeps the tasks alive."""
        self.compress = None if config.calls.compression is None else compressor(config.calls.compression)
        self._encoding = (config.calls.compression or "identity").encode()
        self.max_receive_bytes = config.calls.max_receive_message_bytes
        limit = config.calls.max_send_message_bytes
        self.max_send_bytes = 2**32 - 1 if limit is None else limit
        self._max_running = config.http2.max_concurrent_streams
        self._preface_timeout_s = config.preface_timeout_s
        self._preface_timer: Timer | None = None
        self._drain_timer: Timer | None = None
        self._reply_buffer_bytes = config.reply_buffer_bytes
        self.hold_at_bytes = config.reply_buffer_bytes
        """When the engine holds more, a unary call whose handler is about to begin asks `hold`; -1: in any case."""
        self._waiting: dict[ServerCall, Any] = {}  # in order, with what `begin` takes
        self._waiting_timer: Timer | None = None
        self._stall_s = config.keepalive.timeout_s
        self._wake_due = False
        self._min_ping_interval_s = config.keepalive.min_ping_interval_s
        self._pings_allowed = config.keepalive.max_ping_strikes
        self._last_head: RequestHead | None = None
        self._ping_strikes = 0
        self._last_ping_at = float("-inf")

    def encoding_for(self, head: RequestHead) -> bytes | None:
        """The grpc-encoding of the responses to a request; None when they travel as they are."""
        if self.compress is None or self._encoding not in head.accepted_encodings.replace(b" ", b"").split(b","):
            return None
        return self._encoding

    # What the link calls.

    def link_made(self, link: Link) -> None:
        self.peer = link.peer
        self._server.connection_made(self)
        _log.debug("%s connected", link.peer.address)
        self._preface_timer = self.runtime.call_later(self._preface_timeout_s, self._preface_missing)
        super().link_made(link)
        if self._server.stopping:  # it was on its way when the listeners were closed
            self.drain()

    def pause_writing(self) -> None:
        # Unary replies do not wait for the link, so requests must: a peer that does not read is not read from.
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
            self.hold_at_bytes = self._reply_buffer_bytes

    def on_lost(self, reason: str, calls: list[ServerCall]) -> None:
        for timer in (self._preface_timer, self._drain_timer, self._waiting_timer):
            if timer is not None:
                timer.cancel()
        if self.error is not None:
            self._server.warnings.warning(self.error, "%s: %s", self.peer.address, self.error)
        else:
            _log.debug("%s disconnected: %s", self.peer.address, reason)
        for call in calls:
            call.cancel()
        self._server.connection_changed(self)

    # What the engine calls.

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        head = headers.memo
        if head is None:
            head = headers.memo = self._parse(headers)
        if head.refusal is not None:
            self.engine.send_headers(stream, HeaderList(head.refusal), end_stream=True)
            return
        if len(self.running) >= self._max_running:
            # Handlers of streams that were reset may still be unwinding (CVE-2023-44487).
            self.engine.refuse(stream)
            return
        call = head.route.call_type(self, stream, head)
        if end_stream:
            call.on_end()

    def _parse(self, headers: HeaderList) -> RequestHead:
        if self._last_head is not None:
            similar = parse_similar_request(headers.fields, self._last_head)
            if similar is not None:
                return similar
        head = parse_request(headers.fields)
        if head.refusal is None:
            head.route = self._routes.get(head.path)
            if head.route is None:
                path = head.path.decode("latin-1")
                head.refusal = status_response(StatusCode.UNIMPLEMENTED, f"there is no method {path} here")
            else:
                self._last_head = head
        return head

    def on_settings(self) -> None:
        if self._preface_timer is not None:
            self._preface_timer.cancel()
            self._preface_timer = None

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        super().on_connection_error(code, reason)
        if reason == HTTP1 and self.link is not None:
            self.engine.take()
            self.link.write(HTTP1_ANSWER)

    def _preface_missing(self) -> None:
        self._preface_timer = None
        if self.link is not None:
            self.error = "no HTTP/2 preface came in time"
            self.link.abort()

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
            if stream.queued_bytes and stream.call is not None and stream.call.outbound is None
        }

    def hold(self, call: ServerCall, what: Any) -> bool:
        """The engine holds over `hold_at_bytes`. True when the call must wait; `call.begin(what)` follows."""
        if not self.calls_wait:
            self._write()  # the rest is behind closed windows, or has made the link congested
            if not self._full():
                return False
            self.calls_wait = True
            self.hold_at_bytes = -1
            self._watch_grants()
        self._waiting[call] = what
        return True

    def drop(self, call: ServerCall) -> None:
        """The call has ended; if it waited, it does no more."""
        what = self._waiting.pop(call, None)
        if isinstance(what, tuple) and isinstance(what[0], CoroutineType):
            what[0].close()  # else it would warn that it was never awaited

    def wake_calls(self) -> None:
        if not self._wake_due:
            self._wake_due = True
            self.runtime.call_soon(self._begin_calls)

    def _begin_calls(self) -> None:
        """Begin calls while there is room. A task replies only when it runs, so there is no more than one a turn."""
        self._wake_due = False
        begun = False
        while self._waiting and not self.lost and not self._full():
            begun = True
            call = next(iter(self._waiting))
            what = self._waiting.pop(call)
            if call.begin(what):
                self.wake_calls()
                break
            self._write()
        if not self._waiting:
            self.calls_wait = False
            self.hold_at_bytes = -1 if self.congested else self._reply_buffer_bytes
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

    def handler_ended(self, call: ServerCall) -> None:
        """A handler's task is over, and may have sent something."""
        self.running.discard(call)
        self.wake()
        if self.lost:
            self._server.connection_changed(self)

    def drain(self) -> None:
        """Ask the client to go elsewhere: GOAWAY for all streams, and once it knows, a final one; open calls go on."""
        if self._drain_timer is None and self.link is not None:
            self.engine.goaway(final=False)
            self.engine.ping(_DRAIN_PAYLOAD)
            self.wake()
            self._drain_timer = self.runtime.call_later(_DRAIN_PING_S, self._drained)

    def on_ping_ack(self, payload: bytes) -> None:
        if payload == _DRAIN_PAYLOAD:
            self._drained()
        super().on_ping_ack(payload)

    def _drained(self) -> None:
        if not self.closing and not self.lost:
            self.engine.goaway()
            self.closing = True
            self.wake()

    def end(self) -> None:
        """Fail what is still open, and close."""
        for stream in list(self.engine.streams.values()):
            call = stream.call
            if call is not None:
                call.fail(StatusCode.UNAVAILABLE, "the server is shutting down")
                call.cancel()  # of its handler; the stream has let go of it
        self.break_off(ErrorCode.NO_ERROR, "the server is shutting down")


class Server:
    """Serves any number of services on any number of addresses.

        async with wire.Server([EchoServicer()]) as server:
            print(await server.listen("127.0.0.1:50051"))
            await server.wait_stopped()

    Raises `ServiceError` for servicers that do not fit their services. Use within one event loop (asyncio, uvloop or
    trio); leaving the block stops the server with its configured grace.
    """

    def __init__(
        self, servicers: Iterable[Servicer], *, config: ServerConfig | None = None, tls: ServerTls | None = None
    ) -> None:
        self._config = ServerConfig() if config is None else config
        if self._config.calls.compression is not None:
            compressor(self._config.calls.compression)  # raises now for what this Python does not have
        self._tls = tls
        self._servicers = tuple(servicers)
        self.routes = _routes(self._servicers, self._config.calls)
        for servicer in self._servicers:
            servicer.on_attach(self._servicers)
        self._exits = AsyncExitStack()
        self._runtime: Runtime | None = None
        self._slow_handlers: SlowHandlers | None = None
        self._listeners: list[Listener] = []
        self.warnings = Throttle(_log)
        self.connections: set[ServerConnection] = set()
        """Connections that are open, or whose handlers have not all ended."""
        self.context = copy_context()
        """In which the server was entered. Each handler runs in a copy of it."""
        self.still_running: list[str] = []
        """Once `stop` has ended: methods whose handlers swallowed their cancellation. The event loop would wait for
        them, so a program that must end does so by `os._exit`, as `bin.server`."""
        self.stopping = False
        self._stopped = False
        self._waiting: list[Future[None]] = []  # for `_stopped`, or for the last connection to go

    async def __aenter__(self) -> Self:
        if self._runtime is not None:
            raise UsageError("a server can be entered only once")
        self.context = copy_context()
        self._runtime = await self._exits.enter_async_context(open_runtime())
        if self._config.slow_handler_s is not None:
            watch = SlowHandlers(self._runtime, self._config.slow_handler_s, self.routes, self.connections)
            watch.start()
            self._exits.callback(watch.stop)
            self._slow_handlers = watch
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with anyio.CancelScope(shield=True):  # bounded by the grace; cut to nothing when an exception is on its way
                await self.stop(None if error is None else 0)
        finally:
            await self._exits.aclose()

    async def listen(self, address: str) -> str:
        """Listen on an address in gRPC's name syntax; returns it as bound (port 0 becomes a real one).

        Raises `AddressError` for one that cannot be read, `ListenError` for one that cannot be had.
        """
        self._open_runtime()
        sock = sockets.bind(parse_address(address), backlog=self._config.transport.backlog)
        self.serve(sock)
        return sockets.bound_address(sock)

    def serve(self, sock: socket.socket) -> None:
        """Accept on a socket that already listens, such as one inherited from a parent process; it is then the
        server's."""
        runtime = self._open_runtime()
        if self.stopping:
            sock.close()
            raise UsageError("the server is stopping")
        listener = runtime.listen(
            sock,
            lambda: ServerConnection(self, runtime, self.routes, self._config),
            tls=self._tls,
            config=self._config.transport,
        )
        self._listeners.append(listener)

    async def stop(self, grace_s: float | None = None) -> None:
        """Accept nothing more, let open calls end within `grace_s` (None: as configured), then cancel them.

        Handlers have 5 s to end once they are cancelled; then it returns without them, and `still_running` names them.
        May be called again, with less grace, while it runs or after it was cancelled."""
        runtime = self._open_runtime()
        if not self.stopping:
            self.stopping = True
            for servicer in self._servicers:
                servicer.on_drain()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()  # they hold this server
        for connection in list(self.connections):
            connection.drain()
        await self._all_gone(runtime, self._config.grace_s if grace_s is None else grace_s)
        for connection in list(self.connections):
            connection.end()
        await self._all_gone(runtime, _UNWIND_S)
        for connection in list(self.connections):
            if connection.link is not None:
                connection.link.abort()
            if connection.running:
                self.still_running += [call.method for call in connection.running]
                self.connections.discard(connection)  # nobody is to wait for it again
        if self.still_running and not self._stopped:
            names = ", ".join(sorted(set(self.still_running)))
            _log.error("%d handlers did not end when cancelled: %s", len(self.still_running), names)
        self._stopped = True
        self._notify()

    async def wait_stopped(self) -> None:
        """Returns once `stop` has been called and has ended."""
        runtime = self._open_runtime()
        while not self._stopped:
            await self._wait(runtime)

    def connection_made(self, connection: ServerConnection) -> None:
        """A connection has its link."""
        self.connections.add(connection)
        if self._slow_handlers is not None:
            self._slow_handlers.connected()

    def connection_changed(self, connection: ServerConnection) -> None:
        """A connection was lost, or the last handler of a lost one has ended."""
        if connection.lost and not connection.running:
            self.connections.discard(connection)
            if not self.connections:
                self._notify()

    async def _all_gone(self, runtime: Runtime, timeout_s: float) -> None:
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self._notify()

        timer = runtime.call_later(timeout_s, expire)
        try:
            while self.connections and not expired:
                await self._wait(runtime)
        finally:
            timer.cancel()

    async def _wait(self, runtime: Runtime) -> None:
        future = runtime.future()
        self._waiting.append(future)
        await future

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _open_runtime(self) -> Runtime:
        if self._runtime is None:
            raise UsageError("enter the server first: async with wire.Server(...) as server")
        return self._runtime


def _routes(servicers: Iterable[Servicer], calls: CallConfig) -> Routes:
    routes: Routes = {}
    for servicer in servicers:
        if isinstance(servicer, type):
            raise ServiceError(f"{servicer.__name__} is a class: give the server an instance, {servicer.__name__}()")
        service = getattr(servicer, "service", None)
        if service is None:
            raise ServiceError(f"{type(servicer).__name__} names no service: set the class attribute `service`")
        for method in service.methods:
            handler = getattr(servicer, method.attribute, None)
            if handler is None:
                continue
            if not callable(handler):
                raise ServiceError(f"{type(servicer).__name__}.{method.name} cannot be called")
            path = method.path.encode()
            if path in routes:
                raise ServiceError(f"two servicers answer {method.path}")
            routes[path] = Route(method.path, method, handler, calls)
    return routes
