"""Handlers that send their responses and their status themselves: `ServerContext.send`, `send_last`, `end`, `reset`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.support import ENGINES, LOOPS, Pair, Probe, collect, end_of, on_pair, start, status_of
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.transport.runtime import LoopName

STREAMS = ["ServerStream", "Bidi"]
KINDS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


def everywhere(test: Any) -> Any:
    return pytest.mark.parametrize("loop", LOOPS)(pytest.mark.parametrize("engine", ENGINES)(test))


@everywhere
@pytest.mark.parametrize("method", STREAMS)
def test_a_handler_may_send_its_stream_rather_than_yield_it(loop: LoopName, engine: EngineName, method: str) -> None:
    async def handler(request: Any, context: ServerContext) -> None:
        for number in range(3):
            await context.send(b"%d" % number)

    async def test(pair: Pair) -> None:
        assert await collect(start(pair.stub, method)) == [b"0", b"1", b"2"]

    on_pair(test, Probe(**{method: handler}), loop=loop, engine=engine)


@everywhere
def test_sending_waits_while_the_client_takes_no_more(loop: LoopName, engine: EngineName) -> None:
    sent = []

    async def handler(request: bytes, context: ServerContext) -> None:
        for number in range(64):
            await context.send(bytes(1 << 16))
            sent.append(number)

    async def test(pair: Pair) -> None:
        call = pair.stub.server_stream(b"x")
        assert len(await anext(call)) == 1 << 16
        await anyio.wait_all_tasks_blocked()
        assert len(sent) < 64
        assert len(await collect(call)) == 63

    on_pair(test, Probe(ServerStream=handler), loop=loop, engine=engine)


@everywhere
@pytest.mark.parametrize("method", KINDS)
def test_a_handler_goes_on_after_its_last_response(loop: LoopName, engine: EngineName, method: str) -> None:
    async def test(pair: Pair) -> None:
        call = start(pair.stub, method)
        assert (await collect(call) if method in STREAMS else [await call]) == [b"last"]
        answered.set()
        await done.wait()

    async def handler(request: Any, context: ServerContext) -> Any:
        context.send_last(b"last")
        assert context.done
        await answered.wait()
        done.set()
        return None if method in STREAMS else b"dropped"

    answered, done = anyio.Event(), anyio.Event()
    on_pair(test, Probe(**{method: handler}), loop=loop, engine=engine)


@everywhere
@pytest.mark.parametrize("method", KINDS)
def test_a_handler_goes_on_after_its_status(loop: LoopName, engine: EngineName, method: str) -> None:
    async def test(pair: Pair) -> None:
        call = start(pair.stub, method)
        assert await end_of(call, method) == (StatusCode.ABORTED, "enough")
        assert call.trailing_metadata == wire.Metadata({"why": "so"})
        answered.set()
        await done.wait()

    async def handler(request: Any, context: ServerContext) -> Any:
        context.end(StatusCode.ABORTED, "enough", trailing_metadata={"why": "so"})
        context.end(StatusCode.INTERNAL, "no effect")
        await answered.wait()
        done.set()

    answered, done = anyio.Event(), anyio.Event()
    on_pair(test, Probe(**{method: handler}), loop=loop, engine=engine)


@everywhere
def test_the_last_response_follows_the_others_and_brings_the_metadata(loop: LoopName, engine: EngineName) -> None:
    async def handler(request: bytes, context: ServerContext) -> None:
        context.send_initial_metadata({"first": "1"})
        await context.send(b"one")
        context.set_trailing_metadata({"last": "2"})
        context.send_last(b"two")

    async def test(pair: Pair) -> None:
        call = pair.stub.server_stream(b"x")
        assert await collect(call) == [b"one", b"two"]
        assert call.initial_metadata is not None
        assert call.initial_metadata["first"] == "1"
        assert call.trailing_metadata == wire.Metadata({"last": "2"})

    on_pair(test, Probe(ServerStream=handler), loop=loop, engine=engine)


@everywhere
@pytest.mark.parametrize("method", KINDS)
def test_a_call_can_be_ended_without_a_status(loop: LoopName, engine: EngineName, method: str) -> None:
    async def handler(request: Any, context: ServerContext) -> Any:
        context.reset()
        context.reset()
        assert context.done

    async def test(pair: Pair) -> None:
        call = start(pair.stub, method)
        code, _ = await end_of(call, method)
        assert (code, call.trailing_metadata) == (StatusCode.CANCELLED, None)
        assert await pair.stub.unary(b"x") == b"x" if method != "Unary" else True

    on_pair(test, Probe(**{method: handler}), loop=loop, engine=engine)


@everywhere
def test_nothing_is_sent_on_a_call_that_has_ended(loop: LoopName, engine: EngineName) -> None:
    said: list[Any] = []

    async def handler(requests: AsyncIterator[bytes], context: ServerContext) -> None:
        context.end()
        assert context.done
        for send in (context.send, _at_once(context.send_last)):
            said.append(await status_of(send(b"late")))

    async def test(pair: Pair) -> None:
        assert await collect(start(pair.stub, "Bidi")) == []
        assert said == [(StatusCode.CANCELLED, "the call has ended")] * 2

    on_pair(test, Probe(Bidi=handler), loop=loop, engine=engine)


@everywhere
def test_a_generator_that_yields_after_it_has_ended_its_call_is_closed(loop: LoopName, engine: EngineName) -> None:
    closed: list[bytes] = []

    async def handler(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            if request == b"end":
                context.end()
            try:
                yield request
            except GeneratorExit:
                closed.append(request)
                raise

    async def test(pair: Pair) -> None:
        call = pair.stub.bidi()
        for request in (b"1", b"2", b"3"):
            await call.send(request)
            assert await anext(call) == request
        await call.send(b"end")
        assert await collect(call) == []
        assert closed == [b"end"]

    on_pair(test, Probe(Bidi=handler), loop=loop, engine=engine)


def _at_once(send: Callable[[bytes], None]) -> Callable[[bytes], Awaitable[None]]:
    async def sent(message: bytes) -> None:
        send(message)

    return sent


def test_a_method_with_one_response_sends_it_as_the_last() -> None:
    async def handler(request: bytes, context: ServerContext) -> bytes:
        with pytest.raises(wire.UsageError, match="has one response: return it, or send it by `send_last`"):
            await context.send(b"x")
        with pytest.raises(wire.UsageError, match="has one response: end it well by `send_last`"):
            context.end()
        assert not context.done
        return b"returned"

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"x") == b"returned"

    on_pair(test, Probe(Unary=handler))


def test_a_response_that_is_too_long_is_its_handlers_to_know() -> None:
    async def handler(request: bytes, context: ServerContext) -> None:
        said.append(await status_of(context.send(bytes(11))))
        said.append(await status_of(_at_once(context.send_last)(bytes(11))))
        context.send_last(bytes(10))

    async def test(pair: Pair) -> None:
        assert await collect(pair.stub.server_stream(b"x")) == [bytes(10)]

    said: list[Any] = []
    config = wire.ServerConfig(calls=wire.CallConfig(max_send_message_bytes=10))
    on_pair(test, Probe(ServerStream=handler), server_config=config)
    text = "response of 11 bytes is over the server's limit of 10"
    assert said == [(StatusCode.RESOURCE_EXHAUSTED, text)] * 2
