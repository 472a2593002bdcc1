"""What the soak does: calls of all four kinds that end in every way, on channels that come and go.

In: a server's addresses and a number of calls. Out: how often each scenario was played, and how its calls ended. Wrong
answers raise `AssertionError`; that a call fails because another scenario took its connection away is no fault.
"""

from __future__ import annotations

import random
import socket
import struct
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio

import wire
from tests.http2 import frames as f
from tests.support import Probe, ProbeStub
from wire.config import EngineName
from wire.status import StatusCode

CALLS_OF_A_CHANNEL = 300
AT_ONCE = 10
"""Calls under way on one channel."""

_SHORT_S = 0.003  # a deadline that passes while its handler waits
_ENDED = {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
"""How any call may end: its connection was taken away, or its channel closed."""


class Servicer(Probe):
    """Echoes, but for requests that begin with a word: "wait", "fail", "raise", "later"."""

    def unary(self, request: bytes, context: wire.ServerContext) -> Any:
        word = request[:5].strip()
        if word == b"wait":
            return anyio.sleep_forever()
        if word == b"later":
            return self._later(request, context)
        if word == b"fail":
            raise wire.RpcError(StatusCode.ABORTED, "asked to", trailing_metadata=wire.Metadata({"why": "x" * 50}))
        if word == b"raise":
            raise ValueError("asked to")
        return request

    async def _later(self, request: bytes, context: wire.ServerContext) -> bytes:
        context.send_initial_metadata({"x-first": str(len(request))})
        await anyio.lowlevel.checkpoint()
        context.set_trailing_metadata({"x-last": "1"})
        return request

    def server_stream(self, request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        """As many messages as the request has bytes; without end for one that begins with "wait"."""
        endless = request.startswith(b"wait")
        size = 1000 if endless else 10
        while endless:
            yield bytes(size)
        for _ in request:
            yield bytes(size)

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            if each.startswith(b"fail"):
                raise wire.RpcError(StatusCode.ABORTED, "asked to")
            yield each


@dataclass(slots=True)
class Target:
    """How a channel is made: to which address, and how."""

    address: str
    tls: wire.ClientTls | None = None
    compression: Any = None


@dataclass(slots=True)
class Load:
    """See the module's text. `server`: whose connections are taken away."""

    server: wire.Server
    targets: list[Target]
    engine: EngineName
    random: random.Random = field(default_factory=lambda: random.Random(8))
    made: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    async def play(self, calls: int, channels: int) -> None:
        """So many calls, on so many channels at a time. Returns when all of them have ended."""
        end = self.made + calls
        async with anyio.create_task_group() as tasks:
            for _ in range(channels):
                tasks.start_soon(self._channels, end)

    async def _channels(self, end: int) -> None:
        """Channels, one after the other."""
        while self.made < end:
            last = min(end, self.made + CALLS_OF_A_CHANNEL)
            async with self.channel(self.random.choice(self.targets)) as channel:
                stub = ProbeStub(channel)
                while self.made < last:
                    async with anyio.create_task_group() as tasks:
                        for scenario in self.random.choices(SCENARIOS, WEIGHTS, k=AT_ONCE):
                            self.made += 1
                            tasks.start_soon(self._call, scenario, stub)

    def channel(self, target: Target) -> wire.Channel:
        config = wire.ChannelConfig(
            engine=self.engine,
            connections=self.random.choice((1, 1, 2)),
            wait_for_ready=True,
            calls=wire.CallConfig(compression=target.compression),
            transport=wire.TransportConfig(linger_s=0.05),
        )
        return wire.Channel(target.address, config=config, tls=target.tls)

    async def _call(self, scenario: Scenario, stub: ProbeStub) -> None:
        try:
            await scenario(self, stub)
        except wire.RpcError as error:
            self.note(scenario, error.code)
            if error.code not in _ENDED | MAY_END.get(scenario, set()):
                raise AssertionError(f"{scenario.__name__} ended with {error}") from None
        else:
            self.note(scenario, StatusCode.OK)

    def note(self, scenario: Scenario, code: StatusCode) -> None:
        self.outcomes[f"{scenario.__name__} {code.name}"] += 1


Scenario = Callable[[Load, ProbeStub], Awaitable[None]]


async def echo(load: Load, stub: ProbeStub) -> None:
    body = load.random.randbytes(load.random.choice((0, 10, 1000)))
    assert await stub.unary(body) == body


async def echo_later(load: Load, stub: ProbeStub) -> None:
    body = b"later" + bytes(load.random.randrange(100))
    call = stub.unary(body, timeout=30, metadata={"x-trace-id": str(load.random.random())})
    assert await call == body
    assert call.trailing_metadata is not None


async def echo_large(load: Load, stub: ProbeStub) -> None:
    body = bytes(load.random.choice((100_000, 1_000_000)))
    assert await stub.unary(body) == body


async def failure(load: Load, stub: ProbeStub) -> None:
    await stub.unary(load.random.choice((b"fail", b"raise")))
    raise AssertionError("it was to fail")


async def down(load: Load, stub: ProbeStub) -> None:
    count = load.random.randrange(30)
    assert len([each async for each in stub.server_stream(bytes(count))]) == count


async def up(load: Load, stub: ProbeStub) -> None:
    count = load.random.randrange(30)
    assert await stub.client_stream([b"x"] * count) == b"x" * count


async def up_by_hand(load: Load, stub: ProbeStub) -> None:
    call = stub.client_stream()
    await call.send(b"a")
    await call.send(bytes(10_000))
    await call.end()
    assert len(await call) == 10_001


async def both_ways(load: Load, stub: ProbeStub) -> None:
    async with stub.bidi() as call:
        for number in range(load.random.randrange(10)):
            await call.send(b"%d" % number)
            assert await anext(call) == b"%d" % number
        await call.end()
        assert [each async for each in call] == []


async def both_ways_fails(load: Load, stub: ProbeStub) -> None:
    async for _ in stub.bidi([b"a", b"fail", b"b"]):
        pass
    raise AssertionError("it was to fail")


async def deadline(load: Load, stub: ProbeStub) -> None:
    kind = load.random.randrange(4)
    if kind == 0:
        await stub.unary(b"wait", timeout=_SHORT_S)
    elif kind == 1:
        async for _ in stub.server_stream(b"wait", timeout=_SHORT_S):
            pass
    elif kind == 2:
        await stub.client_stream(timeout=_SHORT_S)
    else:
        async with stub.bidi(timeout=_SHORT_S) as call:
            while True:
                await call.send(bytes(10_000))  # until the window is closed, for nobody takes what comes back
    raise AssertionError("it was to pass")


async def cancel(load: Load, stub: ProbeStub) -> None:
    """By `cancel`, from beside whoever waits."""
    kind = load.random.randrange(3)
    call: Any = (stub.unary(b"wait"), stub.server_stream(b"wait"), stub.client_stream())[kind]

    async def later() -> None:
        for _ in range(load.random.randrange(20)):
            await anyio.lowlevel.checkpoint()
        call.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(later)
        try:
            if kind == 1:
                async for _ in call:
                    pass
            else:
                await call
        except wire.RpcError as error:
            assert error.code in _ENDED, error  # noqa: PT017
            return
    raise AssertionError("it was to be cancelled")


async def cancelled_task(load: Load, stub: ProbeStub) -> None:
    """A task that waits is cancelled."""
    kind = load.random.randrange(4)
    with anyio.move_on_after(_SHORT_S):
        if kind == 0:
            await stub.unary(b"wait")
        elif kind == 1:
            async for _ in stub.server_stream(b"wait"):
                pass
        elif kind == 2:
            await stub.client_stream()
        else:
            call = stub.bidi()
            while True:
                await call.send(bytes(10_000))


async def cancelled_at_once(load: Load, stub: ProbeStub) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stub.unary(b"wait")


async def left_by_break(load: Load, stub: ProbeStub) -> None:
    """Abandoned in the middle, with messages unread."""
    async for _ in stub.server_stream(b"wait"):
        break


async def abandoned(load: Load, stub: ProbeStub) -> None:
    """Nobody keeps the call."""
    kind = load.random.randrange(4)
    if kind == 0:
        stub.unary(b"wait")
    elif kind == 1:
        stub.server_stream(b"wait")
    elif kind == 2:
        stub.client_stream([b"x"])
    else:
        await stub.bidi().send(b"x")


async def unknown(load: Load, stub: ProbeStub) -> None:
    await _UnknownStub(stub.channel).unknown(b"x")


async def connection_is_taken_away(load: Load, stub: ProbeStub) -> None:
    connections = [each for each in load.server.connections if each.transport is not None]
    if connections:
        transport = load.random.choice(connections).transport
        assert transport is not None
        (transport.abort if load.random.random() < 0.5 else transport.close)()


async def connection_is_drained(load: Load, stub: ProbeStub) -> None:
    connections = [each for each in load.server.connections if each.transport is not None]
    if connections:
        load.random.choice(connections).drain()


async def dial_is_given_up(load: Load, stub: ProbeStub) -> None:
    """A channel is closed while it connects."""
    async with load.channel(load.random.choice(load.targets)) as channel:
        channel.connect()
        for _ in range(load.random.randrange(20)):
            await anyio.lowlevel.checkpoint()


async def stranger(load: Load, stub: ProbeStub) -> None:
    """A socket that says something else, and is closed or reset."""
    address = load.random.choice([each.address for each in load.targets if each.address.startswith("ipv4")])
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(
            load.random.choice(
                (
                    b"x",
                    b"GET / HTTP/1.1\r\n\r\n",
                    b"\x16\x03\x01\x00\x05hello",
                    f.PREFACE[:10],
                    f.PREFACE + f.settings(),
                    f.PREFACE + f.settings() + f.headers(1) + f.data(1, b"\0\0\0"),
                    f.PREFACE + f.settings() + f.data(0, b"x"),
                    f.PREFACE + f.settings() + f.headers(1) + f.rst_stream(1) + f.headers(3) + f.window_update(3, 0),
                )
            )
        )
        if load.random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


_UNKNOWN = wire.UnaryUnary("Unknown", bytes, bytes)


class _UnknownStub(wire.Stub):
    service = wire.Service("probe.v1.Unknown", (_UNKNOWN,))
    unknown = _UNKNOWN


MAY_END: dict[Scenario, set[StatusCode]] = {
    failure: {StatusCode.ABORTED, StatusCode.UNKNOWN},
    both_ways_fails: {StatusCode.ABORTED},
    deadline: {StatusCode.DEADLINE_EXCEEDED},
    unknown: {StatusCode.UNIMPLEMENTED},
}

_WEIGHTED: dict[Scenario, float] = {
    echo: 30,
    echo_later: 10,
    echo_large: 0.3,
    failure: 4,
    down: 8,
    up: 6,
    up_by_hand: 4,
    both_ways: 6,
    both_ways_fails: 3,
    deadline: 6,
    cancel: 6,
    cancelled_task: 4,
    cancelled_at_once: 2,
    left_by_break: 3,
    abandoned: 4,
    unknown: 2,
    connection_is_taken_away: 0.1,
    connection_is_drained: 0.1,
    dial_is_given_up: 0.5,
    stranger: 0.5,
}
SCENARIOS = list(_WEIGHTED)
WEIGHTS = list(_WEIGHTED.values())

warnings.filterwarnings("ignore", "a call of .* was abandoned", ResourceWarning)
