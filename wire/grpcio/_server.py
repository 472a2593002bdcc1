"""Servers of the sync API: wire's server on an event loop in a thread of its own, handlers in a pool's threads.

Imports wire and this package's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import wire
from wire.grpcio import _abstract, _channelz, _options
from wire.grpcio._handling import Handling
from wire.grpcio._methods import Methods, MethodsAndPorts
from wire.grpcio.aio._servicers import servicers

_LOGGER = logging.getLogger("grpc._server")


def _validate(generic_rpc_handlers: Iterable[Any]) -> None:
    for handler in generic_rpc_handlers:
        if getattr(handler, "service", None) is None:
            raise AttributeError(
                f'"{handler}" must conform togrpc.GenericRpcHandler type but does not have "service" method!'
            )


class _Server(MethodsAndPorts, _abstract.Server):
    """Serves any number of services on any number of addresses."""

    _logger = _LOGGER

    def __init__(
        self,
        thread_pool: Executor,
        generic_handlers: Sequence[Any],
        interceptors: Sequence[Any],
        options: Any,
        maximum_concurrent_rpcs: int | None,
        compression: Any,
    ) -> None:
        found = _options.read(options)
        self._config = _options.server_config(found, compression)
        self._options = found
        self._reuse_port = bool(found.get("grpc.so_reuseport", 1))
        self._methods = Methods(generic_handlers)
        self._handling = Handling(self._methods, tuple(interceptors), thread_pool, maximum_concurrent_rpcs)
        self._ports: list[tuple[socket.socket, wire.ServerTls | None]] = []
        self._started = False
        self._running = _Running()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Any]) -> None:
        handlers = list(generic_rpc_handlers)
        _validate(handlers)
        self._methods.generic += handlers

    def _take_port(self, sock: socket.socket, tls: wire.ServerTls | None) -> None:
        if self._started:
            self._running.call(lambda server: server.serve(sock, tls=tls or False))
        else:
            self._ports.append((sock, tls))

    def start(self) -> None:
        if self._started:
            raise ValueError("Cannot start already-started server!")
        self._started = True
        handling = self._handling
        methods = {
            path: (
                bool(handler.request_streaming),
                bool(handler.response_streaming),
                partial(handling.handle, None if handling.interceptors else handler, bool(handler.response_streaming)),
            )
            for path, handler in self._methods.known().items()
        }
        server = wire.Server(servicers(methods), config=self._config, fallback=partial(handling.handle, None, True))
        _channelz.heed(self._options, server)
        self._running.start(server, self._ports, handling.open)
        self._ports = []

    def stop(self, grace: float | None) -> threading.Event:
        if not self._started:
            stopped = threading.Event()
            stopped.set()
            return stopped
        self._running.stop(grace)
        if grace is None:
            self._running.stopped.wait()
        return self._running.stopped

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        return not self._running.stopped.wait(timeout)

    def __del__(self) -> None:
        for sock, _ in getattr(self, "_ports", ()):
            sock.close()
        running = getattr(self, "_running", None)
        if running is not None:
            running.stop(None)


class _Running:
    """A server that runs in a thread of its own. It does not know whoever has started it, so that that can go."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: wire.Server | None = None
        self._stopping: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def start(self, server: wire.Server, ports: list[tuple[socket.socket, wire.ServerTls | None]], opened: Any) -> None:
        """Returns once it accepts connections."""
        accepts = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            opened(self._loop)
            async with server:
                self._server = server
                for sock, tls in ports:
                    server.serve(sock, tls=tls or False)
                accepts.set()
                await self._stopping.wait()
                await server.wait_stopped()

        def run() -> None:
            try:
                wire.run(serve)
            except BaseException as error:
                self._failure = error
            finally:
                accepts.set()
                self.stopped.set()

        threading.Thread(target=run, name="grpc-server", daemon=True).start()
        accepts.wait()
        if self._failure is not None:
            raise self._failure

    def call(self, function: Any) -> None:
        """Have the loop call a function of the server."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(function, self._server)
            except RuntimeError:  # it has ended
                pass

    def stop(self, grace: float | None) -> None:
        """Begin to stop. Returns at once."""

        def begin(server: wire.Server) -> None:
            assert self._stopping is not None
            self._stopping.set()
            tasks.append(asyncio.get_running_loop().create_task(server.stop(0 if grace is None else grace)))

        tasks: list[Any] = []
        self.call(begin)


def create_server(
    thread_pool: Executor,
    generic_rpc_handlers: Sequence[Any],
    interceptors: Sequence[Any],
    options: Any,
    maximum_concurrent_rpcs: int | None,
    compression: Any,
) -> _Server:
    _validate(generic_rpc_handlers)
    return _Server(thread_pool, generic_rpc_handlers, interceptors, options, maximum_concurrent_rpcs, compression)


def server(
    thread_pool: Executor,
    handlers: Sequence[Any] | None = None,
    interceptors: Sequence[Any] | None = None,
    options: Any = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Any = None,
    xds: bool | None = False,
) -> _Server:
    """A server whose handlers run in the threads of a pool. xDS has no meaning here: raises `NotImplementedError`."""
    if xds:
        raise NotImplementedError("wire has no xDS: make the server without it")
    return create_server(thread_pool, handlers or (), interceptors or (), options, maximum_concurrent_rpcs, compression)
