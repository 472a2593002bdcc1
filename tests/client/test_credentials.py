"""Call credentials: whose metadata goes where, what waits for it, and where it may not go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.clocks import ManualClock
from tests.leftovers import gone
from tests.peers import IMPATIENT, raw_server, reply
from tests.support import Probe, ProbeStub, end_of, run, serving, short_directory, start, status_of, turns
from wire import StatusCode
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]
IN_CLEAR = wire.ChannelConfig(credentials_in_clear=True, transport=IMPATIENT)


class Keeper(Probe):
    """Keeps the metadata of the calls that it served."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[str, str | bytes]]] = []
        super().__init__(unary=self._unary)

    def _unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.seen.append([pair for pair in context.metadata if pair[0] != "user-agent"])
        return request


def plain(call: wire.CallContext) -> wire.MetadataInput:
    return {"plain": call.method}


async def asynchronous(call: wire.CallContext) -> wire.MetadataInput:
    await anyio.lowlevel.checkpoint()
    return {"asynchronous": call.service_url}


def test_metadata_of_the_channels_and_the_calls_credentials_is_sent(loop: LoopName) -> None:
    keeper = Keeper()

    async def main() -> None:
        async with short_directory() as directory, wire.Server([keeper]) as server:
            address = await server.listen(f"unix:{directory}/s")
            async with wire.Channel(address, credentials=plain) as channel:
                stub = ProbeStub(channel)
                await stub.unary(b"", metadata={"mine": "1"})
                await stub.unary(b"", credentials=asynchronous, timeout=5)
            async with wire.Channel(address, credentials=asynchronous) as channel:
                await ProbeStub(channel).unary(b"", credentials=plain)

    run(main, loop=loop)
    path, url = ("plain", "/probe.v1.Probe/Unary"), ("asynchronous", "https://localhost/probe.v1.Probe")
    assert keeper.seen == [[("mine", "1"), path], [path, url], [url, path]]


def test_credentials_travel_through_tls(loop: LoopName, certificates: Certificates) -> None:
    keeper = Keeper()

    async def main() -> None:
        tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with serving(keeper, tls=tls) as (_, address):
            mine = wire.ClientTls(certificates.ca)
            config = wire.ChannelConfig(authority="localhost:443")
            async with wire.Channel(address, tls=mine, config=config, credentials=asynchronous) as channel:
                await ProbeStub(channel).unary(b"")

    run(main, loop=loop)
    assert keeper.seen == [[("asynchronous", "https://localhost/probe.v1.Probe")]]


def test_credentials_do_not_travel_in_the_clear(loop: LoopName) -> None:
    async def main() -> None:
        with pytest.raises(wire.ConfigurationError, match="in the clear: use TLS, or allow it by"):
            wire.Channel("127.0.0.1:1", credentials=plain)
        async with wire.Channel("127.0.0.1:1") as channel:
            for method in METHODS:
                with pytest.raises(wire.ConfigurationError, match="in the clear"):
                    start(ProbeStub(channel), method, credentials=plain)

    run(main, loop=loop)


def _raise(error: BaseException) -> Callable[[wire.CallContext], wire.MetadataInput]:
    def credentials(call: wire.CallContext) -> wire.MetadataInput:
        raise error

    return credentials


def _raise_later(error: BaseException) -> Callable[[wire.CallContext], Awaitable[wire.MetadataInput]]:
    async def credentials(call: wire.CallContext) -> wire.MetadataInput:
        await anyio.lowlevel.checkpoint()
        raise error

    return credentials


@pytest.mark.parametrize("raising", [_raise, _raise_later])
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("no token"), StatusCode.UNAVAILABLE, "the call credentials failed: ValueError: no token"),
        (
            wire.RpcError(StatusCode.UNAUTHENTICATED, "log in"),
            StatusCode.UNAUTHENTICATED,
            "the call credentials failed: log in",
        ),
        (wire.RpcError(StatusCode.NOT_FOUND), StatusCode.INTERNAL, "the call credentials failed"),
    ],
)
def test_credentials_that_fail_end_the_call(
    loop: LoopName, raising: Callable[[Exception], Any], error: Exception, code: StatusCode, text: str
) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address, config=IN_CLEAR) as channel:
            for method in METHODS:
                call = start(ProbeStub(channel), method, credentials=raising(error))
                assert await end_of(call, method) == (code, text)
            assert await ProbeStub(channel).unary(b"x") == b"x"

    run(main, loop=loop)


def test_metadata_that_cannot_travel_is_refused(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address, config=IN_CLEAR) as channel:
            code, text = await status_of(ProbeStub(channel).unary(b"", credentials=lambda _: {"Bad Key": ""}))
        assert code is StatusCode.INTERNAL
        assert "metadata that cannot be sent" in text

    run(main, loop=loop)


@pytest.mark.parametrize("end", ["deadline", "cancel", "close", "abandon"])
def test_a_call_that_waits_for_credentials_may_end(loop: LoopName, clock: ManualClock, end: str) -> None:
    async def main() -> None:
        waits, given_up = anyio.Event(), anyio.Event()

        async def slow(call: wire.CallContext) -> wire.MetadataInput:
            waits.set()
            try:
                await anyio.sleep_forever()
            finally:
                given_up.set()
            return ()

        async with serving() as (_, address), wire.Channel(address, config=IN_CLEAR) as channel:
            call: Any = ProbeStub(channel).unary(b"", credentials=slow, timeout=5)
            await waits.wait()
            if end == "deadline":
                clock.advance(5.1)
                assert (await status_of(call))[0] is StatusCode.DEADLINE_EXCEEDED
            elif end == "cancel":
                call.cancel()
            elif end == "close":
                await channel.close()
                assert call.code is StatusCode.CANCELLED
            else:
                with pytest.warns(ResourceWarning, match="abandoned"), gone():
                    del call
            await given_up.wait()

    run(main, loop=loop)


def test_the_wait_for_credentials_counts_for_the_timeout(clock: ManualClock) -> None:
    async def main() -> None:
        asked, go = anyio.Event(), anyio.Event()

        async def slow(call: wire.CallContext) -> wire.MetadataInput:
            asked.set()
            await go.wait()
            return ()

        async with raw_server() as server, wire.Channel(server.address, config=IN_CLEAR) as channel:
            call = ProbeStub(channel).unary(b"", credentials=slow, timeout=5)
            await asked.wait()
            clock.advance(2)
            go.set()
            peer = await server.accept()
            answer = await peer.answer(1)
            assert dict(answer.headers or ())[b"grpc-timeout"] == b"3000000u"
            await reply(peer, 1, b"")
            await call

    run(main)


def test_the_grace_of_a_close_waits_for_credentials(loop: LoopName) -> None:
    async def main() -> None:
        asked, go = anyio.Event(), anyio.Event()

        async def slow(call: wire.CallContext) -> wire.MetadataInput:
            asked.set()
            await go.wait()
            return ()

        async with serving() as (_, address), anyio.create_task_group() as tasks:
            channel = wire.Channel(address, config=IN_CLEAR)
            call = ProbeStub(channel).unary(b"x", credentials=slow)
            await asked.wait()
            tasks.start_soon(channel.close, 1000)
            await turns()
            assert (await status_of(ProbeStub(channel).unary(b"")))[0] is StatusCode.CANCELLED
            go.set()
            assert await call == b"x"

    run(main, loop=loop)
