"""What the transport tests share: every kind of loop and transport, and a protocol that writes down its calls.

`TransportKind` is a combination of loop, transport and TLS; `run_transports` runs a test under one. "anyio" is trio's
runtime on anyio's asyncio backend. "watched" is a UNIX socket driven as AF_VSOCK is on asyncio and uvloop: vsock itself
is tested in virtual machines only.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.certificates import Certificates
from wire.config import TransportConfig
from wire.transport import asyncio_transport
from wire.transport.address import TcpAddress, UnixAddress, parse_address
from wire.transport.anyio_transport import open_anyio_runtime
from wire.transport.contract import Future, Listener, Runtime, Transport
from wire.transport.listening import bound_address, listen_on
from wire.transport.runtime import open_runtime, run
from wire.transport.tls import ClientTls, ServerTls

LOOPS = ("asyncio", "uvloop", "trio", "anyio")
TIMEOUT_S = 30.0
"""When a test that waits in vain gives up."""


def quick(**fields: Any) -> TransportConfig:
    """A configuration that does not wait long for peers that leave their side open."""
    return TransportConfig(**{"linger_s": 0.02, **fields})


@dataclass(frozen=True, slots=True)
class TransportKind:
    loop: str
    transport: str
    tls: bool

    def __str__(self) -> str:
        return f"{self.loop}-{self.transport}-{'tls' if self.tls else 'clear'}"


LINK_KINDS = [
    TransportKind(loop, transport, tls)
    for loop, transport, tls in itertools.product(LOOPS, ("tcp", "unix", "memory", "watched"), (False, True))
    if transport != "watched" or loop in {"asyncio", "uvloop"}
]


class Recorder:
    """A `TransportProtocol`. `calls`: the names of its calls in order, several "data" in a row as one. `echo`: writes
    back."""

    def __init__(
        self, runtime: Runtime, *, echo: bool = False, on_made: Callable[[Transport], None] | None = None
    ) -> None:
        self.runtime = runtime
        self.calls: list[str] = []
        self.data = bytearray()
        self.chunks = 0
        self.error: Exception | None = None
        self.transport: Transport
        self._echo = echo
        self._on_made = on_made
        self._changed: Future[None] | None = None

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._record("made")
        if self._on_made is not None:
            self._on_made(transport)

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        assert data
        self.data += data
        self.chunks += 1
        self._record("data")
        if self._echo:
            self.transport.write(data)

    def eof_received(self) -> None:
        self._record("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.error = error
        self._record("lost")

    def pause_writing(self) -> None:
        self._record("pause")

    def resume_writing(self) -> None:
        self._record("resume")

    def _record(self, call: str) -> None:
        if call != "data" or self.calls[-1:] != ["data"]:
            self.calls.append(call)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def until(self, reached: Callable[[Recorder], Any]) -> None:
        """Wait until `reached(self)` is true after some call."""
        while not reached(self):
            self._changed = self.runtime.future()
            await self._changed

    async def lost(self) -> None:
        await self.until(lambda recorder: "lost" in recorder.calls)


class Transports:
    """Makes pairs of transports of one kind."""

    def __init__(
        self, runtime: Runtime, kind: TransportKind, certificates: Certificates | None, directory: Path
    ) -> None:
        self.runtime = runtime
        self.kind = kind
        self.server_tls: ServerTls | None = None
        self.client_tls: ClientTls | None = None
        if certificates is not None:
            self.server_tls = ServerTls(certificates.server, certificates.server_key)
            self.client_tls = ClientTls(certificates.ca)
        self._directory = directory
        self._count = itertools.count()

    def listen(self, make_protocol: Callable[[], Any], **config: Any) -> tuple[str, Listener]:
        unix = f"unix:{self._directory}/{next(self._count)}.sock"
        name = {"tcp": "127.0.0.1:0", "memory": "memory:"}.get(self.kind.transport, unix)
        (sock,) = listen_on(parse_address(name))
        listener = self.runtime.listen(sock, make_protocol, tls=self.server_tls, config=quick(**config))
        return bound_address(sock), listener

    async def connect(self, address: str, **options: Any) -> Recorder:
        config = options.pop("config", quick())
        recorder = Recorder(self.runtime, **options)
        (candidate,) = await self.runtime.resolve(parse_address(address), config.connect_timeout_s)
        transport = await self.runtime.connect(candidate, recorder, tls=self.client_tls, config=config)
        assert recorder.transport is transport
        return recorder

    async def pair(
        self,
        *,
        echo: bool = False,
        paused: bool = False,
        on_made: Callable[[Transport], None] | None = None,
        **config: Any,
    ) -> tuple[Recorder, Recorder]:
        """A client and a server that are linked; `echo`, `paused` (its reading) and `on_made` are the server's."""
        server = Recorder(self.runtime, echo=echo, on_made=on_made)
        address, listener = self.listen(lambda: server, **config)
        client = await self.connect(address, config=quick(**config))
        await server.until(lambda recorder: "made" in recorder.calls)
        if paused:
            server.transport.pause_reading()
        listener.close()
        return client, server


def run_loop(loop: str, test: Callable[[Runtime], Awaitable[None]]) -> None:
    """Run `test` with a runtime of the loop's kind. No task may be left, and no callback or task may have raised."""
    complaints: list[Any] = []

    async def main() -> None:
        with anyio.fail_after(TIMEOUT_S):
            async with open_anyio_runtime("anyio") if loop == "anyio" else open_runtime() as runtime:
                assert runtime.name == loop
                await test(runtime)

    async def main_asyncio() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    handler = logging.Handler()
    handler.emit = lambda record: complaints.append(record.getMessage()) if record.exc_info else None  # type: ignore[method-assign]
    logging.getLogger("wire.transport").addHandler(handler)
    try:
        if loop == "trio":
            run(main, loop="trio")
        else:
            run(main_asyncio, loop="uvloop" if loop == "uvloop" else "asyncio")
    finally:
        logging.getLogger("wire.transport").removeHandler(handler)
    assert complaints == []


def run_transports(
    kind: TransportKind,
    certificates: Certificates,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[[Transports], Awaitable[None]],
) -> None:
    if kind.transport == "watched":
        monkeypatch.setattr(asyncio_transport, "AF_VSOCK", socket.AF_UNIX)

    async def with_links(runtime: Runtime) -> None:
        await test(Transports(runtime, kind, certificates if kind.tls else None, directory))

    run_loop(kind.loop, with_links)


def dial(address: str) -> socket.socket:
    """A plain client's socket, connected."""
    parsed = parse_address(address)
    if isinstance(parsed, UnixAddress):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(parsed.path)
        return sock
    assert isinstance(parsed, TcpAddress)
    return socket.create_connection((parsed.host, parsed.port))


async def receive(sock: socket.socket, size: int = 1 << 16) -> bytes:
    """Read from a plain socket on any loop; b"" also when the peer reset it."""
    sock.setblocking(False)
    while True:
        await anyio.wait_readable(sock)
        try:
            return sock.recv(size)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            return b""


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What wire itself wrote to its log."""
    return [record.getMessage() for record in caplog.records if record.name == "wire.transport"]
