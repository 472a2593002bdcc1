"""Names whose addresses change while a channel uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import wire
from tests.client.names import TARGET, Names, names
from tests.clocks import ManualClock
from tests.peers import IMPATIENT, raw_server, reply
from tests.support import ProbeStub, run, serving, status_of, turns
from wire import ConnectivityState, StatusCode
from wire.config import LoadBalancing
from wire.transport.runtime import LoopName

__all__ = ["names"]


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("load_balancing", ["pick_first", "round_robin"])
def test_a_name_is_looked_up_again_when_its_server_is_gone(
    loop: LoopName, names: Names, clock: ManualClock, load_balancing: LoadBalancing
) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(load_balancing=load_balancing)
        async with serving() as (second, address), wire.Channel(TARGET, config=config) as channel:
            stub = ProbeStub(channel)
            async with serving() as (_, gone):
                names.addresses = [gone]
                assert await stub.unary(b"1") == b"1"
                assert names.looked_up == 1
                names.addresses = [address]
            await until(lambda: not channel.pool._all)
            call = stub.unary(b"2", wait_for_ready=True, timeout=1000)
            while call.code is None:
                clock.advance(0.1)
                await anyio.lowlevel.checkpoint()
            assert await call == b"2"
            assert names.looked_up >= 2
            assert len(second.connections) == 1

    run(main, loop=loop)


def test_a_name_is_looked_up_again_by_time_and_new_servers_are_used(names: Names, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(load_balancing="round_robin", resolve_interval_s=60)
        async with serving() as (one, first), serving() as (two, second), serving() as (three, third):
            names.addresses = [first, second]
            async with wire.Channel(TARGET, config=config) as channel:
                await ProbeStub(channel).unary(b"")
                await until(lambda: len(channel.pool._ready) == 2)
                names.addresses = [second, third]
                clock.advance(59)
                await turns()
                assert names.looked_up == 1
                clock.advance(1.5)  # and not 2: a second after that look-up a lost connection would bring about another
                await until(lambda: three.connections and len(channel.pool._ready) == 2)
                assert names.looked_up == 2
                await until(lambda: not one.connections)
                assert len(two.connections) == 1
                await ProbeStub(channel).unary(b"")

    run(main)


def test_calls_on_an_address_that_is_gone_from_the_name_go_on(names: Names, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT, resolve_interval_s=60)
        async with raw_server() as old, raw_server() as new:
            names.addresses = [old.address]
            async with wire.Channel(TARGET, config=config) as channel:
                call = ProbeStub(channel).unary(b"old")
                peer = await old.accept()
                await peer.answer(1)
                names.addresses = [new.address]
                clock.advance(61)
                await until(lambda: not channel.pool._ready)
                other = ProbeStub(channel).unary(b"new")
                new_peer = await new.accept()
                await new_peer.answer(1)
                for each in (peer, new_peer):
                    await reply(each, 1, b"")
                await call
                await other
                await peer.closed()

    run(main)


def test_a_name_that_cannot_be_looked_up_is_unavailable_and_tried_again(
    loop: LoopName, names: Names, clock: ManualClock
) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(TARGET) as channel:
            stub = ProbeStub(channel)
            patient = stub.unary(b"x", wait_for_ready=True)
            assert await status_of(stub.unary(b"")) == (StatusCode.UNAVAILABLE, "there is no such name")
            assert channel.state is ConnectivityState.TRANSIENT_FAILURE
            assert await status_of(stub.unary(b"")) == (StatusCode.UNAVAILABLE, "there is no such name")
            assert names.looked_up == 1
            names.addresses = [address]
            clock.advance(1.3)
            assert await patient == b"x"

    run(main, loop=loop)


def test_a_look_up_that_fails_leaves_what_was_found_before(names: Names, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(resolve_interval_s=60)
        async with serving() as (_, address), wire.Channel(TARGET, config=config) as channel:
            names.addresses = [address]
            await ProbeStub(channel).unary(b"")
            names.addresses = []
            clock.advance(60.1)  # the pause behind the failure is 0.8 s or more
            await until(lambda: names.looked_up == 2)
            await turns()
            assert await ProbeStub(channel).unary(b"x") == b"x"
            names.addresses = [address]
            clock.advance(1.3)
            await until(lambda: names.looked_up == 3)

    run(main)


def test_look_ups_keep_their_distance(names: Names, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT, resolve_min_interval_s=10, resolve_interval_s=None)
        async with raw_server() as server, wire.Channel(TARGET, config=config) as channel:
            names.addresses = [server.address]
            for _ in range(3):
                call = ProbeStub(channel).unary(b"")
                peer = await server.accept()
                await peer.answer(1)
                await peer.stream.aclose()
                await status_of(call)
                assert names.looked_up == 1
            clock.advance(10.1)
            await until(lambda: names.looked_up == 2)
            clock.advance(100)
            await turns()
            assert names.looked_up == 2

    run(main)


def test_closing_while_a_name_is_looked_up(loop: LoopName, names: Names) -> None:
    async def main() -> None:
        names.held = anyio.Event()
        async with wire.Channel(TARGET) as channel:
            call = ProbeStub(channel).unary(b"")
            await until(lambda: names.looked_up)
            assert channel.state is ConnectivityState.CONNECTING
        assert call.code is StatusCode.CANCELLED

    run(main, loop=loop)


def test_closing_when_a_look_up_has_just_failed(loop: LoopName, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked, answered = anyio.Event(), anyio.Event()

        async def find(name: str) -> list[str]:
            asked.set()
            await answered.wait()
            raise OSError

        async with wire.Channel("its:name", resolver=find) as channel:
            channel.connect()
            await asked.wait()
            answered.set()
        assert channel.state is ConnectivityState.SHUTDOWN

    run(main, loop=loop)
    assert caplog.records == []


def test_literal_addresses_are_not_looked_up_again(clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address) as channel:
            await ProbeStub(channel).unary(b"")
            assert not [each for each in clock.pending if each == pytest.approx(300)]

    run(main)
