"""grpcio's clients, synchronous and asyncio, call our server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.certificates import Certificates
from tests.interop.exchange import (
    CHAT,
    CHECKS,
    ECHO,
    HANG,
    LIMITS,
    WATCH,
    Check,
    Client,
    Compression,
    Method,
    Outcome,
    compressed_both_ways,
    happened,
    kind_of,
    no_call_fails_while_a_server_stops,
    relay,
    wire_server,
)
from tests.support import LOCAL, TIMEOUT_S, run
from wire.config import EngineName

grpc: Any = pytest.importorskip("grpc", reason="grpcio has no wheels for this interpreter", exc_type=ImportError)
aio: Any = pytest.importorskip("grpc.aio", exc_type=ImportError)

Kind = Literal["sync", "aio"]


@pytest.fixture(params=["sync", "aio"])
def kind(request: pytest.FixtureRequest) -> Kind:
    name: Kind = request.param
    return name


class SyncClient:
    """Each call in a thread."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def _start(self, method: Method, requests: Sequence[bytes], **options: Any) -> Any:
        start = getattr(self._channel, kind_of(method))(method.path)
        given = iter(requests) if method.streams_requests else requests[0]
        return (start if method.streams_responses else start.future)(given, **options)

    def _outcome(self, method: Method, call: Any) -> Outcome:
        replies: list[bytes] = []
        try:
            replies.extend(call if method.streams_responses else [call.result()])
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        code = call.code().value[0]
        return Outcome(replies, code, call.details(), dict(call.initial_metadata()), dict(call.trailing_metadata()))

    async def call(
        self,
        method: Method,
        *requests: bytes,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Outcome:
        def call() -> Outcome:
            return self._outcome(method, self._start(method, requests, timeout=timeout, metadata=metadata))

        return await anyio.to_thread.run_sync(call)

    async def cancel(self, method: Method, request: bytes, entered: Callable[[], Awaitable[None]]) -> Outcome:
        call = self._start(method, [request])
        await entered()
        call.cancel()
        return await anyio.to_thread.run_sync(self._outcome, method, call)


class AioClient:
    """Calls in the test's own loop."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def _start(self, method: Method, requests: Sequence[bytes], **options: Any) -> Any:
        given = requests if method.streams_requests else requests[0]
        return getattr(self._channel, kind_of(method))(method.path)(given, **options)

    async def _outcome(self, call: Any, replies: Sequence[bytes]) -> Outcome:
        return Outcome(
            replies,
            (await call.code()).value[0],
            await call.details(),
            dict(await call.initial_metadata()),
            dict(await call.trailing_metadata()),
        )

    async def call(
        self,
        method: Method,
        *requests: bytes,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Outcome:
        call = self._start(method, requests, timeout=timeout, metadata=metadata)
        replies: list[bytes] = []
        try:
            if method.streams_responses:
                async for reply in call:
                    replies.append(reply)
            else:
                replies.append(await call)
        except grpc.RpcError:
            pass
        return await self._outcome(call, replies)

    async def cancel(self, method: Method, request: bytes, entered: Callable[[], Awaitable[None]]) -> Outcome:
        call = self._start(method, [request])
        await entered()
        call.cancel()
        return await self._outcome(call, [])


@asynccontextmanager
async def open_channel(kind: Kind, target: str, credentials: Any = None, **options: Any) -> AsyncIterator[Any]:
    module = grpc if kind == "sync" else aio
    if credentials is None:
        channel = module.insecure_channel(target, **options)
    else:
        channel = module.secure_channel(target, credentials, **options)
    try:
        yield channel
    finally:
        closing = channel.close()
        if kind == "aio":
            await closing


@asynccontextmanager
async def open_client(kind: Kind, target: str, credentials: Any = None, **options: Any) -> AsyncIterator[Client]:
    async with open_channel(kind, target, credentials, **options) as channel:
        yield SyncClient(channel) if kind == "sync" else AioClient(channel)


@pytest.mark.parametrize("check", CHECKS + LIMITS, ids=lambda check: check.__name__)
def test_exchange(check: Check, kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with wire_server(engine) as (_, address, service), open_client(kind, address) as client:
            await check(client, service.seen)

    run(main)


def test_messages_are_answered_one_by_one(engine: EngineName) -> None:
    async def main() -> None:
        async with wire_server(engine) as (_, address, _), open_channel("aio", address) as channel:
            call = channel.stream_stream(CHAT.path)()
            for message in (b"a", b"", b"b"):
                await call.write(message)
                assert await call.read() == message
            await call.done_writing()
            assert await call.read() is aio.EOF

    run(main)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_messages_compressed_both_ways(kind: Kind, engine: EngineName, compression: Compression) -> None:
    theirs = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}[compression]

    async def main() -> None:
        async with (
            wire_server(engine, compression=compression) as (_, address, _),
            relay(address) as traffic,
            open_client(kind, traffic.address, compression=theirs) as client,
        ):
            await compressed_both_ways(client, traffic)

    run(main)


def test_a_graceful_stop_fails_no_call(kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with (
            wire_server(engine) as (first, address, _),
            wire_server(engine) as (_, other, _),
            open_client(kind, f"{address},{other.removeprefix('ipv4:')}") as client,
        ):
            await no_call_fails_while_a_server_stops(client, lambda: first.stop(TIMEOUT_S))

    run(main)


def test_a_stop_without_grace_makes_calls_unavailable(kind: Kind, engine: EngineName) -> None:
    async def main() -> None:
        async with wire_server(engine) as (server, address, service), open_client(kind, address) as client:
            async with anyio.create_task_group() as tasks:
                ends = []

                async def call(method: Method) -> None:
                    ends.append((await client.call(method, b"x")).code)

                for method in (HANG, WATCH):
                    service.seen.entered.clear()
                    tasks.start_soon(call, method)
                    await happened(service.seen.entered)
                await server.stop(0)
            assert ends == [wire.StatusCode.UNAVAILABLE] * 2
            await happened(service.seen.cancelled)

    run(main)


def test_tls(kind: Kind, engine: EngineName, certificates: Certificates) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key)

    async def main() -> None:
        async with wire_server(engine, tls=tls) as (_, address, _):
            credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
            async with open_client(kind, address, credentials) as client:
                assert (await client.call(ECHO, b"x" * 100_000)).replies == [b"x" * 100_000]
            suspicious = grpc.ssl_channel_credentials(certificates.stranger_ca.read_bytes())
            async with open_client(kind, address, suspicious) as client:
                assert (await client.call(ECHO, b"x")).code == wire.StatusCode.UNAVAILABLE

    run(main)


def test_mutual_tls(kind: Kind, engine: EngineName, certificates: Certificates) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key, client_ca=certificates.ca)
    root = certificates.ca.read_bytes()

    async def main() -> None:
        async with wire_server(engine, tls=tls) as (_, address, service):
            known = grpc.ssl_channel_credentials(
                root, certificates.client_key.read_bytes(), certificates.client.read_bytes()
            )
            async with open_client(kind, address, known) as client:
                assert (await client.call(ECHO, b"x")).replies == [b"x"]
            assert service.peer_certificate is not None
            stranger = grpc.ssl_channel_credentials(
                root, certificates.stranger_key.read_bytes(), certificates.stranger.read_bytes()
            )
            for credentials in (stranger, grpc.ssl_channel_credentials(root)):
                async with open_client(kind, address, credentials) as client:
                    assert (await client.call(ECHO, b"x")).code == wire.StatusCode.UNAVAILABLE

    run(main)


MESSAGE = wire.UnaryUnary("Echo", EchoRequest, EchoResponse)


class Echo(wire.Servicer):
    service = wire.Service("echo.v1.EchoService", (MESSAGE,))

    def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        return EchoResponse(payload=request.payload)


def test_protobuf_messages_are_those_of_google(kind: Kind, engine: EngineName) -> None:
    from benchmarks.peers.messages import UNARY, echo_messages

    request_type, response_type = echo_messages()

    async def main() -> None:
        async with wire.Server([Echo()], config=wire.ServerConfig(engine=engine)) as server:
            address = await server.listen(LOCAL)
            async with open_channel(kind, address) as channel:
                echo = channel.unary_unary(
                    UNARY,
                    request_serializer=request_type.SerializeToString,
                    response_deserializer=response_type.FromString,
                )
                request = request_type(payload=b"\x00payload\xff")
                reply = await (echo(request) if kind == "aio" else anyio.to_thread.run_sync(echo, request))
                assert reply == response_type(payload=b"\x00payload\xff")
            await server.stop(0)

    run(main)
