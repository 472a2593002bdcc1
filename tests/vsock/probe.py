"""What the suites share: a service that waits, counts and tells who called; servers and channels of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.vsock.guest import Guest
from wire.config import EngineName
from wire.transport.runtime import LoopName

WHO = wire.UnaryUnary("Who", bytes, bytes)
BOUNCE = wire.UnaryUnary("Bounce", bytes, bytes)
HANG = wire.UnaryUnary("Hang", bytes, bytes)
FLOOD = wire.UnaryStream("Flood", bytes, bytes)
TALK = wire.StreamStream("Talk", bytes, bytes)

FLOOD_MESSAGE = bytes(64 * 1024)


class ProbeStub(wire.Stub):
    service = wire.Service("wire.tests.Probe", (WHO, BOUNCE, HANG, FLOOD, TALK))
    who = WHO
    bounce = BOUNCE
    hang = HANG
    flood = FLOOD
    talk = TALK


class Probe(wire.Servicer):
    """`hanging` and `let_go` are set when a `Hang` call has begun and when it was cancelled; `flooded` counts the
    messages that `Flood` could hand over."""

    service = ProbeStub.service

    def __init__(self) -> None:
        self.hanging = anyio.Event()
        self.let_go = anyio.Event()
        self.flooded = 0

    def who(self, request: bytes, context: wire.ServerContext) -> bytes:
        return f"{context.peer.cid} {context.peer.tls_version} {context.peer.address}".encode()

    def bounce(self, request: bytes, context: wire.ServerContext) -> bytes:
        return request

    async def hang(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.hanging.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.let_go.set()
        raise AssertionError

    async def flood(self, request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield FLOOD_MESSAGE
            self.flooded += 1

    async def talk(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request


@dataclass(frozen=True, slots=True)
class Stack:
    """An event loop and an HTTP/2 engine, for both ends of a test."""

    loop: LoopName = "asyncio"
    engine: EngineName = "tuned"

    def __str__(self) -> str:
        return f"{self.loop}-{self.engine}"

    def run(self, test: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        wire.run(test, *arguments, loop=self.loop)

    @asynccontextmanager
    async def serve(
        self, *servicers: wire.Servicer, listen: str, tls: wire.ServerTls | None = None, **config: Any
    ) -> AsyncIterator[str]:
        """A server, for the length of the block; gives the address that was bound."""
        async with wire.Server(servicers, config=wire.ServerConfig(engine=self.engine, **config), tls=tls) as server:
            yield await server.listen(listen)
            await server.stop(0)

    def channel(self, target: str, *, tls: wire.ClientTls | None = None, **config: Any) -> wire.Channel:
        return wire.Channel(target, tls=tls, config=wire.ChannelConfig(engine=self.engine, **config))


LOOPS = [Stack("asyncio"), Stack("uvloop"), Stack("trio")]
STACKS = [*LOOPS, *(Stack(stack.loop, "h2") for stack in LOOPS)]


async def outlive(target: str, machine: Guest, boot: Callable[[], Guest], refusal: str) -> None:
    """A channel to an echo server in `machine`, which is killed in mid-call and replaced by what `boot` gives.

    `refusal` is part of what a call says while there is no guest.
    """
    async with Stack().channel(target, backoff_max_s=1.0) as channel:
        stub = EchoServiceStub(channel)
        call = stub.echo_stream(timeout=300)
        replies = aiter(call)
        await call.send(EchoRequest(payload=b"before"))
        assert (await anext(replies)).payload == b"before"
        machine.kill()
        with pytest.raises(wire.RpcError) as lost:
            await anext(replies)
        assert lost.value.code is wire.StatusCode.UNAVAILABLE
        with pytest.raises(wire.RpcError, match=refusal):
            await stub.echo(EchoRequest(), timeout=30)
        with await anyio.to_thread.run_sync(boot):
            reply = await stub.echo(EchoRequest(payload=b"after"), timeout=60, wait_for_ready=True)
            assert reply.payload == b"after"
