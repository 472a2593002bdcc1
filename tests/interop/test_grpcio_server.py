"""Our client calls grpcio's servers, synchronous and asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.certificates import Certificates
from tests.interop.exchange import (
    CHECKS,
    ECHO,
    LIMITS,
    REASON,
    SERVICE,
    Check,
    Seen,
    compressed_both_ways,
    kind_of,
    large_metadata_costs_the_call_alone,
    relay,
    wire_client,
)
from tests.support import LOCAL, TIMEOUT_S, run
from wire.config import EngineName

grpc: Any = pytest.importorskip("grpc", reason="grpcio has no wheels for this interpreter", exc_type=ImportError)
aio: Any = pytest.importorskip("grpc.aio", exc_type=ImportError)

Kind = Literal["sync", "aio"]
STATUSES = {code.value[0]: code for code in grpc.StatusCode}


@pytest.fixture(params=["sync", "aio"])
def kind(request: pytest.FixtureRequest) -> Kind:
    name: Kind = request.param
    return name


class SyncInterop:
    """`exchange.SERVICE` for grpcio's threads."""

    def __init__(self) -> None:
        self.seen = Seen()

    def Echo(self, request: bytes, context: Any) -> bytes:
        given = dict(context.invocation_metadata())
        if "text" in given:
            context.send_initial_metadata([("initial", given["text"]), ("initial-bin", given["data-bin"])])
            context.set_trailing_metadata([("trailing", given["text"]), ("trailing-bin", given["data-bin"])])
        return request

    def Split(self, request: bytes, context: Any) -> Iterator[bytes]:
        for byte in request:
            yield bytes([byte])

    def Measure(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b" ".join(b"%d" % len(each) for each in requests)

    def Chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    def Fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("why", "because")])
        context.abort(STATUSES[int(request)], REASON)
        raise AssertionError

    def Inflate(self, request: bytes, context: Any) -> bytes:
        return bytes(int(request))

    def Remaining(self, request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    def Hang(self, request: bytes, context: Any) -> bytes:
        self._hang(context)
        return request

    def Watch(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield request
        self._hang(context)

    def _hang(self, context: Any) -> None:
        if context.add_callback(self.seen.cancelled.set):
            self.seen.entered.set()
            self.seen.cancelled.wait(TIMEOUT_S)


class AioInterop:
    """`exchange.SERVICE` for grpcio's asyncio server."""

    def __init__(self) -> None:
        self.seen = Seen()

    async def Echo(self, request: bytes, context: Any) -> bytes:
        given = dict(context.invocation_metadata())
        if "text" in given:
            await context.send_initial_metadata([("initial", given["text"]), ("initial-bin", given["data-bin"])])
            context.set_trailing_metadata([("trailing", given["text"]), ("trailing-bin", given["data-bin"])])
        return request

    async def Split(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for byte in request:
            yield bytes([byte])

    async def Measure(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b" ".join([b"%d" % len(each) async for each in requests])

    async def Chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each

    async def Fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("why", "because")])
        await context.abort(STATUSES[int(request)], REASON)
        raise AssertionError

    async def Inflate(self, request: bytes, context: Any) -> bytes:
        return bytes(int(request))

    async def Remaining(self, request: bytes, context: Any) -> bytes:
        return str(context.time_remaining()).encode()

    async def Hang(self, request: bytes, context: Any) -> bytes:
        self.seen.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.seen.cancelled.set()
        return request

    async def Watch(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield request
        yield await self.Hang(request, context)


@dataclass(frozen=True, slots=True)
class Running:
    address: str
    seen: Seen
    stop: Callable[[float], Coroutine[Any, Any, None]]


def _handlers(service: Any) -> Any:
    handlers = {}
    for method in SERVICE.methods:
        if hasattr(service, method.name):
            make = getattr(grpc, kind_of(method) + "_rpc_method_handler")
            handlers[method.name] = make(getattr(service, method.name))
    return grpc.method_handlers_generic_handler(SERVICE.name, handlers)


@asynccontextmanager
async def grpcio_server(
    kind: Kind, *handlers: Any, credentials: Any = None, address: str = LOCAL, **options: Any
) -> AsyncIterator[Running]:
    """A server of `exchange.SERVICE`, or of the generic handlers given."""
    service = SyncInterop() if kind == "sync" else AioInterop()
    with ThreadPoolExecutor(10) as threads:
        server = grpc.server(threads, **options) if kind == "sync" else aio.server(**options)
        server.add_generic_rpc_handlers(handlers or (_handlers(service),))
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)

        async def stop(grace_s: float) -> None:
            if kind == "sync":
                await anyio.to_thread.run_sync(server.stop(grace_s).wait)
            else:
                await server.stop(grace_s)

        starting = server.start()
        if kind == "aio":
            await starting
        try:
            yield Running(f"127.0.0.1:{port}", service.seen, stop)
        finally:
            await stop(0)


@pytest.mark.parametrize("check", CHECKS + LIMITS, ids=lambda check: check.__name__)
def test_exchange(check: Check, kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with grpcio_server(kind) as server, wire_client(server.address, engine) as client:
            await check(client, server.seen)

    run(main)


def test_messages_compressed_both_ways(kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with (
            grpcio_server(kind, compression=grpc.Compression.Gzip) as server,
            relay(server.address) as traffic,
            wire_client(traffic.address, engine, compression="gzip") as client,
        ):
            await compressed_both_ways(client, traffic)

    run(main)


def test_a_graceful_stop_ends_no_open_call(kind: Kind, engine: EngineName) -> None:
    """Calls are open before the stop, or made once its GOAWAY came: grpcio's server cancels those in between, whoever
    makes them."""

    async def exchange(call: Any) -> None:
        await call.send(b"message")
        assert await anext(aiter(call)) == b"message"

    async def main() -> None:
        async with grpcio_server(kind) as first, wire_client(first.address, engine) as client:
            calls = [client.stub.chat() for _ in range(5)]
            for call in calls:
                await exchange(call)
            connection = calls[0]._exchange.connection
            assert connection is not None
            async with grpcio_server(kind, address=first.address), anyio.create_task_group() as tasks:
                tasks.start_soon(first.stop, TIMEOUT_S)  # two servers share the port: SO_REUSEPORT is grpcio's default
                while not connection.closing:
                    for call in calls:
                        await exchange(call)
                assert (await client.call(ECHO, b"elsewhere")).replies == [b"elsewhere"]
                for call in calls:
                    await exchange(call)
                    await call.end()
                    assert [each async for each in call] == []
                    assert call.code is wire.StatusCode.OK

    run(main)


def test_a_server_that_goes_away_makes_calls_unavailable(kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with grpcio_server(kind) as server, wire_client(server.address, engine) as client:
            async with client.stub.watch(b"x") as call:
                assert await anext(aiter(call)) == b"x"
                await server.stop(0)
                with pytest.raises(wire.RpcError) as caught:
                    await anext(aiter(call))
            assert caught.value.code is wire.StatusCode.UNAVAILABLE
            assert (await client.call(ECHO, b"x")).code == wire.StatusCode.UNAVAILABLE

    run(main)


def test_tls(kind: Kind, engine: EngineName, certificates: Certificates) -> None:
    credentials = grpc.ssl_server_credentials(
        [(certificates.server_key.read_bytes(), certificates.server.read_bytes())]
    )

    async def main() -> None:
        async with grpcio_server(kind, credentials=credentials) as server:
            async with wire_client(server.address, engine, tls=wire.ClientTls(certificates.ca)) as client:
                assert (await client.call(ECHO, b"x" * 100_000)).replies == [b"x" * 100_000]
            async with wire_client(server.address, engine, tls=wire.ClientTls(certificates.stranger_ca)) as client:
                assert (await client.call(ECHO, b"x")).code == wire.StatusCode.UNAVAILABLE

    run(main)


def test_mutual_tls(kind: Kind, engine: EngineName, certificates: Certificates) -> None:
    credentials = grpc.ssl_server_credentials(
        [(certificates.server_key.read_bytes(), certificates.server.read_bytes())],
        root_certificates=certificates.ca.read_bytes(),
        require_client_auth=True,
    )
    known = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key)
    stranger = wire.ClientTls(certificates.ca, certificates.stranger, certificates.stranger_key)

    async def main() -> None:
        async with grpcio_server(kind, credentials=credentials) as server:
            async with wire_client(server.address, engine, tls=known) as client:
                assert (await client.call(ECHO, b"x")).replies == [b"x"]
            for tls in (stranger, wire.ClientTls(certificates.ca)):
                async with wire_client(server.address, engine, tls=tls) as client:
                    assert (await client.call(ECHO, b"x")).code == wire.StatusCode.UNAVAILABLE

    run(main)


MESSAGE = wire.UnaryUnary("Echo", EchoRequest, EchoResponse)


class EchoStub(wire.Stub):
    service = wire.Service("echo.v1.EchoService", (MESSAGE,))
    echo = MESSAGE


def test_protobuf_messages_are_those_of_google(kind: Kind, engine: EngineName) -> None:
    from benchmarks.peers.messages import SERVICE as ECHO_SERVICE
    from benchmarks.peers.messages import echo_messages

    request_type, response_type = echo_messages()

    def answer(request: Any, context: Any) -> Any:
        return response_type(payload=request.payload)

    async def answer_async(request: Any, context: Any) -> Any:
        return answer(request, context)

    handler = grpc.unary_unary_rpc_method_handler(
        answer if kind == "sync" else answer_async,
        request_deserializer=request_type.FromString,
        response_serializer=response_type.SerializeToString,
    )

    async def main() -> None:
        handlers = grpc.method_handlers_generic_handler(ECHO_SERVICE, {"Echo": handler})
        async with (
            grpcio_server(kind, handlers) as server,
            wire.Channel(server.address, config=wire.ChannelConfig(engine=engine)) as channel,
        ):
            reply = await EchoStub(channel).echo(EchoRequest(payload=b"\x00payload\xff"))
            assert reply == EchoResponse(payload=b"\x00payload\xff")

    run(main)


def test_large_metadata(kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with grpcio_server(kind) as server, wire_client(server.address, engine) as client:
            await large_metadata_costs_the_call_alone(client)

    run(main)
