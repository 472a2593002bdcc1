"""What can wait for a call on a client: a channel in memory, and scenes in which everything that can wait does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc

import wire
from tests.http2 import frames as f
from tests.memory import End, World, message
from tests.support import ProbeStub
from wire.config import EngineName
from wire.http2.codes import Setting
from wire.status import StatusCode

LIMIT_BYTES = 100_000
"""Of a received message."""

KEEPALIVE = wire.KeepaliveConfig(time_s=100, timeout_s=20, without_calls=True)
_CALLS = wire.CallConfig(send_buffer_bytes=10, max_receive_message_bytes=LIMIT_BYTES)


@dataclass(slots=True)
class Rig:
    """A channel, and what waits for its calls. `outcomes`: how each waiter ended, once it has."""

    world: World
    channel: wire.Channel
    tasks: anyio.abc.TaskGroup
    timeout: float | None = None
    head: bool = False
    """Whether the response has begun."""
    call: Any = None
    waiters: list[str] = field(default_factory=list)
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)
    outcomes: dict[str, StatusCode] = field(default_factory=dict)

    @property
    def stub(self) -> ProbeStub:
        return ProbeStub(self.channel)

    @property
    def end(self) -> End:
        return self.world.ends[0]

    @property
    def stream_id(self) -> int:
        return self.end.opened()[-1]

    def wait(self, waiter: str, awaitable: Awaitable[Any]) -> None:
        self.waiters.append(waiter)
        self.scopes[waiter] = anyio.CancelScope()
        self.tasks.start_soon(self._watch, waiter, awaitable)

    async def _watch(self, waiter: str, awaitable: Awaitable[Any]) -> None:
        code = StatusCode.OK
        with self.scopes[waiter]:
            try:
                await awaitable
            except StopAsyncIteration:
                pass
            except wire.RpcError as error:
                code = error.code
            self.outcomes[waiter] = code

    async def settled(self, settings: dict[int, int] | None = None) -> None:
        """The connection is made and its SETTINGS are exchanged."""
        await self.world.settle()
        self.end.receive(f.settings(settings or {}))
        self.end.read()
        await self.world.settle()
        self.end.read()

    def begin_response(self) -> None:
        if not self.head:
            self.head = True
            self.end.receive(f.headers(self.stream_id, f.RESPONSE))

    async def iterator(self, requests: list[bytes]) -> AsyncIterator[bytes]:
        """Requests for a call, after which it waits for ever. It counts as a waiter: it must be closed."""
        self.waiters.append("pump")
        try:
            for each in requests:
                yield each
            await anyio.sleep_forever()
        finally:
            self.outcomes["pump"] = StatusCode.OK


@asynccontextmanager
async def rig(world: World, engine: EngineName) -> AsyncIterator[Rig]:
    config = wire.ChannelConfig(engine=engine, calls=_CALLS, keepalive=KEEPALIVE, max_connections=1)
    async with anyio.create_task_group() as tasks, wire.Channel("127.0.0.1:1", config=config) as channel:
        yield Rig(world, channel, tasks)
        tasks.cancel_scope.cancel()


# What waits.

Scene = Callable[[Rig], Awaitable[None]]


async def unary_response(rig: Rig) -> None:
    rig.call = rig.stub.unary(b"x", timeout=rig.timeout)
    rig.wait("response", rig.call)
    await rig.settled()


async def rest_of_a_unary_response(rig: Rig) -> None:
    await unary_response(rig)
    rig.begin_response()
    rig.end.receive(f.data(rig.stream_id, message(50)[:20]))


async def response_to_a_stream(rig: Rig) -> None:
    rig.call = rig.stub.client_stream(timeout=rig.timeout)
    rig.wait("response", rig.call)
    await rig.settled()


async def next_of_a_server_stream(rig: Rig) -> None:
    rig.call = rig.stub.server_stream(b"x", timeout=rig.timeout)
    rig.wait("next", anext(rig.call))
    await rig.settled()


async def next_after_some(rig: Rig) -> None:
    rig.call = rig.stub.server_stream(b"x", timeout=rig.timeout)
    await rig.settled()
    rig.begin_response()
    rig.end.receive(f.data(rig.stream_id, message()))
    await anext(rig.call)
    rig.wait("next", anext(rig.call))


async def rest_of_a_long_message(rig: Rig) -> None:
    await next_after_some(rig)
    await rig.world.settle()
    rig.end.receive(f.data(rig.stream_id, message(90_000)[:20]))


async def initial_metadata_of_a_server_stream(rig: Rig) -> None:
    rig.call = rig.stub.server_stream(b"x", timeout=rig.timeout)
    rig.wait("initial", rig.call.read_initial_metadata())
    await rig.settled()


async def initial_metadata_of_a_client_stream(rig: Rig) -> None:
    rig.call = rig.stub.client_stream(timeout=rig.timeout)
    rig.wait("initial", rig.call.read_initial_metadata())
    await rig.settled()


async def all_of_a_bidi_call(rig: Rig) -> None:
    """The next message, the initial metadata, and two sends on a closed window, each in a task of its own."""
    rig.call = rig.stub.bidi(timeout=rig.timeout)
    rig.wait("next", anext(rig.call))
    rig.wait("initial", rig.call.read_initial_metadata())
    await rig.settled({Setting.INITIAL_WINDOW_SIZE: 0})
    rig.wait("send", rig.call.send(bytes(50)))
    rig.wait("send again", rig.call.send(bytes(50)))


async def send_on_a_closed_window(rig: Rig) -> None:
    rig.call = rig.stub.bidi(timeout=rig.timeout)
    await rig.settled({Setting.INITIAL_WINDOW_SIZE: 20})
    rig.begin_response()
    rig.wait("send", rig.call.send(bytes(50)))


async def send_on_the_connections_closed_window(rig: Rig) -> None:
    rig.call = rig.stub.client_stream(timeout=rig.timeout)
    await rig.settled({Setting.INITIAL_WINDOW_SIZE: 1 << 20})
    rig.wait("send", rig.call.send(bytes(70_000)))


async def send_on_a_congested_link(rig: Rig) -> None:
    rig.call = rig.stub.bidi(timeout=rig.timeout)
    await rig.settled()
    rig.end.pause()
    rig.wait("send", rig.call.send(b"x"))


async def pump_on_a_closed_window(rig: Rig) -> None:
    rig.call = rig.stub.client_stream(rig.iterator([bytes(50), bytes(50)]), timeout=rig.timeout)
    rig.wait("response", rig.call)
    await rig.settled({Setting.INITIAL_WINDOW_SIZE: 0})


async def pump_whose_iterator_waits(rig: Rig) -> None:
    rig.call = rig.stub.bidi(rig.iterator([b"x"]), timeout=rig.timeout)
    rig.wait("next", anext(rig.call))
    await rig.settled()


STARTED: list[Scene] = [
    unary_response,
    rest_of_a_unary_response,
    response_to_a_stream,
    next_of_a_server_stream,
    next_after_some,
    rest_of_a_long_message,
    initial_metadata_of_a_server_stream,
    initial_metadata_of_a_client_stream,
    all_of_a_bidi_call,
    send_on_a_closed_window,
    send_on_the_connections_closed_window,
    send_on_a_congested_link,
    pump_on_a_closed_window,
    pump_whose_iterator_waits,
]


async def _queue_one_of_each(rig: Rig) -> None:
    """Everything that can wait before a call has a stream."""
    rig.call = rig.stub.bidi(timeout=rig.timeout)
    rig.wait("next", anext(rig.call))
    rig.wait("initial", rig.call.read_initial_metadata())
    rig.wait("send", rig.call.send(b"x"))
    rig.wait("end", rig.call.end())
    others: dict[str, Any] = {
        "response": rig.stub.unary(b"x", timeout=rig.timeout),
        "another response": rig.stub.client_stream(rig.iterator([b"x"]), timeout=rig.timeout),
    }
    for waiter, other in others.items():
        rig.wait(waiter, other)
        rig.call = _Both(rig.call, other)


@dataclass(slots=True)
class _Both:
    """Two calls that end in the same way."""

    one: Any
    other: Any

    @property
    def code(self) -> StatusCode | None:
        assert self.one.code is self.other.code
        code: StatusCode | None = self.one.code
        return code

    def cancel(self) -> None:
        self.one.cancel()
        self.other.cancel()


async def room_for_a_stream(rig: Rig) -> None:
    await _queue_one_of_each(rig)
    await rig.settled({Setting.MAX_CONCURRENT_STREAMS: 0})


async def the_servers_settings(rig: Rig) -> None:
    await _queue_one_of_each(rig)


async def a_connection(rig: Rig) -> None:
    rig.world.black = True
    await _queue_one_of_each(rig)


QUEUED: list[Scene] = [room_for_a_stream, the_servers_settings]
BEGUN: list[Scene] = [rest_of_a_unary_response, next_after_some, rest_of_a_long_message, send_on_a_closed_window]
IN_A_MESSAGE: list[Scene] = [rest_of_a_unary_response, rest_of_a_long_message]
KEPT: list[Scene] = [all_of_a_bidi_call, send_on_a_congested_link]  # what is being sent, for another attempt
ONE_RESPONSE: list[Scene] = [
    unary_response,
    response_to_a_stream,
    initial_metadata_of_a_client_stream,
    send_on_the_connections_closed_window,
    pump_on_a_closed_window,
]
