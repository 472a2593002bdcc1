"""Several addresses at once, more connections where streams run out, health, and addresses that are left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import IMPATIENT, RawPeer, RawServer, raw_server, reply
from tests.support import Probe, ProbeStub, run, serving, status_of, turns
from wire import ConnectivityState, StatusCode
from wire.client.health import decode_response, encode_request
from wire.client.subchannel import SURPLUS_S
from wire.config import EngineName
from wire.errors import DecodeError
from wire.http2.codes import FrameType, Setting
from wire.standard import Health
from wire.transport.runtime import LoopName


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await anyio.lowlevel.checkpoint()


def target(*addresses: str) -> str:
    return "ipv4:" + ",".join(address.removeprefix("ipv4:") for address in addresses)


def round_robin(**config: Any) -> wire.ChannelConfig:
    return wire.ChannelConfig(load_balancing="round_robin", transport=IMPATIENT, **config)


class Named(Probe):
    """Answers with a name, or fails."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.calls = 0
        self.code: StatusCode | None = None
        super().__init__(unary=self._unary)

    def _unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.calls += 1
        if self.code is not None:
            raise wire.RpcError(self.code)
        return self.name


@asynccontextmanager
async def three() -> AsyncIterator[tuple[list[Named], str]]:
    probes = [Named(name) for name in (b"a", b"b", b"c")]
    async with serving(probes[0]) as (_, a), serving(probes[1]) as (_, b), serving(probes[2]) as (_, c):
        yield probes, target(a, b, c)


# round_robin.


def test_calls_go_round_the_addresses(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        async with three() as (probes, address), wire.Channel(address, config=round_robin(engine=engine)) as channel:
            stub = ProbeStub(channel)
            await stub.unary(b"")
            await until(lambda: len(channel.pool._ready) == 3)
            before = [probe.calls for probe in probes]
            for _ in range(30):
                await stub.unary(b"")
            assert [probe.calls - count for probe, count in zip(probes, before, strict=True)] == [10, 10, 10]

    run(main, loop=loop)


def test_connections_are_shared_among_the_addresses(loop: LoopName) -> None:
    async def main() -> None:
        config = round_robin(connections=4)
        async with (
            serving() as (one, first),
            serving() as (two, second),
            wire.Channel(target(first, second), config=config) as channel,
        ):
            await ProbeStub(channel).unary(b"")
            await until(lambda: len(channel.pool._ready) == 4)
            assert (len(one.connections), len(two.connections)) == (2, 2)

    run(main, loop=loop)


def test_an_address_that_refuses_is_passed_over_and_tried_again(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (_, gone):
            pass
        async with serving() as (_, good), wire.Channel(target(gone, good), config=round_robin()) as channel:
            stub = ProbeStub(channel)
            for _ in range(5):
                assert await stub.unary(b"x") == b"x"
            assert channel.state is ConnectivityState.READY
            async with wire.Server([Named(b"back")]) as server:
                await server.listen(gone)
                clock.advance(1.3)
                await until(lambda: len(channel.pool._ready) == 2)
                assert {await stub.unary(b"x") for _ in range(2)} == {b"x", b"back"}
                await server.stop(0)

    run(main, loop=loop)


def test_a_lost_address_is_connected_again_unasked(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with (
            raw_server() as server,
            serving() as (_, good),
            wire.Channel(target(server.address, good), config=round_robin()) as channel,
        ):
            await channel.ready()
            for _ in range(2):
                peer = await server.accept()
                await peer.stream.aclose()
            await server.accept()

    run(main, loop=loop)


def test_all_addresses_that_fail_are_named(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, first), serving() as (_, second):
            pass
        async with wire.Channel(target(first, second), config=round_robin()) as channel:
            code, message = await status_of(ProbeStub(channel).unary(b""))
        assert code is StatusCode.UNAVAILABLE
        for address in (first, second):
            assert f"cannot connect to {address}" in message

    run(main, loop=loop)


def test_a_server_that_stops_costs_no_call(loop: LoopName) -> None:
    async def main() -> None:
        async with three() as (_, address), wire.Server([Named(b"d")]) as leaving:
            addresses = target(address, await leaving.listen("127.0.0.1:0"))
            async with wire.Channel(addresses, config=round_robin()) as channel:
                await until_all_ready(channel, 4)
                calls = [ProbeStub(channel).unary(b"") for _ in range(40)]
                await leaving.stop()
                calls += [ProbeStub(channel).unary(b"") for _ in range(40)]
                for call in calls:
                    await call

    run(main, loop=loop)


async def until_all_ready(channel: wire.Channel, count: int) -> None:
    channel.connect()
    await until(lambda: len(channel.pool._ready) == count)


# Further connections where a server's limit of streams makes calls wait.


async def limited(server: RawServer, limit: int = 1) -> RawPeer:
    return await server.accept({Setting.MAX_CONCURRENT_STREAMS: limit})


def test_another_connection_is_opened_when_streams_run_out(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, max_connections=3)

        async def serve(peer: RawPeer) -> None:
            for stream_id in count(1, 2):
                await peer.answer(stream_id)
                await reply(peer, stream_id, b"")

        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config) as channel,
            anyio.create_task_group() as tasks,
        ):
            calls = [ProbeStub(channel).unary(b"%d" % number) for number in range(5)]
            peers = [await limited(server) for _ in range(3)]
            for peer in peers:
                await peer.answer(1)
            await turns()
            assert (len(channel.pool._all), len(channel.pool.queue)) == (3, 2)
            for peer in peers:
                tasks.start_soon(serve, peer)
            for call in calls:
                await call
            assert len(channel.pool._all) == 3
            tasks.cancel_scope.cancel()

    run(main, loop=loop)


def test_connections_that_are_no_longer_needed_are_closed(engine: EngineName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            calls = [ProbeStub(channel).unary(b"") for _ in range(2)]
            peers = [await limited(server) for _ in range(2)]
            for peer in peers:
                await peer.answer(1)
                await reply(peer, 1, b"")
            for call in calls:
                await call
            clock.advance(SURPLUS_S + 1)
            await turns()
            assert len(channel.pool._ready) == 2
            clock.advance(SURPLUS_S + 1)
            await until(lambda: len(channel.pool._all) == 1)
            clock.advance(SURPLUS_S + 1)
            assert len(channel.pool._ready) == 1

    run(main)


# Health.

NAME = "probe.v1.Probe"


def healthy(**config: Any) -> wire.ChannelConfig:
    return wire.ChannelConfig(health_check_service=NAME, transport=IMPATIENT, **config)


def test_calls_go_to_servers_that_are_serving(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        first_health, second_health = Health(), Health()
        probes = Named(b"a"), Named(b"b")
        async with serving(probes[0], first_health) as (_, first), serving(probes[1], second_health) as (_, second):
            config = healthy(engine=engine, load_balancing="round_robin")
            async with wire.Channel(target(first, second), config=config) as channel:
                stub = ProbeStub(channel)
                await until_all_ready(channel, 2)
                assert {await stub.unary(b"") for _ in range(2)} == {b"a", b"b"}
                first_health.set_serving(NAME, False)
                await until(lambda: len(channel.pool._ready) == 1)
                assert {await stub.unary(b"") for _ in range(4)} == {b"b"}
                second_health.set_serving(NAME, False)
                await until(lambda: channel.state is ConnectivityState.TRANSIENT_FAILURE)
                code, message = await status_of(stub.unary(b""))
                assert code is StatusCode.UNAVAILABLE
                assert f'{first} says that "{NAME}" is NOT_SERVING' in message
                first_health.set_serving(NAME, True)
                assert await stub.unary(b"", wait_for_ready=True) == b"a"

    run(main, loop=loop)


def test_a_server_without_a_health_service_is_healthy(loop: LoopName, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address, config=healthy()) as channel:
            assert await ProbeStub(channel).unary(b"x") == b"x"
        assert [f"{address} has no health service: it is taken as healthy"] == [
            each.getMessage() for each in caplog.records
        ]

    run(main, loop=loop)


def test_a_watch_that_breaks_is_begun_again(clock: ManualClock) -> None:
    async def main() -> None:
        async with raw_server() as server, wire.Channel(server.address, config=healthy()) as channel:
            call = ProbeStub(channel).unary(b"", wait_for_ready=True)
            peer = await server.accept()
            watched = await peer.until(FrameType.DATA, 1)
            assert watched.payload[5:] == encode_request(NAME)
            unavailable = (*frames.RESPONSE, (b"grpc-status", b"14"))
            await peer.send(frames.headers(1, unavailable, end=True))
            await until(lambda: channel.state is ConnectivityState.TRANSIENT_FAILURE)
            clock.advance(1.3)
            await peer.until(FrameType.DATA, 3)
            await peer.send(frames.headers(3, frames.RESPONSE), frames.data(3, b"\0\0\0\0\2\x08\x01"))
            await peer.until(FrameType.HEADERS, 5)
            await peer.answer(5)
            await reply(peer, 5, b"x")
            assert await call == b"x"

    run(main)


def test_a_watch_does_not_hold_a_connection_open(loop: LoopName) -> None:
    async def main() -> None:
        async with raw_server() as server:
            channel = wire.Channel(server.address, config=healthy())
            call = ProbeStub(channel).unary(b"")
            peer = await server.accept()
            await peer.until(FrameType.DATA, 1)
            await peer.send(frames.headers(1, frames.RESPONSE), frames.data(1, b"\0\0\0\0\2\x08\x01"))
            await peer.answer(3)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(channel.close, 1000)
                await peer.until(FrameType.GOAWAY)
                await reply(peer, 3, b"")
                await call
                await peer.closed()

    run(main, loop=loop)


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"", 0), (b"\x08\x01", 1), (b"\x08\x02", 2), (b"\x12\x01x\x08\x01", 1), (b"\x1d1234\x08\x01", 1)],
)
def test_health_responses_are_read(data: bytes, status: int) -> None:
    assert decode_response(data) == status


@pytest.mark.parametrize("data", [b"\x08", b"\x08\x80", b"\x12\x05x", b"\x0b", b"\x19\0", b"\xff" * 11])
def test_health_responses_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_response(data)


@pytest.mark.parametrize("name", ["", "a.B", "x" * 300])
def test_health_requests_are_those_of_the_generated_class(name: str) -> None:
    from wire.standard.generated.grpc.health.v1 import HealthCheckRequest

    assert wire.codec_for(HealthCheckRequest).decode(encode_request(name)) == HealthCheckRequest(service=name)


# Outliers.

OUTLIERS = wire.OutlierConfig(consecutive_failures=3, ejection_s=30)


def test_an_address_whose_calls_fail_is_left_out_for_a_while(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with (
            three() as (probes, address),
            wire.Channel(address, config=round_robin(outliers=OUTLIERS)) as channel,
        ):
            stub = ProbeStub(channel)
            await until_all_ready(channel, 3)
            probes[0].code = StatusCode.INTERNAL
            outcomes = [(await status_of(stub.unary(b"")))[0] for _ in range(12)]
            assert outcomes.count(StatusCode.INTERNAL) == 3
            await turns()
            assert len(channel.pool._ready) == 2
            for _ in range(10):
                await stub.unary(b"")
            probes[1].code = StatusCode.INTERNAL  # one of three is out, and half is the most
            for _ in range(20):
                await status_of(stub.unary(b""))
            assert len(channel.pool._ready) == 2
            probes[0].code = probes[1].code = None
            clock.advance(30.1)
            assert len(channel.pool._ready) == 3
            assert {await stub.unary(b"") for _ in range(3)} == {b"a", b"b", b"c"}

    run(main, loop=loop)


@pytest.mark.parametrize("code", [StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.RESOURCE_EXHAUSTED])
def test_answers_of_an_application_that_works_leave_nobody_out(code: StatusCode) -> None:
    async def main() -> None:
        async with (
            three() as (probes, address),
            wire.Channel(address, config=round_robin(outliers=OUTLIERS)) as channel,
        ):
            await until_all_ready(channel, 3)
            probes[0].code = code
            for _ in range(30):
                await status_of(ProbeStub(channel).unary(b""))
            await turns()
            assert len(channel.pool._ready) == 3

    run(main)


def test_an_address_that_hangs_is_left_out(clock: ManualClock) -> None:
    async def main() -> None:
        async with raw_server() as hangs, serving() as (_, good):
            config = round_robin(outliers=OUTLIERS)
            async with wire.Channel(target(hangs.address, good), config=config) as channel:
                stub = ProbeStub(channel)
                channel.connect()
                await hangs.accept()
                await until_all_ready(channel, 2)
                calls = [stub.unary(b"", timeout=1) for _ in range(6)]
                await turns(100)
                clock.advance(1.1)
                codes = [(await status_of(call))[0] for call in calls]
                assert codes.count(StatusCode.DEADLINE_EXCEEDED) == 3
                await turns()
                assert len(channel.pool._ready) == 1
                for _ in range(5):
                    await stub.unary(b"", timeout=1)

    run(main)
