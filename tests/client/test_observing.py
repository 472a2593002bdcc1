"""Done callbacks of calls."""

from __future__ import annotations

import gc
import logging
from typing import Any

import anyio
import pytest

import wire
from tests.leftovers import COUNTED, gone
from tests.support import Pair, Probe, ProbeStub, end_of, on_pair, run, start, turns
from wire import StatusCode
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


@pytest.mark.parametrize("method", METHODS)
def test_a_done_callback_is_called_once_with_the_call(loop: LoopName, method: str) -> None:
    async def test(pair: Pair) -> None:
        told: list[Any] = []
        done = anyio.Event()

        def callback(call: Any) -> None:
            assert call.code is StatusCode.OK
            told.append(call)
            if len(told) == 3:
                done.set()

        call = start(pair.stub, method)
        call.add_done_callback(callback)
        call.add_done_callback(callback)
        await end_of(call, method)
        call.add_done_callback(callback)
        await done.wait()
        await turns()
        assert len(told) == 3
        assert all(each is call for each in told)

    on_pair(test, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_that_cannot_begin_tells_too(loop: LoopName, method: str) -> None:
    async def main() -> None:
        told: list[StatusCode | None] = []
        async with wire.Channel("unix:/nowhere/at/all") as channel:
            call = start(ProbeStub(channel), method)
            call.add_done_callback(lambda call: told.append(call.code))
            await end_of(call, method)
            await turns()
        assert told == [StatusCode.UNAVAILABLE]

    run(main, loop=loop)


def test_a_call_that_is_let_go_of_is_cancelled_and_tells(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        told: list[Any] = []
        done = anyio.Event()

        def callback(call: Any) -> None:
            told.append((type(call), call.code, call.message))
            done.set()

        call: Any = pair.stub.bidi()
        call.add_done_callback(callback)
        with pytest.warns(ResourceWarning, match="abandoned"), gone():
            del call
        await done.wait()
        assert told == [(wire.StreamStreamCall, StatusCode.CANCELLED, "the call was abandoned")]

    on_pair(test, loop=loop)


def test_what_a_done_callback_raises_is_logged(loop: LoopName, caplog: pytest.LogCaptureFixture) -> None:
    async def test(pair: Pair) -> None:
        done = anyio.Event()

        def fails(call: Any) -> None:
            raise ValueError("mine")

        call = pair.stub.unary(b"")
        call.add_done_callback(fails)
        call.add_done_callback(lambda call: done.set())
        await call
        await done.wait()

    with caplog.at_level(logging.ERROR):
        on_pair(test, loop=loop)
    assert [each.getMessage() for each in caplog.records] == [
        "/probe.v1.Probe/Unary: a done callback raised an exception"
    ]


@COUNTED
@pytest.mark.parametrize("method", METHODS)
def test_an_observed_call_leaves_nothing_to_the_collector(method: str) -> None:
    async def test(pair: Pair) -> None:
        await end_of(start(pair.stub, method), method)
        await turns()
        gc.collect()
        gc.disable()
        try:
            call = start(pair.stub, method)
            call.add_done_callback(lambda call: None)
            exchange = type(call._exchange)
            await end_of(call, method)
            await turns()
            del call
            await turns()
            assert not [each for each in gc.get_objects() if type(each) is exchange]
        finally:
            gc.enable()

    on_pair(test, Probe())


# What a call tells of its response.


@pytest.mark.parametrize("method", METHODS)
def test_a_call_knows_its_peer_and_whether_the_response_has_begun(loop: LoopName, method: str) -> None:
    async def test(pair: Pair) -> None:
        call = start(pair.stub, method)
        assert not call.answered
        await end_of(call, method)
        assert call.answered
        assert call.peer is not None
        assert call.peer.address == pair.address

    on_pair(test, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_status_alone_is_no_answer(loop: LoopName, method: str) -> None:
    def refuse(request: Any, context: wire.ServerContext) -> Any:
        raise wire.RpcError(StatusCode.NOT_FOUND)

    async def test(pair: Pair) -> None:
        call = start(pair.stub, method)
        await end_of(call, method)
        assert not call.answered
        assert call.initial_metadata == wire.Metadata()

    on_pair(test, Probe(**{method: refuse}), loop=loop)


def test_a_call_without_a_connection_has_no_peer(loop: LoopName) -> None:
    async def main() -> None:
        async with wire.Channel("unix:/nowhere/at/all") as channel:
            call = ProbeStub(channel).unary(b"x")
            assert call.peer is None
            await end_of(call, "Unary")
            assert call.peer is None

    run(main, loop=loop)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_response_beside_a_bad_status_can_be_looked_at(compression: Any, loop: LoopName) -> None:
    async def both(requests: Any, context: wire.ServerContext) -> None:
        await context.send(b"half")
        context.end(StatusCode.DATA_LOSS, "the rest is gone")

    async def test(pair: Pair) -> None:
        call = pair.channel.unary_unary("/probe.v1.Probe/Bidi", bytes, bytes)(b"x")
        assert call.response is None
        assert await end_of(call, "Unary") == (StatusCode.DATA_LOSS, "the rest is gone")
        assert call.response == b"half"
        well = pair.stub.unary(b"x")
        await well
        assert well.response == b"x"

    server = wire.ServerConfig(calls=wire.CallConfig(compression=compression))
    on_pair(test, Probe(Bidi=both), loop=loop, server_config=server)


# Waiting that gives nothing up.


async def in_vain(waiting: Any) -> None:
    """Wait, and be cancelled."""
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: waiting)
        await turns()
        group.cancel_scope.cancel()


def test_who_waits_for_a_stream_and_is_cancelled_has_not_given_up_the_call(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        call = pair.stub.bidi()
        await in_vain(call.began())
        await in_vain(call.arrived())
        await in_vain(call.ended())
        assert call.code is None
        await call.send(b"a")
        await call.arrived()
        assert call.unread
        await call.began()
        assert call.answered
        assert await anext(call) == b"a"
        await in_vain(call.arrived())
        await call.end()
        await call.ended()
        await call.arrived()
        assert call.code is StatusCode.OK
        assert await anext(call, None) is None

    on_pair(test, Probe(Bidi=echo), loop=loop)


def test_who_waits_for_a_unary_call_and_is_cancelled_has_not_given_up_the_call(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        call = pair.stub.unary(b"x")
        await in_vain(call.ended())
        assert call.code is None
        release.set()
        await call.ended()
        assert call.response == await call == b"x"

    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        await release.wait()
        return request

    release = anyio.Event()
    on_pair(test, Probe(Unary=slow), loop=loop)


async def echo(requests: Any, context: wire.ServerContext) -> Any:
    async for request in requests:
        yield request


def test_two_tasks_do_not_wait_for_one_unary_call(loop: LoopName) -> None:
    async def test(pair: Pair) -> None:
        call = pair.stub.unary(b"x")
        async with anyio.create_task_group() as group:
            group.start_soon(call.ended)
            await turns()
            with pytest.raises(wire.UsageError, match="two tasks"):
                await call.ended()
            release.set()

    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        await release.wait()
        return request

    release = anyio.Event()
    on_pair(test, Probe(Unary=slow), loop=loop)
