"""Servers of `grpc.aio`. Imports wire and this package's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import wire
from wire.grpcio import _channelz, _options
from wire.grpcio._errors import UsageError
from wire.grpcio._methods import Methods, MethodsAndPorts
from wire.grpcio.aio import _base_server
from wire.grpcio.aio._handling import Handling, handler_of
from wire.grpcio.aio._interceptor import ServerInterceptor
from wire.grpcio.aio._servicers import servicers

_log = logging.getLogger("grpc._cython.cygrpc")


class Server(MethodsAndPorts, _base_server.Server):
    """Serves any number of services on any number of addresses."""

    _logger = _log

    def __init__(
        self,
        thread_pool: Executor | None,
        generic_handlers: Sequence[Any],
        interceptors: Sequence[Any],
        options: Any,
        maximum_concurrent_rpcs: int | None,
        compression: Any,
    ) -> None:
        if any(not isinstance(interceptor, ServerInterceptor) for interceptor in interceptors):
            raise ValueError("Interceptor must be ServerInterceptor,the following are invalid: {invalid_interceptors}")
        if maximum_concurrent_rpcs is not None and maximum_concurrent_rpcs <= 0:
            raise ValueError("maximum_concurrent_rpcs should be a positive integer")
        found = _options.read(options)
        self._config = _options.server_config(found, compression)
        self._options = found
        self._reuse_port = bool(found.get("grpc.so_reuseport", 1))
        self._methods = Methods(generic_handlers)
        self._handling = Handling(self._methods, tuple(interceptors), thread_pool, maximum_concurrent_rpcs)
        self._ports: list[tuple[socket.socket, wire.ServerTls | None]] = []
        self._server: wire.Server | None = None
        self._started = False
        self._stopping: asyncio.Task[None] | None = None
        self._stopped: asyncio.Event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None:
        self._methods.generic.extend(generic_rpc_handlers)

    def _add_port(self, address: str, tls: wire.ServerTls | None) -> int:
        if self._started:
            raise RuntimeError("ports are added before the server is started")
        return super()._add_port(address, tls)

    def _take_port(self, sock: socket.socket, tls: wire.ServerTls | None) -> None:
        self._ports.append((sock, tls))

    async def start(self) -> None:
        if self._started:
            if self._stopping is not None:
                raise UsageError("Server not in ready state")
            return
        self._started = True
        self._loop = asyncio.get_running_loop()
        self._server = server = self._make()
        await server.__aenter__()
        for sock, tls in self._ports:
            server.serve(sock, tls=tls or False)
        self._ports.clear()

    def _make(self) -> wire.Server:
        handling = self._handling
        methods = {
            path: (bool(handler.request_streaming), bool(handler.response_streaming), handler_of(handling, handler))
            for path, handler in self._methods.known().items()
        }
        server = wire.Server(servicers(methods), config=self._config, fallback=handling.handle_any)
        _channelz.heed(self._options, server)
        return server

    async def stop(self, grace: float | None) -> None:
        if self._server is None or self._stopped.is_set():
            return
        await self._server.stop(0 if grace is None else grace)
        if not self._stopped.is_set():
            self._stopped.set()
            await self._server.__aexit__(None, None, None)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    def __del__(self) -> None:
        for sock, _ in getattr(self, "_ports", ()):
            sock.close()
        loop = getattr(self, "_loop", None)
        if loop is not None and not loop.is_closed() and not self._stopped.is_set():
            server = self._server

            async def stop() -> None:
                if server is not None:
                    await server.__aexit__(GeneratorExit, GeneratorExit(), None)

            loop.call_soon_threadsafe(lambda: loop.create_task(stop()))


def server(
    migration_thread_pool: Executor | None = None,
    handlers: Sequence[Any] | None = None,
    interceptors: Sequence[Any] | None = None,
    options: Any = None,
    maximum_concurrent_rpcs: int | None = None,
    compression: Any = None,
) -> Server:
    """A server. Plain `def` handlers run in `migration_thread_pool`."""
    return Server(
        migration_thread_pool,
        () if handlers is None else handlers,
        () if interceptors is None else interceptors,
        options,
        maximum_concurrent_rpcs,
        compression,
    )
