"""Our client against grpcio's servers, with threads and on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

pytest.importorskip("grpc")
import grpc

import wire
from tests.certificates import Certificates
from tests.interop.peers import INITIAL, MESSAGE, TRAILING, Seen, grpc_aio_server, grpc_server
from tests.support import ProbeStub, collect, run, status_of
from wire import StatusCode
from wire.config import EngineName
from wire.transport.runtime import LoopName

Serve = Callable[..., AbstractContextManager[str]]
Test = Callable[[ProbeStub, Seen], Awaitable[Any]]


@pytest.fixture(params=["threads", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Serve:
    return grpc_server if request.param == "threads" else grpc_aio_server


def against(
    serve: Serve,
    test: Test,
    *,
    engine: EngineName = "tuned",
    loop: LoopName = "asyncio",
    tls: wire.ClientTls | None = None,
    calls: wire.CallConfig = wire.CallConfig(),
    **server: Any,
) -> None:
    seen = Seen()

    async def main(address: str) -> None:
        config = wire.ChannelConfig(engine=engine, calls=calls)
        async with wire.Channel(address, config=config, tls=tls) as channel:
            await test(ProbeStub(channel), seen)

    with serve(seen, **server) as address:
        run(main, address, loop=loop)


def received(metadata: wire.Metadata | None, *wanted: tuple[str, str | bytes]) -> bool:
    return metadata is not None and all(pair in list(metadata) for pair in wanted)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_four_kinds(serve: Serve, engine: EngineName, compressed: bool) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        async def requests() -> AsyncIterator[bytes]:
            yield b"1"
            yield b""
            yield b"3"

        assert await stub.Unary(b"hello") == b"hello"
        assert await collect(stub.ServerStream(b"123")) == [b"1", b"2", b"3"]
        assert await stub.ClientStream(requests()) == b"13"
        assert await collect(stub.Bidi(requests())) == [b"1", b"", b"3"]
        big = bytes(range(256)) * 4096
        assert await stub.Unary(big) == big
        assert await collect(stub.Bidi([big, big])) == [big, big]

    calls = wire.CallConfig(compression="gzip" if compressed else None)
    compression = grpc.Compression.Gzip if compressed else None
    against(serve, test, engine=engine, calls=calls, compression=compression)


def test_on_every_loop(loop: LoopName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        assert await stub.Unary(b"hello", timeout=10) == b"hello"
        assert await collect(stub.Bidi([b"1", b"2"])) == [b"1", b"2"]

    against(grpc_server, test, loop=loop)


def test_metadata_both_ways(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        mine: list[tuple[str, str | bytes]] = [("k", "v"), ("k", "w"), ("k-bin", b"\x00\xff")]
        call = stub.Unary(b"metadata", metadata=mine)
        await call
        assert all(pair in seen.metadata for pair in mine)
        assert any(key == "user-agent" and "wire" in str(value) for key, value in seen.metadata)
        assert received(call.initial_metadata, *INITIAL)
        assert received(call.trailing_metadata, *TRAILING)

    against(serve, test, engine=engine)


def test_statuses(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        call = stub.Unary(b"fail")
        assert await status_of(call) == (StatusCode.NOT_FOUND, MESSAGE)
        assert received(call.trailing_metadata, *TRAILING)
        assert (await status_of(stub.Unary(b"raise")))[0] is StatusCode.UNKNOWN

    against(serve, test, engine=engine)


MISSING = wire.UnaryUnary("Missing", bytes, bytes)


class MissingStub(wire.Stub):
    service = wire.Service("probe.v1.Probe", (MISSING,))
    Missing = MISSING


def test_an_unknown_method_is_unimplemented(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        assert (await status_of(MissingStub(stub.channel).Missing(b"")))[0] is StatusCode.UNIMPLEMENTED

    against(serve, test, engine=engine)


def test_a_deadline_reaches_the_handler(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        await stub.Unary(b"", timeout=50)
        assert seen.time_remaining is not None
        assert 40 < seen.time_remaining <= 50.1
        assert (await status_of(stub.Unary(b"wait", timeout=0.2)))[0] is StatusCode.DEADLINE_EXCEEDED
        assert await asyncio.to_thread(seen.cancelled.wait, 10)

    against(serve, test, engine=engine)


def test_a_cancellation_reaches_the_handler(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        call = stub.Unary(b"wait")
        assert await asyncio.to_thread(seen.waiting.wait, 10)
        call.cancel()
        assert await asyncio.to_thread(seen.cancelled.wait, 10)
        assert (await status_of(call))[0] is StatusCode.CANCELLED

    against(serve, test, engine=engine)


def test_messages_over_a_limit(serve: Serve, engine: EngineName) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        code, message = await status_of(stub.Unary(bytes((1 << 22) + 1)))  # the server's limit
        assert code is StatusCode.RESOURCE_EXHAUSTED
        code, message = await status_of(stub.Unary(bytes(1001)))  # ours, for the response
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert "1000" in message
        assert await stub.Unary(bytes(1000)) == bytes(1000)

    against(serve, test, engine=engine, calls=wire.CallConfig(max_receive_message_bytes=1000))


@pytest.mark.parametrize("mutual", [False, True])
def test_tls(serve: Serve, engine: EngineName, certificates: Certificates, mutual: bool) -> None:
    async def test(stub: ProbeStub, seen: Seen) -> None:
        assert await stub.Unary(b"hello", timeout=10) == b"hello"

    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    roots = certificates.ca.read_bytes() if mutual else None
    credentials = grpc.ssl_server_credentials([pair], roots, mutual)
    ours = (certificates.client, certificates.client_key) if mutual else (None, None)
    tls = wire.ClientTls(certificates.ca, *ours)
    against(serve, test, engine=engine, tls=tls, credentials=credentials)


def test_a_graceful_stop_under_load_fails_no_call(engine: EngineName) -> None:
    """The channel goes from a stopping server to a second one at the same address list, without a call failing."""

    async def main(first: grpc.Server, address: str, other: str) -> None:
        config = wire.ChannelConfig(engine=engine, wait_for_ready=True)
        async with wire.Channel(f"ipv4:{address},{other}", config=config) as channel:
            stub = ProbeStub(channel)
            stopped: list[bool] = []
            counts = [0] * 4

            async def load(index: int) -> None:
                after = 0
                while after < 5:
                    assert await stub.Unary(b"x", timeout=10) == b"x"
                    assert await collect(stub.ServerStream(b"12", timeout=10)) == [b"1", b"2"]
                    counts[index] += 1
                    after += bool(stopped)

            async def stop() -> None:
                while min(counts) < 5:
                    await asyncio.sleep(0)
                await asyncio.to_thread(first.stop(10).wait)
                stopped.append(True)

            await asyncio.gather(stop(), *[load(index) for index in range(4)])

    from concurrent.futures import ThreadPoolExecutor

    from tests.interop.peers import OPTIONS, GrpcProbe, _generic_handler

    with ThreadPoolExecutor(4) as pool, grpc_server(Seen()) as other:
        first = grpc.server(pool, options=OPTIONS)
        first.add_generic_rpc_handlers((_generic_handler(GrpcProbe(Seen())),))
        port = first.add_insecure_port("127.0.0.1:0")
        first.start()
        run(main, first, f"127.0.0.1:{port}", other)
