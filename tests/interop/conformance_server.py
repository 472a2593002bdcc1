"""connectconformance's server under test: `python -m tests.interop.conformance_server [ENGINE]`.

Reads a ServerCompatRequest from standard input, serves connectrpc.conformance.v1.ConformanceService on a port of its
own, answers with a ServerCompatResponse, and serves until SIGTERM. Imports `wire` alone.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import anyio

import wire
from tests.interop.conformance import (
    STATUS_DETAILS,
    packed,
    read_message,
    to_details,
    to_headers,
    to_metadata,
    write_message,
)
from tests.interop.generated.connectrpc.conformance.v1 import (
    BidiStreamRequest,
    ConformancePayload,
    Error,
    Header,
    RequestInfo,
    Response,
    ServerCompatRequest,
    ServerCompatResponse,
    ServerStreamRequest,
    StreamResponseDefinition,
    UnaryRequest,
    UnaryResponseDefinition,
)
from wire.config import EngineName
from wire.status import StatusCode

UNARY = wire.UnaryUnary("Unary", UnaryRequest, Response)
IDEMPOTENT_UNARY = wire.UnaryUnary("IdempotentUnary", UnaryRequest, Response)
SERVER_STREAM = wire.UnaryStream("ServerStream", ServerStreamRequest, Response)
CLIENT_STREAM = wire.StreamUnary("ClientStream", UnaryRequest, Response)
BIDI_STREAM = wire.StreamStream("BidiStream", BidiStreamRequest, Response)
SERVICE = wire.Service(
    "connectrpc.conformance.v1.ConformanceService",
    (UNARY, IDEMPOTENT_UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI_STREAM),
)


class ConformanceServicer(wire.Servicer):
    """Does what a request's response definition says, and tells what was seen of the request."""

    service = SERVICE

    async def unary(self, request: UnaryRequest, context: wire.ServerContext) -> Response:
        info = _seen(context, "UnaryRequest", [request])
        return await _respond(request.response_definition, info, context)

    async def idempotent_unary(self, request: UnaryRequest, context: wire.ServerContext) -> Response:
        info = _seen(context, "IdempotentUnaryRequest", [request])
        return await _respond(request.response_definition, info, context)

    async def client_stream(self, requests: AsyncIterator[UnaryRequest], context: wire.ServerContext) -> Response:
        taken = [request async for request in requests]
        info = _seen(context, "ClientStreamRequest", taken)
        return await _respond(taken[0].response_definition if taken else None, info, context)

    async def server_stream(self, request: ServerStreamRequest, context: wire.ServerContext) -> AsyncIterator[Response]:
        definition = request.response_definition or StreamResponseDefinition()
        info = _seen(context, "ServerStreamRequest", [request])
        _begin(definition.response_headers, definition.response_trailers, context)
        for number, data in enumerate(definition.response_data):
            await _delay(definition.response_delay_ms)
            yield _response(data, None if number else info)
        _end(definition, info, context)

    async def bidi_stream(
        self, requests: AsyncIterator[BidiStreamRequest], context: wire.ServerContext
    ) -> AsyncIterator[Response]:
        definition: StreamResponseDefinition | None = None
        waiting: list[BidiStreamRequest] = []
        full_duplex = False
        sent = 0
        async for request in requests:
            if definition is None:
                definition = request.response_definition or StreamResponseDefinition()
                full_duplex = request.full_duplex
                _begin(definition.response_headers, definition.response_trailers, context)
            waiting.append(request)
            if full_duplex:
                if sent >= len(definition.response_data):
                    break
                await _delay(definition.response_delay_ms)
                info = _seen(context, "BidiStreamRequest", waiting, headers=sent == 0)
                yield _response(definition.response_data[sent], info)
                waiting.clear()
                sent += 1
        definition = definition or StreamResponseDefinition()
        info = _seen(context, "BidiStreamRequest", waiting)
        for number in range(sent, len(definition.response_data)):
            await _delay(definition.response_delay_ms)
            yield _response(definition.response_data[number], None if number else info)
        _end(definition, info, context)


async def _respond(
    definition: UnaryResponseDefinition | None, info: RequestInfo, context: wire.ServerContext
) -> Response:
    if definition is None:
        return _response(b"", info)
    await _delay(definition.response_delay_ms)
    if definition.error is not None:
        # The headers may go with the trailers: nothing else will be sent.
        _begin(definition.response_headers, definition.response_trailers, context)
        _fail(definition.error, info, definition.response_trailers, context)
    _begin(definition.response_headers, definition.response_trailers, context)
    return _response(definition.response_data or b"", info)


def _begin(headers: list[Header], trailers: list[Header], context: wire.ServerContext) -> None:
    context.set_trailing_metadata(to_metadata(trailers))
    context.send_initial_metadata(to_metadata(headers))


def _end(definition: StreamResponseDefinition, info: RequestInfo, context: wire.ServerContext) -> None:
    if definition.error is not None:
        told = None if definition.response_data else info
        _fail(definition.error, told, definition.response_trailers, context)


def _fail(error: Error, info: RequestInfo | None, trailers: list[Header], context: wire.ServerContext) -> None:
    """Raise what a definition says, with what was seen where no response has told it."""
    if info is not None:
        error.details.append(packed("ConformancePayload.RequestInfo", info))
    context.set_trailing_metadata([*to_metadata(trailers), (STATUS_DETAILS, to_details(error))])
    raise wire.RpcError(StatusCode(error.code), error.message or "")


def _seen(context: wire.ServerContext, name: str, requests: Sequence[object], *, headers: bool = True) -> RequestInfo:
    info = RequestInfo(requests=[packed(name, request) for request in requests])
    if headers:
        info.request_headers = to_headers(context.metadata)
        left_s = context.time_remaining()
        info.timeout_ms = None if left_s is None else round(left_s * 1000)
    return info


def _response(data: bytes, info: RequestInfo | None) -> Response:
    return Response(payload=ConformancePayload(data=data, request_info=info))


async def _delay(milliseconds: int) -> None:
    if milliseconds:
        await anyio.sleep(milliseconds / 1000)


def _tls(request: ServerCompatRequest, folder: Path) -> wire.ServerTls | None:
    if not request.use_tls:
        return None
    assert request.server_creds is not None
    certificate, key, client_ca = folder / "certificate.pem", folder / "key.pem", folder / "client.pem"
    certificate.write_bytes(request.server_creds.cert)
    key.write_bytes(request.server_creds.key)
    if not request.client_tls_cert:
        return wire.ServerTls(certificate, key)
    client_ca.write_bytes(request.client_tls_cert)
    return wire.ServerTls(certificate, key, client_ca)


async def serve(engine: EngineName) -> None:
    request = read_message(ServerCompatRequest)
    if request is None:
        return
    with TemporaryDirectory() as folder:
        tls = _tls(request, Path(folder))
        limit = request.message_receive_limit or 1 << 22
        config = wire.ServerConfig(engine=engine, calls=wire.CallConfig(max_receive_message_bytes=limit))
        async with wire.Server([ConformanceServicer()], config=config, tls=tls) as server:
            host, _, port = (await server.listen("127.0.0.1:0")).removeprefix("ipv4:").rpartition(":")
            certificate = request.server_creds.cert if tls is not None and request.server_creds is not None else b""
            write_message(ServerCompatResponse(host=host, port=int(port), pem_cert=certificate))
            await anyio.sleep_forever()  # until SIGTERM, as the runner has it


if __name__ == "__main__":
    wire.run(serve, cast(EngineName, sys.argv[1] if len(sys.argv) > 1 else "tuned"))
