"""grpclib, the other pure-Python stack, both ways: its client calls our server, and our client its server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.interop.exchange import (
    CHECKS,
    ECHO,
    REASON,
    SERVICE,
    Check,
    Method,
    Outcome,
    Seen,
    kind_of,
    large_metadata_costs_the_call_alone,
    requests_over_the_servers_limit_are_refused,
    responses_over_the_clients_limit_are_refused,
    wire_client,
    wire_server,
)
from tests.support import run
from wire.config import EngineName

pytest.importorskip("grpclib", reason="grpclib is not installed for this interpreter", exc_type=ImportError)

import grpclib.client
import grpclib.server
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError


class BytesCodec(CodecBase):
    """Messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: object) -> bytes:
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:
        return data


METHODS: dict[str, Any] = {
    "unary_unary": grpclib.client.UnaryUnaryMethod,
    "unary_stream": grpclib.client.UnaryStreamMethod,
    "stream_unary": grpclib.client.StreamUnaryMethod,
    "stream_stream": grpclib.client.StreamStreamMethod,
}


class GrpclibClient:
    def __init__(self, channel: grpclib.client.Channel) -> None:
        self._channel = channel

    def _open(self, method: Method, **options: Any) -> Any:
        return METHODS[kind_of(method)](self._channel, method.path, bytes, bytes).open(**options)

    async def call(
        self,
        method: Method,
        *requests: bytes,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Outcome:
        replies: list[bytes] = []
        code, message = Status.OK, ""
        stream = self._open(method, timeout=timeout, metadata=metadata)
        try:
            async with stream:
                await stream.send_request()
                for request in requests:
                    await stream.send_message(request, end=not method.streams_requests)
                if method.streams_requests:
                    await stream.end()
                async for reply in stream:
                    replies.append(reply)
        except GRPCError as error:
            code, message = error.status, error.message or ""
        except TimeoutError:
            code = Status.DEADLINE_EXCEEDED
        initial, trailing = dict(stream.initial_metadata or {}), dict(stream.trailing_metadata or {})
        return Outcome(replies, code.value, message, initial, trailing)

    async def cancel(self, method: Method, request: bytes, entered: Callable[[], Awaitable[None]]) -> Outcome:
        async with self._open(method) as stream:
            await stream.send_message(request, end=True)
            await entered()
            await stream.cancel()
        return Outcome([], Status.CANCELLED.value, "", {}, {})  # it has nothing else to say of a call it cancelled


@asynccontextmanager
async def grpclib_client(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[GrpclibClient]:
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    async with grpclib.client.Channel(host, int(port), codec=BytesCodec(), ssl=tls) as channel:
        yield GrpclibClient(channel)


class Interop:
    """`exchange.SERVICE` for grpclib's server."""

    def __init__(self) -> None:
        self.seen = Seen()

    async def Echo(self, stream: Any) -> None:
        request = await stream.recv_message()
        given = stream.metadata
        if "text" in given:
            await stream.send_initial_metadata(metadata={"initial": given["text"], "initial-bin": given["data-bin"]})
        await stream.send_message(request)
        if "text" in given:
            trailing = {"trailing": given["text"], "trailing-bin": given["data-bin"]}
            await stream.send_trailing_metadata(metadata=trailing)

    async def Split(self, stream: Any) -> None:
        for byte in await stream.recv_message():
            await stream.send_message(bytes([byte]))

    async def Measure(self, stream: Any) -> None:
        await stream.send_message(b" ".join([b"%d" % len(each) async for each in stream]))

    async def Chat(self, stream: Any) -> None:
        async for each in stream:
            await stream.send_message(each)

    async def Fail(self, stream: Any) -> None:
        code = Status(int(await stream.recv_message()))
        await stream.send_trailing_metadata(status=code, status_message=REASON, metadata={"why": "because"})

    async def Inflate(self, stream: Any) -> None:
        await stream.send_message(bytes(int(await stream.recv_message())))

    async def Remaining(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(str(stream.deadline.time_remaining()).encode())

    async def Hang(self, stream: Any) -> None:
        await stream.recv_message()
        await self._hang()

    async def Watch(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())
        await self._hang()

    async def _hang(self) -> None:
        self.seen.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.seen.cancelled.set()

    def __mapping__(self) -> dict[str, Handler]:
        return {
            method.path: Handler(getattr(self, method.name), Cardinality[kind_of(method).upper()], bytes, bytes)
            for method in SERVICE.methods
            if method.path is not None and hasattr(self, method.name)
        }


@asynccontextmanager
async def grpclib_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, Seen]]:
    """Its address, and what its handlers saw."""
    service = Interop()
    server = grpclib.server.Server([service], codec=BytesCodec())
    await server.start("127.0.0.1", 0, ssl=tls)
    assert server._server is not None
    assert isinstance(server._server, asyncio.Server)
    try:
        yield f"127.0.0.1:{server._server.sockets[0].getsockname()[1]}", service.seen
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "check", [*CHECKS, requests_over_the_servers_limit_are_refused], ids=lambda check: check.__name__
)
def test_its_client_exchanges_with_our_server(check: Check, engine: EngineName) -> None:
    async def main() -> None:
        async with wire_server(engine) as (_, address, service), grpclib_client(address) as client:
            await check(client, service.seen)

    run(main)


@pytest.mark.parametrize(
    "check", [*CHECKS, responses_over_the_clients_limit_are_refused], ids=lambda check: check.__name__
)
def test_our_client_exchanges_with_its_server(check: Check, engine: EngineName) -> None:
    async def main() -> None:
        async with grpclib_server() as (address, seen), wire_client(address, engine) as client:
            await check(client, seen)

    run(main)


def _context(protocol: int, certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_its_client_over_mutual_tls(engine: EngineName, certificates: Certificates) -> None:
    ours = wire.ServerTls(certificates.server, certificates.server_key, client_ca=certificates.ca)
    context = _context(ssl.PROTOCOL_TLS_CLIENT, certificates.client, certificates.client_key, certificates.ca)

    async def main() -> None:
        async with wire_server(engine, tls=ours) as (_, address, service), grpclib_client(address, context) as client:
            assert (await client.call(ECHO, b"x" * 100_000)).replies == [b"x" * 100_000]
            assert service.peer_certificate is not None

    run(main)


def test_our_client_over_mutual_tls(engine: EngineName, certificates: Certificates) -> None:
    ours = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key)
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificates.server, certificates.server_key, certificates.ca)

    async def main() -> None:
        async with grpclib_server(context) as (address, _), wire_client(address, engine, tls=ours) as client:
            assert (await client.call(ECHO, b"x" * 100_000)).replies == [b"x" * 100_000]

    run(main)


def test_large_metadata_to_its_server(engine: EngineName) -> None:
    async def main() -> None:
        async with grpclib_server() as (address, _), wire_client(address, engine) as client:
            await large_metadata_costs_the_call_alone(client)

    run(main)
