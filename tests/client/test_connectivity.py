"""The state of a channel: what it is when, and waiting for another one."""

from __future__ import annotations

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.peers import IMPATIENT, raw_server, reply
from tests.support import Probe, ProbeStub, run, serving, status_of, turns
from wire import ConnectivityState, StatusCode
from wire.config import EngineName
from wire.transport.runtime import LoopName


def state_of(channel: wire.Channel) -> ConnectivityState:
    """A function, so that mypy does not take one state for all that follow."""
    return channel.state


def test_the_states_of_a_channel(loop: LoopName, engine: EngineName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server:
            channel = wire.Channel(server.address, config=config)
            assert state_of(channel) is ConnectivityState.IDLE
            async with channel:
                assert state_of(channel) is ConnectivityState.IDLE
                call = ProbeStub(channel).unary(b"")
                assert state_of(channel) is ConnectivityState.CONNECTING
                peer = await server.accept()
                assert await channel.state_changed(ConnectivityState.CONNECTING) is ConnectivityState.READY
                await peer.answer(1)
                await reply(peer, 1, b"")
                await call
                await peer.stream.aclose()
                assert await channel.state_changed(ConnectivityState.READY) is ConnectivityState.IDLE
            assert state_of(channel) is ConnectivityState.SHUTDOWN
            assert await channel.state_changed(ConnectivityState.READY) is ConnectivityState.SHUTDOWN

    run(main, loop=loop)


def test_a_channel_that_cannot_connect_is_in_transient_failure(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with wire.Channel(address) as channel:
            channel.connect()
            assert state_of(channel) is ConnectivityState.CONNECTING
            assert await channel.state_changed(ConnectivityState.CONNECTING) is ConnectivityState.TRANSIENT_FAILURE
            clock.advance(2)
            assert state_of(channel) is ConnectivityState.IDLE  # nobody wants a connection

    run(main, loop=loop)


def test_the_states_come_in_order_and_end(loop: LoopName) -> None:
    seen: list[ConnectivityState] = []

    async def watch(channel: wire.Channel) -> None:
        async for state in channel.states():
            seen.append(state)

    async def main() -> None:
        async with serving() as (_, address), anyio.create_task_group() as tasks, wire.Channel(address) as channel:
            tasks.start_soon(watch, channel)
            await turns()
            await channel.ready(5)
            while len(seen) < 3:
                await anyio.lowlevel.checkpoint()

    run(main, loop=loop)
    assert seen == [
        ConnectivityState.IDLE,
        ConnectivityState.CONNECTING,
        ConnectivityState.READY,
        ConnectivityState.SHUTDOWN,
    ]


def test_ready_waits_for_a_server_that_comes_later(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        done = anyio.Event()

        async def wait(channel: wire.Channel) -> None:
            await channel.ready()
            done.set()

        async with wire.Channel(address) as channel, anyio.create_task_group() as tasks:
            tasks.start_soon(wait, channel)
            while state_of(channel) is not ConnectivityState.TRANSIENT_FAILURE:
                await anyio.lowlevel.checkpoint()
            async with wire.Server([Probe()]) as server:
                await server.listen(address)
                await turns()
                assert not done.is_set()
                clock.advance(1.3)
                await done.wait()
                assert state_of(channel) is ConnectivityState.READY
                await server.stop(0)

    run(main, loop=loop)


def test_ready_says_why_it_was_not_in_time(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        failures: list[wire.ConnectError] = []

        async def wait(channel: wire.Channel) -> None:
            try:
                await channel.ready(5)
            except wire.ConnectError as error:
                failures.append(error)

        async with wire.Channel(address) as channel:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait, channel)
                while state_of(channel) is not ConnectivityState.TRANSIENT_FAILURE:
                    await anyio.lowlevel.checkpoint()
                clock.advance(5.1)
            assert "was not ready within 5 s: cannot connect to" in str(failures[0])
            assert address in str(failures[0])
            assert (await status_of(ProbeStub(channel).unary(b"")))[0] is StatusCode.UNAVAILABLE

    run(main, loop=loop)


def test_ready_ends_when_the_channel_is_closed(loop: LoopName) -> None:
    async def main() -> None:
        failures: list[wire.UsageError] = []

        async def wait(channel: wire.Channel) -> None:
            try:
                await channel.ready()
            except wire.UsageError as error:
                failures.append(error)

        async with raw_server() as server, anyio.create_task_group() as tasks:
            channel = wire.Channel(server.address, config=wire.ChannelConfig(transport=IMPATIENT))
            tasks.start_soon(wait, channel)
            await server._arrived.receive()
            await channel.close()
        assert str(failures[0]) == "the channel was closed"

    run(main, loop=loop)


@pytest.mark.parametrize("state", ConnectivityState)
def test_states_print_as_their_names(state: ConnectivityState) -> None:
    assert str(state) == state.name
