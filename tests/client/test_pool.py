"""A channel's connections: when they are made, how long not, and which call goes where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import IMPATIENT, RawPeer, RawServer, raw_server, reply
from tests.support import Probe, ProbeStub, failures, paired, run, serving, status_of, turns
from wire import StatusCode
from wire.config import EngineName, LoadBalancing
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

Test = Callable[[ProbeStub, RawServer], Awaitable[Any]]


def on_channel(test: Test, *, engine: EngineName = "tuned", loop: LoopName = "asyncio", **config: Any) -> None:
    """Run `test(stub, server)`, the server's end being the test's."""

    config.setdefault("max_connections", 1)

    async def main() -> None:
        channel_config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, **config)
        async with raw_server() as server, wire.Channel(server.address, config=channel_config) as channel:
            await test(ProbeStub(channel), server)

    run(main, loop=loop)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await anyio.lowlevel.checkpoint()


# The limit of concurrent streams.


@pytest.mark.parametrize("method", ["Unary", "Bidi"])
def test_calls_over_the_limit_wait_in_order(loop: LoopName, engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        def start(body: bytes) -> Any:
            return stub.unary(body) if method == "Unary" else stub.bidi([body])

        calls = [start(b"%d" % number) for number in range(4)]
        peer = await server.accept({Setting.MAX_CONCURRENT_STREAMS: 1})
        for number in range(4):
            stream_id = 2 * number + 1
            assert (await peer.answer(stream_id)).data == framed(b"%d" % number)
            await peer.barrier()
            assert stream_id + 2 not in peer.answers
            await reply(peer, stream_id, b"")
        for call in calls:
            await (call if method == "Unary" else anext(aiter(call)))

    on_channel(test, engine=engine, loop=loop)


def test_a_call_that_waits_ends_at_its_deadline_unsent(engine: EngineName, clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        first = stub.unary(b"first")
        peer = await server.accept({Setting.MAX_CONCURRENT_STREAMS: 1})
        await peer.answer(1)
        expiring, cancelled = stub.unary(b"expiring", timeout=5), stub.unary(b"cancelled")
        last = stub.unary(b"last", timeout=50)
        cancelled.cancel()
        clock.advance(5.1)
        assert (await status_of(expiring))[0] is StatusCode.DEADLINE_EXCEEDED
        assert (await status_of(cancelled))[0] is StatusCode.CANCELLED
        assert len(stub.channel.pool.queue) == 1
        await reply(peer, 1, b"")
        await first
        answer = await peer.answer(3)
        assert answer.data == framed(b"last")
        assert 44_000_000 < int(dict(answer.headers or ())[b"grpc-timeout"][:-1]) < 45_000_000  # what is left of it
        await reply(peer, 3, b"")
        await last

    on_channel(test, engine=engine)


def test_a_raised_limit_lets_waiting_calls_go(engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        calls = [stub.unary(b"%d" % number) for number in range(3)]
        peer = await server.accept({Setting.MAX_CONCURRENT_STREAMS: 1})
        await peer.answer(1)
        await peer.send(frames.settings({Setting.MAX_CONCURRENT_STREAMS: 10}))
        for stream_id in (3, 5):
            await peer.answer(stream_id)
        for stream_id in (1, 3, 5):
            await reply(peer, stream_id, b"x")
        assert [await call for call in calls] == [b"x"] * 3

    on_channel(test, engine=engine)


def test_thousands_of_waiting_calls_may_end_together(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        calls = [stub.unary(b"", timeout=5, wait_for_ready=True) for _ in range(5000)]
        clock.advance(6)
        assert {call.code for call in calls} == {StatusCode.DEADLINE_EXCEEDED}
        assert len(stub.channel.pool.queue) == 0

    on_channel(test)


# Connecting, and connecting again.


def test_calls_wait_for_the_first_connection_and_go_together(loop: LoopName, engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        calls = [stub.unary(b"%d" % number) for number in range(3)]
        peer = await server.accept()
        for number in range(3):
            await peer.answer(2 * number + 1)
            await reply(peer, 2 * number + 1, b"")
        for call in calls:
            await call

    on_channel(test, engine=engine, loop=loop)


def test_a_lost_connection_is_replaced_without_a_pause(loop: LoopName, engine: EngineName, clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        for _ in range(3):
            call = stub.unary(b"")
            peer = await server.accept()
            await peer.answer(1)
            await reply(peer, 1, b"")
            await call
            await peer.stream.aclose()
            await until(lambda: not stub.channel.pool._all)

    on_channel(test, engine=engine, loop=loop)


@pytest.mark.parametrize("last_words", [b"", frames.settings() + frames.goaway()])
def test_a_server_that_hangs_up_is_asked_again_at_once_and_a_few_times(
    engine: EngineName, last_words: bytes, clock: ManualClock
) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        for _ in range(4):
            peer: RawPeer = await server._arrived.receive()
            if last_words:
                await peer.send(last_words)
            await peer.stream.aclose()
        code, message = await status_of(call)
        assert code is StatusCode.UNAVAILABLE
        assert message.startswith(f"cannot connect to {server.address}: the peer")

    on_channel(test, engine=engine)


def test_a_server_that_hangs_up_once_costs_no_call(loop: LoopName, engine: EngineName, clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        stopping: RawPeer = await server._arrived.receive()
        await stopping.send(frames.settings(), frames.goaway())
        peer = await server.accept()
        await peer.answer(1)
        await reply(peer, 1, b"served")
        assert await call == b"served"

    on_channel(test, engine=engine, loop=loop)


@pytest.mark.parametrize(
    ("last_words", "told"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak HTTP/2"), (frames.goaway(), "the peer broke HTTP/2")],
)
def test_a_server_that_does_not_speak_http2_is_unavailable(engine: EngineName, last_words: bytes, told: str) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        peer: RawPeer = await server._arrived.receive()
        await peer.send(last_words)
        await peer.stream.aclose()
        code, message = await status_of(call)
        assert code is StatusCode.UNAVAILABLE
        assert told in message

    on_channel(test, engine=engine)


def test_a_server_that_says_nothing_is_given_up_in_time(engine: EngineName, clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        await server._arrived.receive()
        await until(lambda: any(each.transport for each in stub.channel.pool._all))
        await turns()
        clock.advance(20.1)
        expected = f"cannot connect to {server.address}: the peer did not speak HTTP/2 in time"
        assert await status_of(call) == (StatusCode.UNAVAILABLE, expected)

    on_channel(test, engine=engine)


def test_failed_attempts_come_further_and_further_apart(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """connection-backoff.md: 1 s, times 1.6, at most 120 s, each give or take a fifth."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 1.0

    monkeypatch.setattr("wire.client.backoff.random.uniform", uniform)

    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with wire.Channel(address, config=wire.ChannelConfig(idle_timeout_s=None)) as channel:
            stub = ProbeStub(channel)
            pauses = []
            waiting = stub.unary(b"", wait_for_ready=True)
            for attempt in range(1, 14):
                while failures(channel) < attempt:
                    await anyio.lowlevel.checkpoint()
                (pause,) = clock.pending
                pauses.append(pause)
                clock.advance(pause - 0.001)
                await turns()
                assert failures(channel) == attempt
                clock.advance(0.002)
            assert pauses[:4] == pytest.approx([1, 1.6, 2.56, 4.096])
            assert pauses[-1] == pytest.approx(120)
            assert set(drawn) == {(0.8, 1.2)}
            assert waiting.code is None

    run(main)


def test_a_connection_that_works_starts_the_pauses_anew(clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with wire.Channel(address, config=wire.ChannelConfig(idle_timeout_s=None)) as channel:
            waiting = ProbeStub(channel).unary(b"", wait_for_ready=True)
            for attempt in (1, 2):
                while failures(channel) < attempt:
                    await anyio.lowlevel.checkpoint()
                clock.advance(2 if attempt == 1 else 0)
            async with wire.Server([Probe()]) as server:
                await server.listen(address)
                clock.advance(2)
                await waiting
                await server.stop(0)
            await until(lambda: not channel.pool._all)
            assert (await status_of(ProbeStub(channel).unary(b"")))[0] is StatusCode.UNAVAILABLE
            (pause,) = clock.pending
            assert pause <= 1.2

    run(main)


def test_calls_made_during_the_pause_fail_at_once(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with wire.Channel(address) as channel:
            stub = ProbeStub(channel)
            first = await status_of(stub.unary(b""))
            assert first[0] is StatusCode.UNAVAILABLE
            call = stub.unary(b"")
            assert (call.code, call.message) == first
            patient = stub.unary(b"", wait_for_ready=True, timeout=1000)
            assert patient.code is None
            async with wire.Server([Probe()]) as server:
                await server.listen(address)
                clock.advance(1.3)
                assert await patient == b""
                assert await stub.unary(b"x") == b"x"
                await server.stop(0)

    run(main, loop=loop)


def test_calls_that_wait_for_a_server_end_at_their_deadline(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        config = wire.ChannelConfig(wait_for_ready=True)
        async with wire.Channel(address, config=config) as channel:
            call = ProbeStub(channel).unary(b"", timeout=5)
            impatient = ProbeStub(channel).unary(b"", wait_for_ready=False)
            assert (await status_of(impatient))[0] is StatusCode.UNAVAILABLE
            clock.advance(5.1)
            assert (await status_of(call))[0] is StatusCode.DEADLINE_EXCEEDED

    run(main, loop=loop)


# Several connections.


def test_calls_go_round_the_connections(loop: LoopName, engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        first = stub.unary(b"first")
        peers = [await server.accept() for _ in range(3)]
        await until(lambda: len(stub.channel.pool._ready) == 3)
        calls = [stub.unary(b"x") for _ in range(6)]
        for peer in peers:
            await peer.barrier()
        counts = [sum(each.data == framed(b"x") for each in peer.answers.values()) for peer in peers]
        assert counts == [2, 2, 2]
        for peer in peers:
            for stream_id in list(peer.answers):
                if stream_id:
                    await reply(peer, stream_id, b"")
        for call in (first, *calls):
            await call

    on_channel(test, engine=engine, loop=loop, connections=3)


def test_a_lost_one_of_several_is_replaced_unasked(engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        peers = [await server.accept() for _ in range(2)]
        await until(lambda: len(stub.channel.pool._ready) == 2)
        await peers[0].barrier()
        keeper, other = peers if 1 in peers[0].answers else reversed(peers)
        await other.stream.aclose()
        await server.accept()
        await until(lambda: len(stub.channel.pool._ready) == 2)
        await keeper.answer(1)
        await reply(keeper, 1, b"kept")
        assert await call == b"kept"

    on_channel(test, engine=engine, connections=2)


def test_a_full_connection_is_passed_over(engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        first = stub.unary(b"")
        peers = [await server.accept({Setting.MAX_CONCURRENT_STREAMS: limit}) for limit in (1, 100)]
        await until(lambda: len(stub.channel.pool._ready) == 2)
        calls = [stub.unary(b"") for _ in range(5)]
        await peers[0].barrier()
        await peers[1].barrier()
        assert sorted(len(peer.answers) - 1 for peer in peers) == [1, 5]
        for peer in peers:
            for stream_id in [each for each in peer.answers if each]:
                await reply(peer, stream_id, b"")
        for call in (first, *calls):
            await call

    on_channel(test, engine=engine, connections=2)


# GOAWAY.


def test_the_reason_of_a_goaway_reaches_the_calls(engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        peer = await server.accept()
        await peer.answer(1)
        await peer.send(frames.goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
        await peer.stream.aclose()
        code, message = await status_of(call)
        assert code is StatusCode.UNAVAILABLE
        assert "ENHANCE_YOUR_CALM: too_many_pings" in message

    on_channel(test, engine=engine)


def test_what_a_goaway_says_is_cut_and_escaped() -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.unary(b"")
        peer = await server.accept()
        await peer.answer(1)
        await peer.send(frames.goaway(1, 0x1234, b"\x1b[31m\r\n\xff" + b"x" * 10_000))
        await peer.stream.aclose()
        _, message = await status_of(call)
        assert message.isprintable()
        assert "0x1234" in message
        assert len(message) < 400

    on_channel(test)


def test_a_retiring_connection_closes_after_its_last_call(engine: EngineName) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        call = stub.bidi()
        old = await server.accept()
        await old.until(FrameType.HEADERS, 1)
        await old.send(frames.goaway(2**31 - 1))
        await old.barrier()
        next_call = stub.unary(b"")
        new = await server.accept()
        await new.answer(1)
        await reply(new, 1, b"")
        await next_call
        await call.send(b"1")
        await old.until(FrameType.DATA, 1)
        await reply(old, 1, b"2")
        assert [each async for each in call] == [b"2"]
        await old.closed()

    on_channel(test, engine=engine)


def test_stream_ids_that_run_out_need_a_new_connection() -> None:
    async def main() -> None:
        async with paired() as pair:
            assert await pair.stub.unary(b"1") == b"1"
            (connection,) = pair.channel.pool._ready
            connection.engine.can_open = False
            connection.engine.drained = True
            assert await pair.stub.unary(b"2", timeout=5) == b"2"
            assert connection not in pair.channel.pool._ready
            await until(lambda: connection not in pair.channel.pool._all)

    run(main)


# Idleness.


@pytest.mark.parametrize("load_balancing", ["pick_first", "round_robin"])
def test_a_channel_without_calls_lets_its_connections_go(
    loop: LoopName, clock: ManualClock, load_balancing: LoadBalancing
) -> None:
    async def test(stub: ProbeStub, server: RawServer) -> None:
        channel = stub.channel
        for _ in range(2):
            call = stub.unary(b"")
            peer = await server.accept()
            await peer.answer(1)
            for _ in range(10):
                clock.advance(25)
            assert channel.state is wire.ConnectivityState.READY  # a call is open
            await reply(peer, 1, b"")
            await call
            for _ in range(6):
                clock.advance(25)
            await peer.closed()
            await until(lambda: not channel.pool._all)
            assert str(channel.state) == "IDLE"

    on_channel(test, loop=loop, idle_timeout_s=100, load_balancing=load_balancing)
