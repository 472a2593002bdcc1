"""Retries by a service config (gRPC proposal A6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import IMPATIENT, RawPeer, RawServer, raw_server, reply
from tests.support import (
    Probe,
    ProbeStub,
    collect,
    end_of,
    run,
    serving,
    short_directory,
    start,
    status_of,
    turns,
)
from wire import StatusCode
from wire.client.retry import Tokens, backoff_s, pushback_s
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType
from wire.rpc.framing import frame as framed
from wire.rpc.service_config import RetryPolicy, RetryThrottling
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]
POLICY: dict[str, Any] = {
    "maxAttempts": 3,
    "initialBackoff": "1s",
    "maxBackoff": "10s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
}


def retrying(policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    config = {"name": [{"service": "probe.v1.Probe"}], "retryPolicy": {**POLICY, **(policy or {})}}
    return {"methodConfig": [config], **more}


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.client.retry.random.uniform", lambda low, high: 1.0)


Test = Callable[[ProbeStub, RawServer, ManualClock], Awaitable[Any]]


def on_server(
    test: Test,
    clock: ManualClock,
    *,
    engine: EngineName = "tuned",
    loop: LoopName = "asyncio",
    service_config: Any = None,
    **config: Any,
) -> None:
    async def main() -> None:
        channel_config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, **config)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=channel_config, service_config=service_config or retrying()) as channel,
        ):
            await test(ProbeStub(channel), server, clock)

    run(main, loop=loop)


async def refuse(peer: RawPeer, stream_id: int, code: StatusCode, *extra: tuple[bytes, bytes]) -> None:
    """Trailers-Only."""
    fields = (*frames.RESPONSE, (b"grpc-status", b"%d" % code), *extra)
    await peer.send(frames.headers(stream_id, fields, end=True))
    await peer.barrier()


def previous(peer: RawPeer, stream_id: int) -> int:
    return int(dict(peer.answers[stream_id].headers or ()).get(b"grpc-previous-rpc-attempts", b"0"))


@pytest.mark.parametrize("method", METHODS)
def test_a_call_is_made_again_after_growing_pauses(
    loop: LoopName, engine: EngineName, clock: ManualClock, method: str
) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = start(stub, method, metadata={"k": "v"})
        peer = await server.accept()
        for attempt, pause_s in enumerate((1, 2, None)):
            stream_id = 2 * attempt + 1
            answer = await peer.answer(stream_id)
            assert (answer.data, previous(peer, stream_id)) == (framed(b"x"), attempt)
            assert dict(answer.headers or ())[b"k"] == b"v"
            if pause_s is None:
                await reply(peer, stream_id, b"served")
                break
            await refuse(peer, stream_id, StatusCode.UNAVAILABLE)
            assert call.code is None
            clock.advance(pause_s - 0.01)
            await peer.barrier()
            assert stream_id + 2 not in peer.answers
            clock.advance(0.02)
        assert (await call if method in {"Unary", "ClientStream"} else (await collect(call))[0]) == b"served"

    on_server(test, clock, engine=engine, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_the_last_attempts_status_is_the_calls(clock: ManualClock, method: str) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = start(stub, method)
        peer = await server.accept()
        for attempt in range(3):
            await peer.answer(2 * attempt + 1)
            await refuse(peer, 2 * attempt + 1, StatusCode.ABORTED, (b"grpc-message", b"no %d" % attempt))
            clock.advance(3)
        assert await end_of(call, method) == (StatusCode.ABORTED, "no 2")
        assert call.trailing_metadata is not None

    on_server(test, clock)


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.INTERNAL])
def test_other_statuses_end_the_call(clock: ManualClock, code: StatusCode) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, code)
        assert (await status_of(call))[0] is code

    on_server(test, clock)


@pytest.mark.parametrize("method", METHODS)
def test_a_response_that_has_begun_is_not_asked_for_again(clock: ManualClock, method: str) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = start(stub, method)
        peer = await server.accept()
        await peer.answer(1)
        unavailable = ((b"grpc-status", b"14"),)
        await peer.send(frames.headers(1, frames.RESPONSE), frames.headers(1, unavailable, end=True))
        assert (await end_of(call, method))[0] is StatusCode.UNAVAILABLE

    on_server(test, clock)


@pytest.mark.parametrize("break_it", ["reset", "lost", "http"])
@pytest.mark.parametrize("method", METHODS)
def test_calls_that_break_are_made_again(
    loop: LoopName, engine: EngineName, clock: ManualClock, method: str, break_it: str
) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = start(stub, method)
        peer = await server.accept()
        await peer.answer(1)
        if break_it == "reset":
            await peer.send(frames.rst_stream(1, ErrorCode.REFUSED_STREAM))  # once without a policy's doing
            await peer.answer(3)
            await peer.send(frames.rst_stream(3, ErrorCode.REFUSED_STREAM))
            await peer.barrier()
        elif break_it == "http":
            await peer.send(frames.headers(1, ((b":status", b"503"),), end=True))
            await peer.barrier()
        else:
            await peer.stream.aclose()
            while stub.channel.pool._all:
                await anyio.lowlevel.checkpoint()
        assert call.code is None
        clock.advance(1.1)
        if break_it == "lost":
            peer = await server.accept()
        stream_id = {"lost": 1, "http": 3, "reset": 5}[break_it]
        assert (await peer.answer(stream_id)).data == framed(b"x")
        assert previous(peer, stream_id) == 1
        await reply(peer, stream_id, b"served")
        assert (await end_of(call, method))[0] is StatusCode.OK

    on_server(test, clock, engine=engine, loop=loop)


def test_a_server_that_is_not_there_is_tried_again(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with short_directory() as directory:
            address = f"unix:{directory}/s"
            async with wire.Channel(address, service_config=retrying()) as channel:
                call = ProbeStub(channel).unary(b"x")
                while not channel.pool.held:
                    await anyio.lowlevel.checkpoint()
                assert not channel.pool.queue
                async with wire.Server([Probe()]) as server:
                    await server.listen(address)
                    clock.advance(2)
                    assert await call == b"x"
                    await server.stop(0)

    run(main, loop=loop)


# Pushback, and throttling.


@pytest.mark.parametrize(("value", "pause_s"), [(b"5000", 5.0), (b"0", 0.0)])
def test_the_server_says_when(clock: ManualClock, value: bytes, pause_s: float) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", value))
        clock.advance(pause_s - 0.01 if pause_s else 0)
        await turns()
        assert (3 in peer.answers) is False
        clock.advance(0.02)
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE)
        clock.advance(1.01)  # the policy's pauses begin anew
        await peer.answer(5)
        await reply(peer, 5, b"")
        await call

    on_server(test, clock)


@pytest.mark.parametrize("value", [b"-1", b"soon", b"", b"9999999999"])
def test_the_server_says_never(clock: ManualClock, value: bytes) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", value))
        assert (await status_of(call))[0] is StatusCode.UNAVAILABLE

    on_server(test, clock)


def test_too_many_failures_stop_the_retries(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)  # 3 of 4 left: more than half
        clock.advance(1.1)
        await peer.answer(3)
        await refuse(peer, 3, StatusCode.UNAVAILABLE)  # 2 of 4
        assert (await status_of(call))[0] is StatusCode.UNAVAILABLE
        good = stub.unary(b"x")  # 2.5
        await peer.answer(5)
        await reply(peer, 5, b"")
        await good
        call = stub.unary(b"x")
        await peer.answer(7)
        await refuse(peer, 7, StatusCode.UNAVAILABLE)  # 1.5
        assert (await status_of(call))[0] is StatusCode.UNAVAILABLE

    config = retrying(retryThrottling={"maxTokens": 4, "tokenRatio": 0.5})
    on_server(test, clock, service_config=config)


def test_tokens_stay_within_their_bounds() -> None:
    tokens = Tokens(RetryThrottling(2, 1))
    for _ in range(5):
        tokens.succeeded()
    assert tokens.allow
    tokens.failed()
    assert not tokens.allow
    for _ in range(5):
        tokens.failed()
    tokens.succeeded()
    assert not tokens.allow
    tokens.succeeded()
    assert tokens.allow
    assert Tokens(None).allow


# How a retry ends early.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("end", ["deadline", "cancel", "close"])
def test_a_call_may_end_during_the_pause(loop: LoopName, clock: ManualClock, method: str, end: str) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = start(stub, method, timeout=3)
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE, (b"grpc-retry-pushback-ms", b"10000"))
        if end == "cancel":
            call.cancel()
        elif end == "close":
            await stub.channel.close()
        else:
            clock.advance(3.1)
        expected = StatusCode.DEADLINE_EXCEEDED if end == "deadline" else StatusCode.CANCELLED
        assert (await end_of(call, method))[0] is expected
        assert not stub.channel.pool.held
        assert not [each for each in clock.pending if each > 5 and each < 11]

    on_server(test, clock, loop=loop)


def test_a_close_with_grace_waits_for_the_next_attempt(loop: LoopName, clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stub.channel.close, 100)
            await turns()
            clock.advance(1.1)
            await peer.answer(3)
            await reply(peer, 3, b"x")
            assert await call == b"x"

    on_server(test, clock, loop=loop)


def test_cancelling_is_not_retried(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x", timeout=5)
        peer = await server.accept()
        await peer.answer(1)
        call.cancel()
        assert (await status_of(call))[0] is StatusCode.CANCELLED
        late = stub.unary(b"x", timeout=5)
        await peer.answer(3)
        clock.advance(5.1)
        assert (await status_of(late))[0] is StatusCode.DEADLINE_EXCEEDED

    codes = {"retryableStatusCodes": ["CANCELLED", "DEADLINE_EXCEEDED"]}
    on_server(test, clock, service_config=retrying(codes))


# Streams of requests.


def test_what_was_sent_is_sent_again_up_to_the_buffers_size(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.bidi()
        peer = await server.accept()
        await call.send(b"1")
        await peer.until(FrameType.DATA, 1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.send, b"2")  # waits for the next attempt
            await turns()
            clock.advance(1.1)
        await call.end()
        assert (await peer.answer(3)).data == framed(b"1") + framed(b"2")
        await reply(peer, 3, b"")
        assert await collect(call) == [b""]
        long = stub.client_stream([bytes(60), bytes(60)])
        await peer.answer(5)
        await refuse(peer, 5, StatusCode.UNAVAILABLE)
        assert (await status_of(long))[0] is StatusCode.UNAVAILABLE

    on_server(test, clock, calls=wire.CallConfig(retry_buffer_bytes=100))


def test_an_iterator_of_requests_is_asked_once(loop: LoopName, clock: ManualClock) -> None:
    asked = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal asked
        for each in (b"1", b"2", b"3"):
            asked += 1
            yield each

    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.client_stream(requests())
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)
        clock.advance(1.1)
        assert (await peer.answer(3)).data == framed(b"1") + framed(b"2") + framed(b"3")
        await reply(peer, 3, b"x")
        assert await call == b"x"
        assert asked == 3

    on_server(test, clock, loop=loop)


def test_done_callbacks_of_a_retried_call_are_told_once(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        told: list[StatusCode | None] = []
        call = stub.unary(b"x")
        call.add_done_callback(lambda call: told.append(call.code))
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)
        await turns()
        assert told == []
        clock.advance(1.1)
        await peer.answer(3)
        await reply(peer, 3, b"x")
        await call
        await turns()
        assert told == [StatusCode.OK]

    on_server(test, clock)


def test_methods_without_a_policy_are_not_retried(clock: ManualClock) -> None:
    async def test(stub: ProbeStub, server: RawServer, clock: ManualClock) -> None:
        call = stub.unary(b"x")
        peer = await server.accept()
        await peer.answer(1)
        await refuse(peer, 1, StatusCode.UNAVAILABLE)
        assert (await status_of(call))[0] is StatusCode.UNAVAILABLE

    other = {"methodConfig": [{"name": [{"service": "other"}], "retryPolicy": POLICY}]}
    on_server(test, clock, service_config=other)


def test_retries_against_a_server_of_ours(loop: LoopName, engine: EngineName) -> None:
    failures = 3

    async def unary(request: bytes, context: wire.ServerContext) -> bytes:
        nonlocal failures
        if failures:
            failures -= 1
            raise wire.RpcError(StatusCode.ABORTED)
        return request

    async def main() -> None:
        policy = retrying({"maxAttempts": 5, "initialBackoff": "0.001s"})
        config = wire.ServerConfig(engine=engine)
        async with (
            serving(Probe(unary=unary), config=config) as (_, address),
            wire.Channel(address, config=wire.ChannelConfig(engine=engine), service_config=policy) as channel,
        ):
            assert await ProbeStub(channel).unary(b"x", compression="gzip") == b"x"

    run(main, loop=loop)
    assert failures == 0


# Arithmetic.


def test_pauses_grow_to_the_most() -> None:
    policy = RetryPolicy(5, 0.5, 3, 2, frozenset())
    assert [backoff_s(policy, retries) for retries in range(5)] == [0.5, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [((), None), (((b"grpc-retry-pushback-ms", b"250"),), 0.25), (((b"grpc-retry-pushback-ms", b"-5"),), -1)],
)
def test_pushback_is_read(fields: Any, expected: float | None) -> None:
    assert pushback_s(fields) == expected
