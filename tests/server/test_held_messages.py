"""Long messages that handlers hold: what counts, what is refused, and that every end of a call gives it back."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import wire
from tests.leftovers import COUNTED
from tests.support import Pair, Probe, collect, on_pair, status_of, turns
from wire.server.held_messages import HeldMessages
from wire.status import StatusCode
from wire.transport.runtime import LoopName

LONG = bytes(100_000)
SHORT = bytes(10_000)
CONFIG = wire.ServerConfig(handler_messages_bytes=250_000)
"""Room for two."""


def test_the_limit_is_that_of_all_holders_and_one_alone_may_pass_it() -> None:
    held = HeldMessages(100)
    assert held.hold("a", 1000)
    assert not held.hold("b", 1)
    assert held.hold("a", 60)
    assert held.hold("b", 40)
    assert not held.hold("c", 1)
    assert "100 bytes, of 100" in held.refusal
    held.leave("a")
    held.leave("a")
    assert held.hold("c", 60)
    assert not held.hold("b", 41)  # what it holds is as it was
    assert held.sizes == {"b": 40, "c": 60}


class Gate:
    """Handlers that hold what they were given until they are let go."""

    def __init__(self) -> None:
        self.inside = 0
        self.opened = anyio.Event()

    async def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.inside += 1
        await self.opened.wait()
        return request[:1]

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request[:1]


def held(pair: Pair) -> dict[object, int]:
    (connection,) = pair.server.connections
    return connection.held.sizes


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_request_is_refused_beside_handlers_that_hold_as_much_as_they_may(compression: Any, loop: LoopName) -> None:
    gate = Gate()

    async def test(pair: Pair) -> None:
        calls = [pair.stub.unary(LONG) for _ in range(2)]
        while gate.inside < 2:
            await turns(1)
        code, message = await status_of(pair.stub.unary(LONG))
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert message == "the handlers of this connection hold messages of 200000 bytes, of 250000 that they may"
        short = pair.stub.unary(SHORT)  # they never count
        while gate.inside < 3:
            await turns(1)
        gate.opened.set()
        assert [await each for each in (*calls, short)] == [b"\0"] * 3
        assert held(pair) == {}
        assert await pair.stub.unary(LONG) == b"\0"

    channel = wire.ChannelConfig(calls=wire.CallConfig(compression=compression))
    on_pair(test, Probe(Unary=gate.unary), loop=loop, server_config=CONFIG, channel_config=channel)


@pytest.mark.parametrize("end", ["cancel", "deadline", "error", "lost"])
def test_what_a_handler_held_is_given_back_when_it_has_ended(end: str, loop: LoopName) -> None:
    gate = Gate()

    async def unary(request: bytes, context: wire.ServerContext) -> bytes:
        await gate.unary(request, context)
        raise ValueError("wanted by the test")

    async def test(pair: Pair) -> None:
        call = pair.stub.unary(LONG, timeout=0.3 if end == "deadline" else None)  # it has to get there
        while not gate.inside:
            await turns(1)
        (connection,) = pair.server.connections
        if end == "cancel":
            call.cancel()
        elif end == "lost":
            assert connection.transport is not None
            connection.transport.abort()
        elif end == "error":
            gate.opened.set()
        await status_of(call)
        while connection.running:
            await turns(1)
        assert connection.held.sizes == {}

    on_pair(test, Probe(Unary=unary), loop=loop, server_config=CONFIG)


def test_a_plain_handler_holds_nothing_once_it_has_returned(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        for _ in range(5):
            assert await pair.stub.unary(LONG) == LONG
            assert held(pair) == {}

    on_pair(test, Probe(), loop=loop, server_config=CONFIG)


@COUNTED  # it looks for what is held among all objects
def test_a_handler_in_a_thread_holds_its_request(loop: LoopName) -> None:
    sizes: list[int] = []

    def unary(request: bytes, context: Any) -> bytes:
        (connection,) = (each for each in gc.get_objects() if type(each) is HeldMessages)
        sizes.extend(connection.sizes.values())
        return b"x"

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(LONG) == b"x"
        assert sizes == [len(LONG)]
        assert held(pair) == {}

    threads = wire.ServerConfig(handler_messages_bytes=250_000, handler_threads=1)
    on_pair(test, Probe(Unary=unary), loop=loop, server_config=threads)


def test_a_stream_holds_its_last_long_message_until_the_next_one(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        async with pair.stub.bidi() as first, pair.stub.bidi() as second, pair.stub.bidi() as third:
            for call in (first, second, first, second):
                await call.send(LONG)
                assert await anext(call) == b"\0"
                assert len(held(pair)) <= 2
            assert list(held(pair).values()) == [len(LONG)] * 2
            await third.send(SHORT)
            assert await anext(third) == b"\0"
            await first.send(SHORT)
            assert await anext(first) == b"\0"
            assert list(held(pair).values()) == [len(LONG)]
            await third.send(LONG)
            assert await anext(third) == b"\0"
            await first.send(LONG)
            code, message = await status_of(anext(first))
            assert code is StatusCode.RESOURCE_EXHAUSTED
            assert "hold messages of 200000 bytes" in message
        while held(pair):
            await turns(1)
        assert await collect(pair.stub.bidi([LONG] * 5)) == [b"\0"] * 5

    on_pair(test, Probe(Bidi=Gate().bidi), loop=loop, server_config=CONFIG)
