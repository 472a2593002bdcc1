"""A server in a thread of its own, and blocking channels to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.from_thread

import wire
from tests.peers import IMPATIENT, RawServer, raw_server
from tests.support import LOCAL, TIMEOUT_S, Probe, ProbeStub

Stub = ProbeStub[wire.blocking.Channel]


@dataclass(slots=True)
class Served:
    """A server that runs in another thread."""

    server: wire.Server
    address: str
    call: Callable[..., Any]
    """Runs an async function in the server's event loop, and waits for it."""


@dataclass(slots=True)
class Tied:
    """A blocking channel, a stub on it, and the server behind it."""

    channel: wire.blocking.Channel
    stub: Stub
    served: Served


@contextmanager
def serving(
    *servicers: wire.Servicer,
    config: wire.ServerConfig | None = None,
    tls: wire.ServerTls | None = None,
    address: str = LOCAL,
) -> Iterator[Served]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(wire.Server(servicers or (Probe(),), config=config, tls=tls)) as server,
    ):
        yield Served(server, portal.call(server.listen, address), portal.call)
        portal.call(server.stop, 0)


@contextmanager
def tied(
    *servicers: wire.Servicer,
    config: wire.ChannelConfig | None = None,
    tls: wire.ClientTls | None = None,
    server_config: wire.ServerConfig | None = None,
    server_tls: wire.ServerTls | None = None,
    address: str = LOCAL,
) -> Iterator[Tied]:
    server = serving(*servicers, config=server_config, tls=server_tls, address=address)
    with server as served, wire.blocking.Channel(served.address, config=config, tls=tls) as channel:
        yield Tied(channel, ProbeStub(channel), served)


@dataclass(slots=True)
class Threads:
    """Threads of a test, that are waited for at its end; what one raises fails the test."""

    _threads: list[threading.Thread] = field(default_factory=list)
    _errors: list[BaseException] = field(default_factory=list)

    def start(self, function: Callable[..., Any], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                function(*args)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        for thread in self._threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
        self._threads.clear()
        if self._errors:
            raise self._errors[0]


@contextmanager
def threads() -> Iterator[Threads]:
    started = Threads()
    yield started
    started.join()


def status_of(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[wire.StatusCode, str]:
    """How a call ends: OK and "", or the error's code and message."""
    try:
        function(*args, **options)
    except wire.RpcError as error:
        return error.code, error.message
    return wire.StatusCode.OK, ""


@dataclass(slots=True)
class RawTied:
    """A blocking channel to a server that the test plays by hand, its functions running by `call`."""

    stub: Stub
    server: RawServer
    call: Callable[..., Any]


@contextmanager
def raw_tied(**config: Any) -> Iterator[RawTied]:
    channel_config = wire.ChannelConfig(transport=IMPATIENT, **config)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(raw_server()) as server,
        wire.blocking.Channel(server.address, config=channel_config) as channel,
    ):
        yield RawTied(ProbeStub(channel), server, portal.call)
