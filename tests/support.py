"""What tests of the centre share: a service over bytes, and servers and channels in pairs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import anyio
import anyio.abc

import wire
from wire.config import EngineName
from wire.service_names import python_name
from wire.transport.runtime import LoopName

T = TypeVar("T")

LOOPS: tuple[LoopName, ...] = ("asyncio", "uvloop", "trio")
ENGINES: tuple[EngineName, ...] = ("tuned", "h2")
LOCAL = "127.0.0.1:0"
TIMEOUT_S = 30.0 if sys.implementation.name == "cpython" else 120.0
"""When a test that waits in vain gives up. The machine may be busy with something else; PyPy starts late."""


def run(async_function: Callable[..., Awaitable[T]], *args: Any, loop: LoopName = "asyncio") -> T:
    """Run a test's coroutine function to its end; it fails rather than hang."""

    async def limited() -> T:
        with anyio.fail_after(TIMEOUT_S):
            return await async_function(*args)

    return wire.run(limited, loop=loop)


# A service over bytes.

UNARY = wire.UnaryUnary("Unary", bytes, bytes)
SERVER_STREAM = wire.UnaryStream("ServerStream", bytes, bytes)
CLIENT_STREAM = wire.StreamUnary("ClientStream", bytes, bytes)
BIDI = wire.StreamStream("Bidi", bytes, bytes)
PROBE_SERVICE = wire.Service("probe.v1.Probe", (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI))


class ProbeStub(wire.Stub[wire.AnyChannel]):
    service = PROBE_SERVICE
    unary = UNARY
    server_stream = SERVER_STREAM
    client_stream = CLIENT_STREAM
    bidi = BIDI


class Probe(wire.Servicer):
    """Answers with what the handlers given to it say; a method that got none echoes."""

    service = PROBE_SERVICE

    def __init__(self, **handlers: Callable[..., Any]) -> None:
        for name, handler in handlers.items():
            setattr(self, python_name(name), handler)

    def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        return request

    def server_stream(self, request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        """Each byte of the request as a message."""
        for byte in request:
            yield bytes([byte])

    async def client_stream(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        return b"".join([each async for each in requests])

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each


@dataclass(slots=True)
class Pair:
    """A server, a channel to it and a stub on that."""

    server: wire.Server
    address: str
    channel: wire.Channel
    stub: ProbeStub


@asynccontextmanager
async def serving(
    *servicers: wire.Servicer, config: wire.ServerConfig | None = None, tls: wire.ServerTls | None = None
) -> AsyncIterator[tuple[wire.Server, str]]:
    """A server (of `Probe()`, unless told) on a port of its own, and its address."""
    async with wire.Server(servicers or (Probe(),), config=config, tls=tls) as server:
        yield server, await server.listen(LOCAL)
        await server.stop(0)


@asynccontextmanager
async def paired(
    *servicers: wire.Servicer,
    engine: EngineName = "tuned",
    server_config: wire.ServerConfig | None = None,
    channel_config: wire.ChannelConfig | None = None,
) -> AsyncIterator[Pair]:
    server_config = replace(server_config or wire.ServerConfig(), engine=engine)
    channel_config = replace(channel_config or wire.ChannelConfig(), engine=engine)
    async with (
        serving(*servicers, config=server_config) as (server, address),
        wire.Channel(address, config=channel_config) as channel,
    ):
        yield Pair(server, address, channel, ProbeStub(channel))


async def status_of(call: Awaitable[Any]) -> tuple[wire.StatusCode, str]:
    """How a call ends: OK and "", or the error's code and message."""
    try:
        await call
    except wire.RpcError as error:
        return error.code, error.message
    return wire.StatusCode.OK, ""


async def collect(call: AsyncIterator[T] | Any) -> list[T]:
    return [each async for each in call]


def start(stub: ProbeStub, method: str, **options: Any) -> Any:
    """A call of any kind, with one request, and the status it ends with as what it gives."""
    if method in {"Unary", "ServerStream"}:
        return getattr(stub, python_name(method))(b"x", **options)
    return getattr(stub, python_name(method))([b"x"], **options)


async def end_of(call: Any, method: str) -> tuple[wire.StatusCode, str]:
    return await status_of(call if method in {"Unary", "ClientStream"} else collect(call))


def on_pair(test: Callable[[Pair], Awaitable[Any]], *servicers: wire.Servicer, **options: Any) -> None:
    loop = options.pop("loop", "asyncio")

    async def main() -> None:
        async with paired(*servicers, **options) as pair:
            await test(pair)

    run(main, loop=loop)


async def ignore_rpc_errors(awaitable: Awaitable[Any]) -> None:
    try:
        await awaitable
    except wire.RpcError:
        pass


async def turns(count: int = 20) -> None:
    """Let everything that is ready run. Only for showing that nothing happens; to wait for something, use an event."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def short_directory() -> AsyncIterator[Path]:
    """A directory whose path leaves room for the name of a UNIX socket."""
    with TemporaryDirectory(prefix="wire") as directory:
        yield Path(directory)


def failures(channel: wire.Channel) -> int:
    """Attempts to connect in a row that have failed."""
    return max((each.failures for each in channel.pool._subchannels.values()), default=0)
