"""The server: its routes, what it listens on, and how it ends.

In come connections from `Runtime.listen`; each becomes a `ServerConnection`, which is given the routes. Imports this
folder's other modules and what is below them; nothing of the client.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from contextvars import copy_context
from difflib import get_close_matches
from inspect import signature
from types import FunctionType, TracebackType
from typing import Any, Self

import anyio

from wire.config import CallConfig, ServerConfig
from wire.errors import ConfigurationError, ServiceError, UsageError
from wire.http2.preface import answer_to_http1
from wire.live import ListenerState, ServerState, enter_server, leave, next_number
from wire.rpc.compression import compressor
from wire.server.connection import ServerConnection
from wire.server.handler_threads import HandlerThreads, is_plain
from wire.server.route import Route
from wire.server.routes import route_to
from wire.server.slow_handlers import SlowHandlers
from wire.server.thread_streams import threaded
from wire.server.trimming import Trimming
from wire.server.turns import Turns
from wire.service import Handler, Inspector, Method, ServerInterceptor, Servicer
from wire.throttle import Throttle
from wire.transport import listening, sockets
from wire.transport.address import parse_address
from wire.transport.contract import Future, Listener, ListeningSocket, Runtime
from wire.transport.listening import bound_address, listen_on
from wire.transport.runtime import open_runtime
from wire.transport.tls import ServerTls

_log = logging.getLogger("wire.server")

_UNWIND_S = 5.0  # how long cancelled handlers may take to end

Routes = dict[bytes, Route[Any, Any]]


class Server:
    """Serves any number of services on any number of addresses.

        async with wire.Server([EchoServicer()]) as server:
            print(await server.listen("127.0.0.1:50051"))
            await server.wait_stopped()

    Raises `ServiceError` for servicers that do not fit their services. Use within one event loop (asyncio, uvloop or
    trio); leaving the block stops the server with its configured grace.
    """

    def __init__(
        self,
        servicers: Iterable[Servicer],
        *,
        config: ServerConfig | None = None,
        tls: ServerTls | None = None,
        interceptors: Sequence[ServerInterceptor] = (),
        trace: Inspector | None = None,
        fallback: Handler | None = None,
    ) -> None:
        """`interceptors`: stand in front of every handler, the first one outermost.

        `fallback`: the handler of every path that no servicer has, with a stream of bytes both ways; its context's
        `method` is the path. None: those calls are UNIMPLEMENTED. `trace`: sees every connection, as
        `wire.inspect.Trace` does.
        """
        if isinstance(servicers, Servicer):
            raise ServiceError(f"a server takes a list of servicers: [{type(servicers).__name__}()]")
        self._config = ServerConfig() if config is None else config
        if not isinstance(self._config, ServerConfig):
            raise ConfigurationError(f"a server's config is a ServerConfig, and not a {type(config).__name__}")
        if self._config.calls.compression is not None:
            compressor(self._config.calls.compression)  # raises now for what this Python does not have
        self._tls = tls
        self._servicers = tuple(servicers)
        most = self._config.handler_threads
        self._handler_threads = None if most is None else HandlerThreads(most)
        self.routes = _routes(self._servicers, interceptors, self._config.calls, self._handler_threads)
        self.fallback = None if fallback is None else _fallback(fallback, interceptors, self._config.calls)
        for servicer in self._servicers:
            servicer.on_attach(self._servicers)
        self._trace = trace
        if trace is not None:
            for servicer in self._servicers:
                trace.add_service(servicer.service)
        self._exits = AsyncExitStack()
        self._runtime: Runtime | None = None
        self._slow_handlers: SlowHandlers | None = None
        self._trimming: Trimming | None = None
        self._listeners: list[tuple[Listener, ListenerState]] = []
        self.warnings = Throttle(_log)
        self.number = next_number()
        self.turns: Turns
        self._past_calls = [0, 0]  # started and failed, of connections that are gone
        self.connections: set[ServerConnection] = set()
        """Connections that are open, or whose handlers have not all ended."""
        self.context = copy_context()
        """In which the server was entered. Each handler runs in a copy of it."""
        self.still_running: list[str] = []
        """Once `stop` has ended: methods whose handlers swallowed their cancellation. The event loop would wait for
        them, so a program that must end does so by `os._exit`, as `bin.server`."""
        self.stopping = False
        self._draining: list[Listener] = []  # that are closed, and from which connections may still arrive
        self._grace_over = False
        self._stopped = False
        self._waiting: list[Future[None]] = []  # for `_stopped`, or for the last connection to go
        enter_server(self)

    def __repr__(self) -> str:
        names = ", ".join(sorted({servicer.service.name for servicer in self._servicers}))
        state = "stopped" if self._stopped else "stopping" if self.stopping else f"{len(self._listeners)} listeners"
        return f"<Server of {names}: {state}, {len(self.connections)} connections>"

    async def __aenter__(self) -> Self:
        if self._runtime is not None:
            raise UsageError("a server can be entered only once")
        self.context = copy_context()
        runtime = await self._exits.enter_async_context(open_runtime())
        self._runtime = runtime if self._trace is None else self._trace.around(runtime)
        self.turns = Turns(self._runtime.call_soon, self._config.http2.max_turn_s)
        self._exits.callback(self.turns.close)
        if self._handler_threads is not None:
            self._handler_threads.open(self._runtime)
            self._exits.callback(self._handler_threads.close)
        if self._config.slow_handler_s is not None:
            watch = SlowHandlers(self._runtime, self._config.slow_handler_s, self.routes, self.connections)
            watch.start()
            self._exits.callback(watch.stop)
            self._slow_handlers = watch
        self._trimming = Trimming.make(self._runtime, self._config.trim_memory_bytes)
        if self._trimming is not None:
            self._exits.callback(self._trimming.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with anyio.CancelScope(shield=True):  # bounded by the grace; cut to nothing when an exception is on its way
                await self.stop(None if error is None else 0)
        finally:
            await self._exits.aclose()

    async def listen(self, address: str, *, tls: ServerTls | bool = True, reuse_port: bool = False) -> str:
        """Listen on an address in gRPC's name syntax; returns it as bound (port 0 becomes a real one).

        `localhost` is listened on in both families, where the machine has them. `tls`: as for `serve`. `reuse_port`:
        other sockets, of this process and of others of the same user, may listen there with it too; the kernel spreads
        connections over them (SO_REUSEPORT, TCP only).

        Raises `AddressError` for one that cannot be read, `ListenError` for one that cannot be had.
        """
        self._open_runtime()
        socks = listen_on(parse_address(address), backlog=self._config.transport.backlog, reuse_port=reuse_port)
        for sock in socks:
            self._serve(sock, tls)
        return bound_address(*socks)

    def serve(self, sock: socket.socket, *, tls: ServerTls | bool = True) -> None:
        """Accept on a socket that already listens, one of `bind`'s or inherited from a parent process; it is then the
        server's.

        `tls`: what this address has in place of the server's own; True is that one, False is in the clear.
        """
        self._serve(sock, tls)

    async def serve_connection(self, sock: socket.socket, *, tls: ServerTls | bool = True) -> None:
        """Serve one stream socket that is connected already, and return when the connection has ended: an end of
        `socket.socketpair`, the standard input of a process that inetd or systemd (`Accept=yes`) started, or whatever
        else brought it. The socket is then the server's; cancelling this does not end the connection.

        `tls`: as for `serve`.
        """
        runtime, tls_here = self._usable(sock, tls)
        connection = self._make_connection()
        arrived = False

        def on_arrived() -> None:
            nonlocal arrived
            arrived = True
            self._notify()

        runtime.take_over(
            sock,
            lambda: connection,
            tls=tls_here,
            config=self._config.transport,
            answer=answer_to_http1,
            arrived=on_arrived,
        )
        while not arrived or connection in self.connections:
            await self._wait(runtime)

    def _serve(self, sock: ListeningSocket, tls: ServerTls | bool) -> None:
        runtime, tls_here = self._usable(sock, tls)
        listener = runtime.listen(
            sock, self._make_connection, tls=tls_here, config=self._config.transport, answer=answer_to_http1
        )
        self._listeners.append((listener, ListenerState(next_number(), bound_address(sock))))

    def _usable(self, sock: ListeningSocket, tls: ServerTls | bool) -> tuple[Runtime, ServerTls | None]:
        runtime = self._open_runtime()
        if self.stopping:
            if isinstance(sock, socket.socket):
                sock.close()
            raise UsageError("the server is stopping")
        return runtime, self._tls if tls is True else tls or None

    def _make_connection(self) -> ServerConnection:
        return ServerConnection(self, self._open_runtime(), self.routes, self._config)

    async def stop(self, grace_s: float | None = None) -> None:
        """Accept nothing more, let open calls end within `grace_s` (None: as configured), then cancel them.

        Handlers have 5 s to end once they are cancelled; then it returns without them, and `still_running` names them.
        May be called again, with less grace, while it runs or after it was cancelled."""
        runtime = self._open_runtime()
        if not self.stopping:
            self.stopping = True
            for servicer in self._servicers:
                servicer.on_drain()
        for listener, _ in self._listeners:
            listener.on_arrived = self._notify
            listener.drain()  # what waits to be accepted may have sent requests: they are answered
            self._draining.append(listener)
        self._listeners.clear()  # they hold this server
        for connection in list(self.connections):
            connection.drain()
        await self._all_gone(runtime, self._config.grace_s if grace_s is None else grace_s)
        self._grace_over = True
        for listener in self._draining:
            listener.on_arrived = None
        self._draining.clear()
        for connection in list(self.connections):
            connection.end()
        await self._all_gone(runtime, _UNWIND_S)
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
            if connection.running:
                self.still_running += [call.method for call in connection.running]
                self.connections.discard(connection)  # nobody is to wait for it again
        if self.still_running and not self._stopped:
            names = ", ".join(sorted(set(self.still_running)))
            _log.error("%d handlers did not end when cancelled: %s", len(self.still_running), names)
        self._stopped = True
        leave(self)
        self._notify()

    async def wait_stopped(self) -> None:
        """Returns once `stop` has been called and has ended."""
        runtime = self._open_runtime()
        while not self._stopped:
            await self._wait(runtime)

    def connection_opened(self, connection: ServerConnection) -> None:
        """A connection has its transport."""
        self.connections.add(connection)
        if self._grace_over and self._runtime is not None:
            self._runtime.call_soon(connection.end)
        if self._slow_handlers is not None:
            self._slow_handlers.connected()

    def connection_lost(self, connection: ServerConnection) -> None:
        """A connection has lost its transport."""
        self._past_calls[0] += connection.engine.streams_opened
        self._past_calls[1] += connection.calls_failed
        self.connection_ended(connection)

    def connection_ended(self, connection: ServerConnection) -> None:
        """A connection was lost, and perhaps the last of its handlers has ended."""
        if not connection.running:
            self.connections.discard(connection)
            if self._trimming is not None:
                self._trimming.connection_ended()
            self._notify()

    def live_state(self) -> ServerState:
        """What the server is doing now (`wire.live`)."""
        states = [each.state(each.peer) for each in list(self.connections) if each.transport is not None]
        started, failed = self._past_calls
        return ServerState(
            self.number,
            tuple(servicer.service.name for servicer in self._servicers),
            tuple(state for _, state in list(self._listeners)),
            started + sum(state.streams_opened for state in states),
            failed + sum(state.streams_failed for state in states),
            sum(state.streams_open for state in states),
            tuple(sorted(states, key=lambda state: state.number)),
        )

    async def _all_gone(self, runtime: Runtime, timeout_s: float) -> None:
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self._notify()

        timer = runtime.call_later(timeout_s, expire)
        try:
            while not (expired or self._gone()):
                await self._wait(runtime)
        finally:
            timer.cancel()

    def _gone(self) -> bool:
        return not (self.connections or any(listener.arriving for listener in self._draining))

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


def bind(address: str, *, backlog: int = 1024, reuse_port: bool = False) -> socket.socket:
    """A socket that listens on an address in gRPC's name syntax, for `Server.serve`. Needs no event loop; connections
    that come before the server accepts them wait.

    Of a name with several IP addresses it is the first that can be had, IPv4 first (`bind_all`: all of localhost's).
    `reuse_port`: several sockets may listen there, and share what comes (TCP only). Raises `AddressError` for an
    address that cannot be read, `ListenError` for one that cannot be had.
    """
    return sockets.bind(parse_address(address), backlog=backlog, reuse_port=reuse_port)


def bind_all(address: str, *, backlog: int = 1024, reuse_port: bool = False) -> list[socket.socket]:
    """As `bind`, with all sockets that the address takes: two for `localhost`, with one port, where the machine has
    both families; one for any other."""
    return [*listening.bind_all(parse_address(address), backlog=backlog, reuse_port=reuse_port)]


class _Fallback(Method[bytes, bytes]):
    """Every path that no servicer has. Streams both ways: each kind of call can be answered so."""

    streams_requests = True
    streams_responses = True


def _fallback(handler: Handler, interceptors: Sequence[ServerInterceptor], calls: CallConfig) -> Route[bytes, bytes]:
    method = _Fallback("Fallback", bytes, bytes)
    method.path = "*"
    return route_to(method, _intercepted(method, handler, interceptors), calls)


def _intercepted(method: Method[Any, Any], handler: Handler, interceptors: Sequence[ServerInterceptor]) -> Handler:
    """A handler with the server's interceptors in front of it."""
    for interceptor in reversed(interceptors):
        handler = interceptor(method, handler)
        if not callable(handler):
            raise ServiceError(f"the interceptor {interceptor!r} returned no handler for {method.path}")
    return handler


def _routes(
    servicers: Iterable[Servicer],
    interceptors: Sequence[ServerInterceptor],
    calls: CallConfig,
    threads: HandlerThreads | None,
) -> Routes:
    routes: Routes = {}
    for servicer in servicers:
        if isinstance(servicer, type):
            raise ServiceError(f"{servicer.__name__} is a class: give the server an instance, {servicer.__name__}()")
        service = getattr(servicer, "service", None)
        if service is None:
            raise ServiceError(f"{type(servicer).__name__} names no service: set the class attribute `service`")
        _check_names(servicer)
        for method in service.methods:
            handler = getattr(servicer, method.attribute, None)
            if handler is None:
                continue
            if not callable(handler):
                raise ServiceError(f"{type(servicer).__name__}.{method.name} cannot be called")
            _check_parameters(servicer, method, handler)
            if threads is not None and not servicer.inline and is_plain(handler):
                handler = threaded(threads, method, handler)
            path = method.path.encode()
            if path in routes:
                raise ServiceError(f"two servicers answer {method.path}")
            routes[path] = route_to(method, _intercepted(method, handler, interceptors), calls)
    return routes


def _check_parameters(servicer: Servicer, method: Method[Any, Any], handler: Handler) -> None:
    """Refuse a handler that cannot take a request and a context."""
    try:
        takes = signature(handler)
    except ValueError:  # one in C, of which nothing is known
        return
    try:
        takes.bind(None, None)
    except TypeError:
        name = f"{type(servicer).__name__}.{method.attribute}"
        raise ServiceError(f"{name} takes {takes}, but is called with a request and a context") from None


def _check_names(servicer: Servicer) -> None:
    """Refuse what looks like a handler, a public method of (request, context), and has a name that no method has."""
    names = {method.attribute for method in servicer.service.methods}
    for cls in type(servicer).__mro__[:-1]:
        for name, value in vars(cls).items():
            if name.startswith("_") or name in names or not isinstance(value, FunctionType):
                continue
            code = value.__code__
            if code.co_argcount == 3 and code.co_varnames[1:3] in (("request", "context"), ("requests", "context")):
                near = get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ServiceError(
                    f"{type(servicer).__name__}.{name} takes a request and a context, and {servicer.service.name} has "
                    f"no method of that name{hint}"
                )
