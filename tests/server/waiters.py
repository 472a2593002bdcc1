"""What can wait on a server: one in memory, and scenes in which a handler waits, or a call for its handler to begin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc

import wire
from tests.http2 import frames as f
from tests.memory import End, World, message, no_socket
from tests.peers import request
from tests.support import Probe
from wire.config import EngineName
from wire.http2.codes import Setting

LIMIT_BYTES = 100_000
"""Of a received message."""

REPLY_BYTES = 1000
"""Of what the echoing methods answer, and more than replies may hold."""

KEEPALIVE = wire.KeepaliveConfig(time_s=1000, timeout_s=20, min_ping_interval_s=100, max_ping_strikes=2)
_CALLS = wire.CallConfig(send_buffer_bytes=10, max_receive_message_bytes=LIMIT_BYTES)


class Waiting(Probe):
    """Handlers that wait. `running`: how many have begun and not ended; `begun`: how many ever did."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = self.running = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.begun += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        with self.watched():
            if len(request) == REPLY_BYTES:
                return request
            await anyio.sleep_forever()
            return b""

    async def client_stream(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        with self.watched():
            return b"".join([each async for each in requests])

    async def server_stream(  # type: ignore[override]
        self, request: bytes, context: wire.ServerContext
    ) -> AsyncIterator[bytes]:
        with self.watched():
            while True:
                yield request

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        with self.watched():
            async for each in requests:
                yield each


class WaitingPlainly(Waiting):
    """The same where there is nothing to await: a unary handler that echoes, and a generator."""

    def unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        with self.watched():
            return request

    def server_stream(  # type: ignore[override]
        self, request: bytes, context: wire.ServerContext
    ) -> Iterator[bytes]:
        with self.watched():
            while True:
                yield request


class WaitingIterator(Waiting):
    """A stream of responses that is no generator."""

    def server_stream(  # type: ignore[override]
        self, request: bytes, context: wire.ServerContext
    ) -> AsyncIterator[bytes]:
        return _Responses(request, self)


class _Responses:
    def __init__(self, response: bytes, servicer: Waiting) -> None:
        self._response = response
        self._watched = servicer.watched()
        self._watched.__enter__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return self._response

    async def aclose(self) -> None:
        self._watched.__exit__(None, None, None)


@dataclass(slots=True)
class Rig:
    """A server, and one connection to it. `stream_id`: of the call that waits."""

    world: World
    server: wire.Server
    servicer: Waiting
    tasks: anyio.abc.TaskGroup
    end: End = field(init=False)
    stream_id: int = 1
    stopped: bool = False

    def connect(self, window_bytes: int = 65_535) -> None:
        self.end = self.world.connect({Setting.INITIAL_WINDOW_SIZE: window_bytes})

    def call(self, method: str, body: bytes = b"", *, end: bool = False, stream_id: int = 1) -> None:
        """Send a request whose deadline is 5 s away."""
        fields = request(method, (b"grpc-timeout", b"5S"))
        self.end.receive(f.headers(stream_id, fields), f.data(stream_id, body, end=end) if body else b"")
        self.stream_id = stream_id


Servicer = Callable[[], Waiting]


@asynccontextmanager
async def rig(world: World, engine: EngineName, servicer: Waiting) -> AsyncIterator[Rig]:
    config = wire.ServerConfig(
        engine=engine, calls=_CALLS, keepalive=KEEPALIVE, reply_buffer_bytes=REPLY_BYTES // 2, slow_handler_s=None
    )
    async with anyio.create_task_group() as tasks:
        async with wire.Server([servicer], config=config) as server:
            server.serve(no_socket())
            yield Rig(world, server, servicer, tasks)
            for end in world.ends:
                end.lose()
            await world.settle()
        tasks.cancel_scope.cancel()


# What waits.

Scene = Callable[[Rig], Awaitable[None]]


async def an_event(rig: Rig) -> None:
    rig.connect()
    rig.call("Unary", message(), end=True)


async def the_first_request(rig: Rig) -> None:
    rig.connect()
    rig.call("ClientStream")


async def a_further_request(rig: Rig) -> None:
    rig.connect()
    rig.call("Bidi", message())


async def the_rest_of_a_request(rig: Rig) -> None:
    rig.connect()
    rig.call("Bidi", message(90_000)[:20])


async def the_rest_of_a_unary_request(rig: Rig) -> None:
    rig.connect()
    rig.call("Unary", message(90_000)[:20])


async def room_in_the_streams_window(rig: Rig) -> None:
    rig.connect(20)
    rig.call("ServerStream", message(50), end=True)


async def room_in_the_connections_window(rig: Rig) -> None:
    rig.connect(1 << 20)
    rig.call("ServerStream", message(50_000), end=True)


async def room_for_an_echo(rig: Rig) -> None:
    rig.connect(20)
    rig.call("Bidi", message(50) + message(50))


async def room_in_the_transport(rig: Rig) -> None:
    rig.connect()
    rig.end.pause()
    rig.call("ServerStream", message(50), end=True)


async def room_for_its_reply(rig: Rig) -> None:
    rig.connect(0)
    for stream_id in (1, 3):
        rig.call("Unary", message(REPLY_BYTES), end=True, stream_id=stream_id)
        await rig.world.settle()


async def the_peer_to_take_its_reply(rig: Rig) -> None:
    rig.connect(0)
    rig.call("Unary", message(REPLY_BYTES), end=True)


SCENES: list[tuple[Scene, Servicer]] = [
    (an_event, Waiting),
    (the_first_request, Waiting),
    (a_further_request, Waiting),
    (the_rest_of_a_request, Waiting),
    (the_rest_of_a_unary_request, Waiting),
    (room_in_the_streams_window, Waiting),
    (room_in_the_streams_window, WaitingPlainly),
    (room_in_the_streams_window, WaitingIterator),
    (room_in_the_connections_window, Waiting),
    (room_for_an_echo, Waiting),
    (room_in_the_transport, Waiting),
    (room_in_the_transport, WaitingPlainly),
    (room_for_its_reply, Waiting),
    (room_for_its_reply, WaitingPlainly),
    (the_peer_to_take_its_reply, Waiting),
]
STREAMS_REQUESTS: list[Scene] = [the_first_request, a_further_request, room_for_an_echo]
QUEUED: list[Scene] = [
    room_in_the_streams_window,
    room_in_the_connections_window,
    room_for_an_echo,
    room_for_its_reply,
    the_peer_to_take_its_reply,
]
"""In which the peer's windows are closed before what the call has sent."""
