"""grpcio's clients, with threads and on asyncio, against our server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("grpc")
import grpc
import grpc.aio

import wire
from tests.certificates import Certificates
from tests.interop.peers import INITIAL, MESSAGE, OPTIONS, TRAILING, GrpcStub, Seen, wire_server
from wire.config import EngineName

CALLS = wire.CallConfig(compression="gzip")
Compression = grpc.Compression


@contextmanager
def served(engine: EngineName, **config: Any) -> Iterator[tuple[str, Seen, Callable[[float], None]]]:
    seen = Seen()
    with wire_server(seen, wire.ServerConfig(engine=engine, **config)) as (address, stop):
        yield address, seen, stop


@contextmanager
def stub_on(engine: EngineName, *, compression: Any = None, **config: Any) -> Iterator[tuple[GrpcStub, Seen]]:
    with (
        served(engine, **config) as (address, seen, _),
        grpc.insecure_channel(address, options=OPTIONS, compression=compression) as channel,
    ):
        yield GrpcStub(channel), seen


def received(metadata: Any, *wanted: tuple[str, str | bytes]) -> bool:
    pairs = [tuple(pair) for pair in metadata]
    return all(pair in pairs for pair in wanted)


def failure(call: Any) -> tuple[grpc.StatusCode, str, Any]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return error.code(), error.details(), error.trailing_metadata()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_four_kinds(engine: EngineName, compressed: bool) -> None:
    options: dict[str, Any] = {"compression": Compression.Gzip, "calls": CALLS} if compressed else {}
    with stub_on(engine, **options) as (stub, _):
        assert stub.Unary(b"hello") == b"hello"
        assert list(stub.ServerStream(b"123")) == [b"1", b"2", b"3"]
        assert stub.ClientStream(iter([b"1", b"2", b"3"])) == b"123"
        assert list(stub.Bidi(iter([b"1", b"", b"3"]))) == [b"1", b"", b"3"]
        big = bytes(range(256)) * 4096
        assert stub.Unary(big) == big
        assert list(stub.Bidi(iter([big, big]))) == [big, big]


def test_metadata_both_ways(engine: EngineName) -> None:
    with stub_on(engine) as (stub, seen):
        mine = (("k", "v"), ("k", "w"), ("k-bin", b"\x00\xff"))
        _, call = stub.Unary.with_call(b"metadata", metadata=mine)
        assert received(seen.metadata, *mine)
        assert received(call.initial_metadata(), *INITIAL)
        assert received(call.trailing_metadata(), *TRAILING)


def test_statuses(engine: EngineName) -> None:
    with stub_on(engine) as (stub, _):
        code, message, trailing = failure(lambda: stub.Unary(b"fail"))
        assert (code, message) == (grpc.StatusCode.NOT_FOUND, MESSAGE)
        assert received(trailing, *TRAILING)
        code, message, _ = failure(lambda: stub.Unary(b"raise"))
        assert code is grpc.StatusCode.UNKNOWN
        assert "secret" not in message
        assert failure(lambda: stub.Missing(b""))[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_reaches_the_handler(engine: EngineName) -> None:
    with stub_on(engine) as (stub, seen):
        stub.Unary(b"", timeout=50)
        assert seen.time_remaining is not None
        assert 40 < seen.time_remaining <= 50
        assert failure(lambda: stub.Unary(b"wait", timeout=0.2))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        assert seen.cancelled.wait(10)


def test_a_cancellation_reaches_the_handler(engine: EngineName) -> None:
    with stub_on(engine) as (stub, seen):
        call = stub.Unary.future(b"wait")
        assert seen.waiting.wait(10)
        call.cancel()
        assert seen.cancelled.wait(10)


def test_messages_over_a_limit(engine: EngineName) -> None:
    limited = wire.CallConfig(max_receive_message_bytes=1000)
    with stub_on(engine, calls=limited) as (stub, _):
        code, _message, _ = failure(lambda: stub.Unary(bytes(1001)))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure(lambda: stub.ClientStream(iter([bytes(1001)])))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure(lambda: list(stub.ServerStream(bytes(1001))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Unary(bytes(1000)) == bytes(1000)


def test_a_graceful_stop_under_load_fails_no_call(engine: EngineName) -> None:
    """The calls go on to a second server, which listens where the first one did."""
    failures: list[Any] = []
    done = threading.Event()
    with served(engine) as (address, _, stop), served(engine) as (other, _, _):
        with grpc.insecure_channel(f"ipv4:{address},{other}", options=OPTIONS) as channel:
            stub = GrpcStub(channel)
            stub.Unary(b"", wait_for_ready=True)
            counts = [0] * 4

            def load(index: int) -> None:
                while not done.is_set():
                    try:
                        stub.Unary(b"x", wait_for_ready=True, timeout=10)
                        assert list(stub.Bidi(iter([b"1", b"2"]), wait_for_ready=True, timeout=10)) == [b"1", b"2"]
                        counts[index] += 1
                    except Exception as error:
                        failures.append(error)
                        return

            with ThreadPoolExecutor(4) as pool:
                for index in range(4):
                    pool.submit(load, index)
                while min(counts) < 5 and not failures:
                    threading.Event().wait(0.01)
                stop(10)
                before = list(counts)
                while not failures and any(now < then + 5 for now, then in zip(counts, before, strict=True)):
                    threading.Event().wait(0.01)
                done.set()
    assert failures == []


@pytest.mark.parametrize("mutual", [False, True])
def test_tls(engine: EngineName, certificates: Certificates, mutual: bool) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca if mutual else None)
    with wire_server(Seen(), wire.ServerConfig(engine=engine), tls=tls) as (address, _):
        ours = (certificates.client_key.read_bytes(), certificates.client.read_bytes()) if mutual else (None, None)
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), *ours)
        with grpc.secure_channel(address.replace("127.0.0.1", "localhost"), credentials) as channel:
            assert GrpcStub(channel).Unary(b"hello", timeout=10) == b"hello"


def test_a_client_without_a_certificate_is_not_let_in(certificates: Certificates) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca)
    with wire_server(Seen(), wire.ServerConfig(), tls=tls) as (address, _):
        credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
        with grpc.secure_channel(address.replace("127.0.0.1", "localhost"), credentials) as channel:
            assert failure(lambda: GrpcStub(channel).Unary(b"", timeout=10))[0] is grpc.StatusCode.UNAVAILABLE


def test_the_asyncio_client(engine: EngineName) -> None:
    async def requests() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    async def main(address: str, seen: Seen) -> None:
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            stub = GrpcStub(channel)
            assert await stub.Unary(b"hello") == b"hello"
            assert [each async for each in stub.ServerStream(b"12")] == [b"1", b"2"]
            assert await stub.ClientStream(requests()) == b"12"
            assert [each async for each in stub.Bidi(requests())] == [b"1", b"2"]
            bidi = stub.Bidi()
            for message in (b"a", b"b"):
                await bidi.write(message)
                assert await bidi.read() == message
            await bidi.done_writing()
            assert await bidi.read() == grpc.aio.EOF

            call = stub.Unary(b"metadata", metadata=(("k-bin", b"\xff"),))
            assert received(await call.initial_metadata(), *INITIAL)
            assert received(await call.trailing_metadata(), *TRAILING)
            assert received(seen.metadata, ("k-bin", b"\xff"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Unary(b"fail")
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, MESSAGE)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Unary(b"wait", timeout=0.2)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert await asyncio.to_thread(seen.cancelled.wait, 10)

            seen.waiting.clear()
            seen.cancelled.clear()
            waiting = stub.Unary(b"wait")
            assert await asyncio.to_thread(seen.waiting.wait, 10)
            waiting.cancel()
            assert await asyncio.to_thread(seen.cancelled.wait, 10)
            big = bytes(1 << 20)
            assert await asyncio.gather(*[stub.Unary(big) for _ in range(4)]) == [big] * 4

    with served(engine) as (address, seen, _):
        asyncio.run(main(address, seen))


def test_responses_are_compressed_with_what_the_client_offers(engine: EngineName) -> None:
    """grpcio offers deflate and gzip; what we are told to use is used."""
    for encoding in ("gzip", "deflate"):
        calls = replace(CALLS, compression=encoding)
        with stub_on(engine, calls=calls) as (stub, _):
            assert stub.Unary(b"x" * 10_000) == b"x" * 10_000
