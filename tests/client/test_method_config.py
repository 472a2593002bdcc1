"""What a service config says of a method's calls, beside retries and hedging."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import wire
from tests.clocks import ManualClock
from tests.peers import IMPATIENT, raw_server, reply
from tests.support import Probe, ProbeStub, collect, run, serving, status_of
from wire import StatusCode
from wire.transport.runtime import LoopName


def config_of(method: str = "", **fields: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{"service": "probe.v1.Probe", "method": method}], **fields}]}


@pytest.mark.parametrize(("asked_s", "sent"), [(None, b"5000000u"), (10, b"5000000u"), (1, b"1000000u")])
def test_the_shorter_timeout_counts(clock: ManualClock, asked_s: float | None, sent: bytes) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config, service_config=config_of(timeout="5s")) as channel,
        ):
            channel.connect()
            peer = await server.accept()
            await channel.ready()
            call = ProbeStub(channel).unary(b"", timeout=asked_s)
            assert dict((await peer.answer(1)).headers or ())[b"grpc-timeout"] == sent
            clock.advance(5.1)
            assert (await status_of(call))[0] is StatusCode.DEADLINE_EXCEEDED

    run(main)


def test_messages_are_limited_by_the_smaller_limit(loop: LoopName) -> None:
    async def main() -> None:
        limits = config_of("Unary", maxRequestMessageBytes=10, maxResponseMessageBytes=5)
        async with serving() as (_, address), wire.Channel(address, service_config=limits) as channel:
            stub = ProbeStub(channel)
            assert await stub.unary(bytes(5)) == bytes(5)
            code, message = await status_of(stub.unary(bytes(6)))
            assert (code, "limit of 5" in message) == (StatusCode.RESOURCE_EXHAUSTED, True)
            with pytest.raises(wire.RpcError, match="over the channel's limit of 10") as caught:
                await stub.unary(bytes(11))
            assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(wire.RpcError, match="limit of 10"):
                await stub.unary(bytes(11), compression="identity")
            assert len(await collect(stub.server_stream(bytes(100)))) == 100  # another method

    run(main, loop=loop)


@pytest.mark.parametrize(("says", "asks", "waits"), [(True, None, True), (True, False, False), (None, None, False)])
def test_waiting_for_readiness(clock: ManualClock, says: bool | None, asks: bool | None, waits: bool) -> None:
    async def main() -> None:
        config = config_of() if says is None else config_of(waitForReady=says)
        async with wire.Channel("unix:/nowhere/at/all", service_config=config) as channel:
            first = ProbeStub(channel).unary(b"", wait_for_ready=False)
            assert (await status_of(first))[0] is StatusCode.UNAVAILABLE
            call = ProbeStub(channel).unary(b"", wait_for_ready=asks)
            assert (call.code is None) is waits
            call.cancel()

    run(main)


def test_other_methods_have_the_channel_itself() -> None:
    channel = wire.Channel("127.0.0.1:1", service_config=config_of("Unary", timeout="1s"))
    stub: Any = ProbeStub(channel)
    assert stub.bidi.__self__._channel is channel
    assert stub.unary.__self__._channel is not channel
    stub = ProbeStub(wire.Channel("127.0.0.1:1"))
    assert stub.unary.__self__._channel is stub.channel


def test_calls_by_path_are_configured_too(clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(transport=IMPATIENT)
        async with (
            raw_server() as server,
            wire.Channel(server.address, config=config, service_config=config_of(timeout="5s")) as channel,
        ):
            call = channel.unary_unary("/probe.v1.Probe/Unary", bytes, bytes)(b"")
            peer = await server.accept()
            assert b"grpc-timeout" in dict((await peer.answer(1)).headers or ())
            await reply(peer, 1, b"")
            await call

    run(main)


def test_balancing_and_health_are_taken_from_it() -> None:
    service_config = '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "s"}}'
    config = wire.Channel("127.0.0.1:1", service_config=service_config).config
    assert (config.load_balancing, config.health_check_service) == ("round_robin", "s")
    config = wire.Channel("127.0.0.1:1", service_config={}).config
    assert config == wire.ChannelConfig()


def test_a_config_that_is_wrong_is_refused_at_once() -> None:
    with pytest.raises(wire.ConfigurationError, match=r"methodConfig\[0\]\.timeout is 5"):
        wire.Channel("127.0.0.1:1", service_config=config_of(timeout=5))


def test_fields_that_do_nothing_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        wire.Channel("127.0.0.1:1", service_config={"methodConfigs": []})
    assert [each.getMessage() for each in caplog.records] == [
        "the service config has fields that are not known and do nothing: methodConfigs"
    ]


def test_a_call_keeps_what_it_is_told_beside_the_config(loop: LoopName) -> None:
    seen: list[str | bytes | None] = []

    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        seen.append(context.metadata.get("token"))
        return request

    async def main() -> None:
        config = wire.ChannelConfig(credentials_in_clear=True)
        async with (
            serving(Probe(unary=unary)) as (_, address),
            wire.Channel(address, config=config, service_config=config_of(timeout="5s")) as channel,
        ):
            unary_method = ProbeStub(channel).unary
            call = unary_method(b"x", credentials=lambda call: {"token": "t"}, compression="gzip")
            assert await call == b"x"
            assert 0 < (call.time_remaining() or 0) <= 5

    run(main, loop=loop)
    assert seen == ["t"]
