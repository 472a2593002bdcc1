"""Hedging by a service config (gRPC proposal A6)."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.leftovers import COUNTED, gone
from tests.peers import IMPATIENT, RawPeer, RawServer, raw_server, reply
from tests.support import Probe, ProbeStub, collect, run, serving, status_of, turns
from wire import StatusCode
from wire.client.hedging import _Attempt, _Hedged
from wire.config import EngineName
from wire.http2.codes import ErrorCode
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

POLICY = {"maxAttempts": 3, "hedgingDelay": "1s", "nonFatalStatusCodes": ["UNAVAILABLE"]}


def hedging(policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{}], "hedgingPolicy": {**POLICY, **(policy or {})}}], **more}


Test = Callable[[ProbeStub, RawPeer, ManualClock], Awaitable[Any]]


def on_peer(
    test: Test,
    clock: ManualClock,
    *,
    engine: EngineName = "tuned",
    loop: LoopName = "asyncio",
    service_config: Any = None,
    closes: bool = False,
) -> None:
    """Run `test(stub, peer, clock)`; stream 1 is behind it, so hedged calls begin with 3. Nothing is left behind."""

    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config, service_config=service_config or hedging()) as channel,
        ):
            stub = ProbeStub(channel)
            first = stub.server_stream(b"")  # kinds that stream are not hedged
            peer = await server.accept()
            await peer.answer(1)
            await reply(peer, 1, b"")
            await collect(first)
            await test(stub, peer, clock)
            await turns()
            assert not channel.pool.held
            assert not channel.pool.queue
            if closes:
                return
            await peer.barrier()
            (connection,) = channel.pool._all
            assert not connection.engine.streams

    run(main, loop=loop)


def previous(peer: RawPeer, stream_id: int) -> int:
    return int(dict(peer.answers[stream_id].headers or ()).get(b"grpc-previous-rpc-attempts", b"0"))


async def refuse(peer: RawPeer, stream_id: int, code: StatusCode, *extra: tuple[bytes, bytes]) -> None:
    fields = (*frames.RESPONSE, (b"grpc-status", b"%d" % code), *extra)
    await peer.send(frames.headers(stream_id, fields, end=True))
    await peer.barrier()


def test_attempts_follow_each_other_and_the_first_response_wins(
    loop: LoopName, engine: EngineName, clock: ManualClock
) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        for winner in (0, 1, 2):
            base = max(peer.answers) + 2
            gc.collect()
            call = stub.unary(b"x", metadata={"k": "v"}, timeout=100)
            for number in range(3):
                answer = await peer.answer(base + 2 * number)
                assert answer.data == framed(b"x")
                assert dict(answer.headers or ())[b"k"] == b"v"
                left = (b"100000m", b"99000000u", b"98000000u")[number]
                assert dict(answer.headers or ())[b"grpc-timeout"] == left
                assert previous(peer, base + 2 * number) == number
                clock.advance(0.75)
                await peer.barrier()
                assert base + 2 * number + 2 not in peer.answers
                clock.advance(0.25)
            await reply(peer, base + 2 * winner, b"%d" % winner)
            assert await call == b"%d" % winner
            assert call.code is StatusCode.OK
            assert call.initial_metadata is not None
            await peer.barrier()
            losers = [base + 2 * number for number in range(3) if number != winner]
            assert [peer.answers[each].reset or ErrorCode.CANCEL for each in losers] == [ErrorCode.CANCEL] * 2
            with gone():
                del call
            assert not [each for each in gc.get_objects() if type(each) in (_Attempt, _Hedged)]

    on_peer(test, clock, engine=engine, loop=loop)


def test_a_status_that_is_not_fatal_brings_the_next_attempt_at_once(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE)
        await peer.answer(5)
        await refuse(peer, 5, StatusCode.UNAVAILABLE)
        await peer.answer(7)
        await reply(peer, 7, b"x")
        assert await call == b"x"

    on_peer(test, clock)


def test_when_all_attempts_fail_the_last_status_is_the_calls(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        for stream_id in (3, 5, 7):
            await peer.answer(stream_id)
            await refuse(peer, stream_id, StatusCode.UNAVAILABLE, (b"grpc-message", b"%d" % stream_id), (b"k", b"v"))
        assert await status_of(call) == (StatusCode.UNAVAILABLE, "7")
        assert call.trailing_metadata is not None
        assert call.trailing_metadata["k"] == "v"

    on_peer(test, clock)


@pytest.mark.parametrize("which", [0, 1])
def test_a_fatal_status_ends_the_call_and_the_other_attempts(clock: ManualClock, which: int) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        clock.advance(1.1)
        await peer.answer(5)
        await refuse(peer, 3 + 2 * which, StatusCode.NOT_FOUND)
        assert (await status_of(call))[0] is StatusCode.NOT_FOUND
        await peer.barrier()

    on_peer(test, clock)


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("end", ["cancel", "deadline", "abandon"])
def test_all_attempts_end_with_the_call(loop: LoopName, clock: ManualClock, end: str, decided: bool) -> None:
    """`decided`: a response to the second has begun."""

    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call: Any = stub.unary(b"x", timeout=1.5)
        await peer.answer(3)
        clock.advance(1.1)
        await peer.answer(5)
        if decided:
            await peer.send(frames.headers(5, frames.RESPONSE))
            await peer.barrier()
        if end == "cancel":
            call.cancel()
            assert (await status_of(call))[0] is StatusCode.CANCELLED
        elif end == "deadline":
            clock.advance(0.5)
            assert (await status_of(call))[0] is StatusCode.DEADLINE_EXCEEDED
        else:
            with pytest.warns(ResourceWarning, match="abandoned"), gone():
                del call
            await turns()
        clock.advance(5)
        await peer.barrier()
        assert max(peer.answers) == 5

    on_peer(test, clock, loop=loop)


def test_a_lost_connection_is_not_fatal(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config, service_config=hedging()) as channel,
        ):
            call = ProbeStub(channel).unary(b"x")
            peer = await server.accept()
            await peer.answer(1)
            clock.advance(1.1)
            await peer.answer(3)
            await peer.stream.aclose()
            while channel.pool._all:
                await anyio.lowlevel.checkpoint()
            clock.advance(0.1)
            second: RawPeer = await accept(server)
            await second.answer(1)
            assert previous(second, 1) == 2
            await reply(second, 1, b"x")
            assert await call == b"x"

    run(main, loop=loop)


async def accept(server: RawServer) -> RawPeer:
    return await server.accept()


@pytest.mark.parametrize(("value", "pause_s"), [(b"5000", 5), (b"-1", None)])
def test_pushback_says_when_the_next_attempt_may_come(clock: ManualClock, value: bytes, pause_s: float | None) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", value))
        if pause_s is None:
            assert (await status_of(call))[0] is StatusCode.UNAVAILABLE
            return
        clock.advance(pause_s - 0.1)
        await peer.barrier()
        assert 5 not in peer.answers
        clock.advance(0.2)
        await peer.answer(5)
        await reply(peer, 5, b"x")
        assert await call == b"x"

    on_peer(test, clock)


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_call_may_end_while_it_waits_for_its_next_attempt(clock: ManualClock, end: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"5000"))
        assert call.code is None
        if end == "cancel":
            call.cancel()
        else:
            stub.channel.pool.abandon()
        assert (await status_of(call))[0] is StatusCode.CANCELLED

    on_peer(test, clock, closes=end == "close")


def test_failures_stop_further_attempts(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, peer: RawPeer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE)  # 1 of 2 left: not more than half
        assert (await status_of(call))[0] is StatusCode.UNAVAILABLE
        slow = stub.unary(b"x")
        await peer.answer(5)
        clock.advance(10)
        await peer.barrier()
        assert 7 not in peer.answers
        await reply(peer, 5, b"x")
        assert await slow == b"x"

    on_peer(test, clock, service_config=hedging(retryThrottling={"maxTokens": 2, "tokenRatio": 0.1}))


def test_credentials_are_asked_for_each_attempt(clock: ManualClock) -> None:
    asked = 0

    async def credentials(call: wire.CallContext) -> wire.MetadataInput:
        nonlocal asked
        asked += 1
        number = asked
        await anyio.lowlevel.checkpoint()
        return {"attempt": str(number)}

    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT, credentials_in_clear=True)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config, service_config=hedging(), credentials=credentials) as channel,
        ):
            call = ProbeStub(channel).unary(b"x", metadata={"k": "v"})
            peer = await server.accept()
            for stream_id, number in ((1, b"1"), (3, b"2")):
                fields = (await peer.answer(stream_id)).headers or ()
                assert [value for name, value in fields if name in (b"k", b"attempt")] == [b"v", number]
                clock.advance(1.1)
            await reply(peer, 3, b"x")
            assert await call == b"x"

    run(main)


def test_hedging_against_servers_of_ours(loop: LoopName, engine: EngineName) -> None:
    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        if not context.metadata.get("grpc-previous-rpc-attempts"):
            await anyio.sleep_forever()
        return b"hedged"

    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        policy = hedging({"hedgingDelay": "0.001s"})
        async with (
            serving(Probe(unary=slow), config=config) as (_, address),
            wire.Channel(address, config=wire.ChannelConfig(engine=engine), service_config=policy) as channel,
        ):
            for _ in range(3):
                assert await ProbeStub(channel).unary(b"x", timeout=5) == b"hedged"

    run(main, loop=loop)


@COUNTED
def test_a_hedged_call_leaves_nothing_to_the_collector() -> None:
    async def main() -> None:
        policy = hedging({"hedgingDelay": "0s"})
        async with serving() as (_, address), wire.Channel(address, service_config=policy) as channel:
            stub = ProbeStub(channel)
            await stub.unary(b"x")
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    await stub.unary(b"x")
                    await turns()
                assert not [each for each in gc.get_objects() if type(each) in (_Attempt, _Hedged)]
            finally:
                gc.enable()

    run(main)
