"""Channels whose addresses come from a function of their user's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOCAL, Probe, ProbeStub, run, status_of
from wire.transport.runtime import LoopName


def _named(name: bytes) -> Probe:
    return Probe(unary=lambda request, context: name)


def test_calls_go_round_the_addresses_that_the_function_gives_and_to_those_that_it_gives_later(loop: LoopName) -> None:
    asked: list[str] = []
    addresses: list[str] = []

    async def find(target: str) -> Sequence[str]:
        asked.append(target)
        await anyio.lowlevel.checkpoint()
        return addresses

    async def main() -> None:
        config = wire.ChannelConfig(load_balancing="round_robin", resolve_min_interval_s=0, backoff_initial_s=0.01)
        async with AsyncExitStack() as exits:
            servers = [await exits.enter_async_context(wire.Server([_named(b"%d" % number)])) for number in range(3)]
            bound = [await server.listen("memory:") for server in servers]
            addresses[:] = bound[:2]
            channel = await exits.enter_async_context(wire.Channel("orders", config=config, resolver=find))
            assert "orders" in repr(channel)
            await _answer(channel, {b"0", b"1"})
            addresses[:] = bound[1:]
            await servers[0].stop()  # which has the function asked again
            await _answer(channel, {b"1", b"2"})
        assert set(asked) == {"orders"}

    run(main, loop=loop)


async def _answer(channel: wire.Channel, expected: set[bytes]) -> None:
    """Wait until exactly these servers answer."""
    stub = ProbeStub(channel)
    while {await stub.unary(b"", wait_for_ready=True) for _ in range(4)} != expected:
        await anyio.sleep(0.001)


def test_the_authority_is_the_name_and_tls_wants_to_know_whom_to_expect(certificates: Certificates) -> None:
    async def main() -> None:
        tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with wire.Server([Probe()], tls=tls) as server:
            address = await server.listen(LOCAL)
            trust = wire.ClientTls(certificates.ca, server_name="localhost")
            async with wire.Channel("orders", tls=trust, resolver=lambda target: [address]) as channel:
                assert await ProbeStub(channel).unary(b"x") == b"x"
                assert channel._preparation.authority == "orders"
        with pytest.raises(wire.ConfigurationError, match=r"ClientTls\.server_name must say"):
            wire.Channel("orders", tls=wire.ClientTls(certificates.ca), resolver=lambda target: [address])

    run(main)


def _raises(target: str) -> Any:
    raise KeyError(target)


@pytest.mark.parametrize(
    ("find", "sentence"),
    [
        (_raises, "its resolver failed: 'orders'"),
        (lambda target: [], "its resolver found no address"),
        (lambda target: ["nonsense"], 'its resolver failed: cannot use the address "nonsense"'),
        (lambda target: "127.0.0.1:1", "its resolver failed: it gave one text and not a sequence of addresses"),
        (lambda target: None, "its resolver failed: "),
    ],
)
def test_a_function_that_fails_is_why_there_is_no_connection(find: Any, sentence: str) -> None:
    async def main() -> None:
        async with wire.Channel("orders", resolver=find) as channel:
            code, text = await status_of(ProbeStub(channel).unary(b""))
            assert code is wire.StatusCode.UNAVAILABLE
            assert f"cannot connect to orders: {sentence}" in text

    run(main)


def test_a_function_that_does_not_answer_is_given_up() -> None:
    async def find(target: str) -> Sequence[str]:
        await anyio.sleep_forever()
        raise AssertionError

    async def main() -> None:
        config = wire.ChannelConfig(transport=wire.TransportConfig(connect_timeout_s=0.01))
        async with wire.Channel("orders", config=config, resolver=find) as channel:
            code, text = await status_of(ProbeStub(channel).unary(b""))
            assert (code, "its resolver did not answer" in text) == (wire.StatusCode.UNAVAILABLE, True)

    run(main)


def test_threads_ask_a_plain_function() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            address = await server.listen("memory:")

            def call() -> bytes:
                with wire.blocking.Channel("orders", resolver=lambda target: (address,)) as channel:
                    return ProbeStub(channel).unary(b"x")

            assert await anyio.to_thread.run_sync(call) == b"x"

    run(main)


def test_a_function_that_connects_has_no_name_to_resolve() -> None:
    with pytest.raises(wire.ConfigurationError, match="has no name for a resolver"):
        wire.Channel(lambda: None, resolver=lambda target: [])  # type: ignore[arg-type, return-value]
