"""`memory:` addresses beyond the contract that `test_contract` holds: names, other threads, ends, whole servers."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOOPS, Probe, ProbeStub, collect, run, status_of
from tests.transport.harness import Recorder, TransportKind, Transports, quick, run_loop, run_transports
from wire.testing import blocking_channel_for, channel_for
from wire.transport import sockets
from wire.transport.address import MemoryAddress
from wire.transport.contract import Runtime
from wire.transport.runtime import LoopName, start_runtime

KIND = TransportKind("asyncio", "memory", tls=False)
NAME = MemoryAddress("name")


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was asked for")

    for name in ("BoundSocket", "new_socket", "tune", "peer_of"):
        monkeypatch.setattr(sockets, name, refuse)


async def _all_kinds(channel: wire.Channel) -> None:
    stub = ProbeStub(channel)
    big = bytes(3_000_000)
    assert await stub.unary(big) == big
    assert await collect(stub.server_stream(b"ab")) == [b"a", b"b"]
    assert await stub.client_stream([b"1", b"2"]) == b"12"
    assert await collect(stub.bidi([big, b"y"])) == [big, b"y"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_service_is_called_in_every_way_without_a_socket(loop: LoopName, no_sockets: None) -> None:
    async def main() -> None:
        async with channel_for(Probe()) as channel:
            await _all_kinds(channel)

    run(main, loop=loop)


def test_threads_call_a_service_without_a_socket(no_sockets: None) -> None:
    with blocking_channel_for(Probe()) as channel:
        stub = ProbeStub(channel)
        big = bytes(3_000_000)
        assert stub.unary(big) == big
        assert list(stub.bidi([big, b"y"])) == [big, b"y"]
        with pytest.raises(wire.RpcError) as caught:
            stub.unary(bytes(5_000_000))
        assert caught.value.code is wire.StatusCode.RESOURCE_EXHAUSTED


def test_tls_goes_over_memory_as_over_sockets(certificates: Certificates) -> None:
    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with wire.Server([Probe(unary=_tls_version)], tls=server_tls) as server:
            address = await server.listen("memory:")
            async with wire.Channel(address, tls=wire.ClientTls(certificates.ca)) as channel:
                assert await ProbeStub(channel).unary(b"") == b"TLSv1.3 memory:"

    run(main)


def _tls_version(request: bytes, context: wire.ServerContext) -> bytes:
    return f"{context.peer.tls_version} {context.peer.address}".encode()


def test_a_name_is_one_servers_and_free_again_when_that_stops() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as first, wire.Server([Probe()]) as second:
            assert await first.listen("memory:name") == "memory:name"
            with pytest.raises(wire.ListenError, match="memory:name: another server of this process listens there"):
                await second.listen("memory:name")
            assert await second.listen("memory:") != await second.listen("memory:")
            await first.stop()
            await second.listen("memory:name")
            async with wire.Channel("memory:name") as channel:
                assert await ProbeStub(channel).unary(b"x") == b"x"
        with pytest.raises(wire.ListenError, match="it has no socket"):
            wire.bind("memory:name")

    run(main)


def test_a_name_whose_loop_has_ended_is_free() -> None:
    async def main() -> None:
        runtime, _ = start_runtime()  # and it is never closed
        runtime.listen(NAME, lambda: Recorder(runtime), tls=None, config=quick())

    async def connect(runtime: Runtime) -> None:
        (candidate,) = await runtime.resolve(NAME, 1.0)
        with pytest.raises(wire.ConnectError) as caught:
            await runtime.connect(candidate, Recorder(runtime), tls=None, config=quick())
        assert caught.value.errno == errno.ECONNREFUSED
        runtime.listen(NAME, lambda: Recorder(runtime), tls=None, config=quick())

    asyncio.run(main())
    run_loop("asyncio", connect)


def test_a_channel_says_that_nobody_listens_and_connects_once_somebody_does() -> None:
    async def main() -> None:
        config = wire.ChannelConfig(backoff_initial_s=0.01)
        async with wire.Channel("memory:late", config=config) as channel, wire.Server([Probe()]) as server:
            code, text = await status_of(ProbeStub(channel).unary(b"x", wait_for_ready=False))
            assert code is wire.StatusCode.UNAVAILABLE
            assert "cannot connect to memory:late: no server of this process listens there" in text
            await server.listen("memory:late")
            assert await ProbeStub(channel).unary(b"x", wait_for_ready=True) == b"x"

    run(main)


def test_a_listener_that_drains_takes_what_has_connected_and_one_that_closes_ends_it() -> None:
    async def test(runtime: Runtime) -> None:
        for end in ("drain", "close"):
            server, client = Recorder(runtime), Recorder(runtime)
            listener = runtime.listen(NAME, lambda server=server: server, tls=None, config=quick())  # type: ignore[misc]
            (candidate,) = await runtime.resolve(NAME, 1.0)
            await runtime.connect(candidate, client, tls=None, config=quick())
            assert server.calls == []
            getattr(listener, end)()
            if end == "drain":
                await server.until(lambda recorder: "made" in recorder.calls)
                client.transport.write(b"x")
                await server.until(lambda recorder: recorder.data == b"x")
                server.transport.abort()
            await client.until(lambda recorder: "eof" in recorder.calls)
            client.transport.close()
            await client.lost()

    run_loop("asyncio", test)


def test_more_connections_than_are_allowed_are_closed() -> None:
    async def main() -> None:
        config = wire.ServerConfig(transport=wire.TransportConfig(max_connections=1))
        async with wire.Server([Probe()], config=config) as server:
            address = await server.listen("memory:")
            async with wire.Channel(address) as first, wire.Channel(address) as second:
                assert await ProbeStub(first).unary(b"x") == b"x"
                code, _ = await status_of(ProbeStub(second).unary(b"x", timeout=0.5))
                assert code is not wire.StatusCode.OK

    run(main)


def test_half_closed_by_its_peer_it_still_writes(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair()
        client.transport.close()
        await server.until(lambda recorder: "eof" in recorder.calls)
        server.transport.write(b"dropped, and counted as sent")
        server.transport.close()
        await server.lost()
        await client.lost()
        assert (client.calls, client.error) == (["made", "lost"], None)
        assert (server.calls, server.error) == (["made", "eof", "lost"], None)

    run_transports(KIND, certificates, tmp_path, monkeypatch, test)
