"""Connections that end because of their age, or because nothing is called on them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.peers import raw_client, request
from tests.support import Probe, run, serving, turns
from wire.config import EngineName
from wire.http2.codes import ErrorCode
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.server.age.random.uniform", lambda low, high: 1.0)


def config(engine: EngineName = "tuned", **keepalive: Any) -> wire.ServerConfig:
    knobs = wire.KeepaliveConfig(timeout_s=1000, min_ping_interval_s=0, **keepalive)
    return wire.ServerConfig(engine=engine, keepalive=knobs)


async def _never(request: bytes, context: wire.ServerContext) -> bytes:
    await anyio.sleep_forever()
    return request


def test_an_old_connection_is_asked_to_end_and_its_calls_go_on(
    loop: LoopName, engine: EngineName, clock: ManualClock
) -> None:
    go = anyio.Event()

    async def wait(request: bytes, context: wire.ServerContext) -> bytes:
        await go.wait()
        return request

    async def main() -> None:
        ages = config(engine, max_connection_age_s=100)
        async with serving(Probe(unary=wait), config=ages) as (_, address), raw_client(address) as peer:
            await peer.call(1)
            await peer.barrier()
            clock.advance(99)
            await peer.barrier()
            assert not peer.goaways
            clock.advance(2)
            assert (await peer.goaway()).code is ErrorCode.NO_ERROR
            go.set()
            assert (await peer.answer(1)).data == framed(b"hello")
            clock.advance(6)  # the peer does not answer the ping
            await peer.closed()

    run(main, loop=loop)


def test_the_calls_of_an_old_connection_have_a_grace(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        ages = config(max_connection_age_s=100, max_connection_age_grace_s=10)
        async with serving(Probe(unary=_never), config=ages) as (_, address), raw_client(address) as peer:
            await peer.call(1)
            await peer.barrier()
            clock.advance(101)
            await peer.goaway()
            clock.advance(8)
            await peer.barrier()
            assert not peer.answers[1].ended
            clock.advance(2)
            answer = await peer.answer(1)
            assert (answer.status, answer.message) == (
                wire.StatusCode.UNAVAILABLE,
                "the connection has reached its greatest age",
            )
            await peer.closed()

    run(main, loop=loop)


def test_a_connection_without_calls_is_asked_to_end(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving(config=config(max_connection_idle_s=100)) as (_, address), raw_client(address) as peer:
            for stream_id in (1, 3):
                await peer.call(stream_id)
                await peer.answer(stream_id)
                for _ in range(4):
                    clock.advance(24)
                    await peer.barrier()  # a ping is no call
                assert not peer.goaways
            for _ in range(3):
                clock.advance(25)
            await peer.goaway()

    run(main, loop=loop)


def test_a_call_that_goes_on_keeps_a_connection(clock: ManualClock) -> None:
    async def main() -> None:
        ages = config(max_connection_idle_s=100)
        async with serving(Probe(unary=_never), config=ages) as (_, address), raw_client(address) as peer:
            await peer.call(1, fields=request())
            await peer.barrier()
            for _ in range(20):
                clock.advance(25)
            await peer.barrier()
            await turns()
            assert not peer.goaways

    run(main)
