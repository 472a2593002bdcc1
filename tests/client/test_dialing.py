"""From a target to a connection that works: bad addresses before good ones, and what stopping servers leave behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import IMPATIENT, RawPeer, RawServer, raw_server, reply
from tests.support import Probe, ProbeStub, collect, run, serving, start, status_of
from wire import StatusCode
from wire.client.dialing import _streams_opened_in
from wire.config import EngineName
from wire.http2.codes import ErrorCode
from wire.transport.runtime import LoopName

Bad = Callable[[RawPeer], Coroutine[Any, Any, None]]


async def silent(peer: RawPeer) -> None:
    await anyio.sleep_forever()


async def closes(peer: RawPeer) -> None:
    await peer.stream.aclose()


async def resets(peer: RawPeer) -> None:
    peer.stream._transport.abort() if hasattr(peer.stream, "_transport") else await peer.stream.aclose()


async def goes_away_before_settings(peer: RawPeer) -> None:
    await peer.send(frames.goaway())


async def goes_away(peer: RawPeer) -> None:
    await peer.send(frames.settings(), frames.goaway())


@asynccontextmanager
async def bad_server(behaviour: Bad) -> AsyncIterator[RawServer]:
    async with raw_server() as server, anyio.create_task_group() as tasks:

        async def serve() -> None:
            while True:
                tasks.start_soon(behaviour, await server._arrived.receive())

        tasks.start_soon(serve)
        yield server
        tasks.cancel_scope.cancel()


def both(first: str, second: str) -> str:
    return f"{first},{second.removeprefix('ipv4:')}"


@pytest.mark.parametrize("behaviour", [closes, resets, goes_away_before_settings, goes_away])
def test_the_next_address_is_tried_at_once_when_one_fails(
    loop: LoopName, engine: EngineName, behaviour: Bad, clock: ManualClock
) -> None:
    async def main() -> None:
        async with bad_server(behaviour) as bad, serving() as (_, good):
            for target in (both(bad.address, good), both(good, bad.address)):
                async with wire.Channel(target, config=wire.ChannelConfig(engine=engine)) as channel:
                    assert await ProbeStub(channel).unary(b"x") == b"x"

    run(main, loop=loop)


def test_a_silent_address_is_waited_for_a_quarter_of_a_second(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with raw_server() as bad, serving() as (_, good):
            config = wire.ChannelConfig(transport=IMPATIENT)
            async with wire.Channel(both(bad.address, good), config=config) as channel:
                call = ProbeStub(channel).unary(b"x")
                peer = await bad._arrived.receive()
                clock.advance(0.26)
                assert await call == b"x"
                await peer.closed()  # what lost the race is not kept

    run(main, loop=loop)


def test_all_addresses_that_failed_are_named() -> None:
    async def main() -> None:
        async with serving() as (_, first), serving() as (_, second):
            pass
        async with wire.Channel(both(first, second)) as channel:
            code, message = await status_of(ProbeStub(channel).unary(b""))
        assert code is StatusCode.UNAVAILABLE
        for address in (first, second):
            assert f"cannot connect to {address}: nothing listens there" in message

    run(main)


def test_connections_spread_over_the_addresses(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (one, first), serving() as (two, second):
            config = wire.ChannelConfig(connections=4, connect_stagger_s=60)  # however slow the machine is
            async with wire.Channel(both(first, second), config=config) as channel:
                stub = ProbeStub(channel)
                await stub.unary(b"")
                while len(one.connections) + len(two.connections) < 4:
                    await anyio.lowlevel.checkpoint()
                assert (len(one.connections), len(two.connections)) == (2, 2)

    run(main, loop=loop)


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "ClientStream", "Bidi"])
def test_calls_survive_a_goaway_that_meets_their_headers(loop: LoopName, engine: EngineName, method: str) -> None:
    async def main() -> None:
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=wire.ChannelConfig(engine=engine, transport=IMPATIENT)) as channel,
        ):
            call = start(ProbeStub(channel), method)
            for _ in range(3):
                stopping = await server.accept()
                await stopping.answer(1)
                await stopping.send(frames.goaway(0))
            peer = await server.accept()
            assert (await peer.answer(1)).data == b"\0\0\0\0\1x"
            await reply(peer, 1, b"served")
            assert (await call if method in {"Unary", "ClientStream"} else (await collect(call))[0]) == b"served"

    run(main, loop=loop)


def test_a_client_that_pings_too_often_pings_half_as_often() -> None:
    """gRPC proposal A8."""

    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT, keepalive=wire.KeepaliveConfig(time_s=10))
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            for expected_s in (20, 40):
                call = ProbeStub(channel).unary(b"")
                peer = await server.accept()
                await peer.answer(1)
                await peer.send(frames.goaway(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings"))
                await peer.stream.aclose()
                assert (await status_of(call))[0] is StatusCode.UNAVAILABLE
                assert channel.pool.keepalive.time_s == expected_s

    run(main)


def test_a_server_that_requires_a_certificate_is_named_as_the_reason(
    loop: LoopName, certificates: Certificates
) -> None:
    async def main() -> None:
        tls = wire.ServerTls(certificates.server, certificates.server_key, client_ca=certificates.ca)
        async with (
            serving(Probe(), tls=tls) as (_, address),
            wire.Channel(address, tls=wire.ClientTls(certificates.ca)) as channel,
        ):
            code, message = await status_of(ProbeStub(channel).unary(b""))
        assert code is StatusCode.UNAVAILABLE
        assert "the server requires a client certificate" in message

    run(main, loop=loop)


def test_streams_opened_in_unwritten_frames_are_found() -> None:
    written = frames.data(7, b"x") + frames.headers(9, frames.RESPONSE) + frames.data(9, b"") + frames.settings()
    assert _streams_opened_in(written + frames.headers(11, frames.RESPONSE)[:12]) == {9, 11}
    assert _streams_opened_in(b"") == set()
