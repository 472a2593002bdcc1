"""connectconformance's client under test: `python -m tests.interop.conformance_client [ENGINE]`.

Reads ClientCompatRequests from standard input, makes the call that each describes, and writes what came of it as a
ClientCompatResponse. Imports `wire` alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import anyio

import wire
from tests.interop.conformance import from_details, read_message, to_headers, to_metadata, write_message
from tests.interop.generated.connectrpc.conformance.v1 import (
    Cancel,
    ClientCompatRequest,
    ClientCompatResponse,
    ClientErrorResult,
    ClientResponseResult,
    Compression,
    ConformancePayload,
    Error,
    Response,
)
from wire.config import CompressionName, EngineName
from wire.service_names import python_name
from wire.status import StatusCode

UNARY = wire.UnaryUnary("Unary", bytes, Response)
IDEMPOTENT_UNARY = wire.UnaryUnary("IdempotentUnary", bytes, Response)
UNIMPLEMENTED = wire.UnaryUnary("Unimplemented", bytes, bytes)
SERVER_STREAM = wire.UnaryStream("ServerStream", bytes, Response)
CLIENT_STREAM = wire.StreamUnary("ClientStream", bytes, Response)
BIDI_STREAM = wire.StreamStream("BidiStream", bytes, Response)
SERVICE = wire.Service(
    "connectrpc.conformance.v1.ConformanceService",
    (UNARY, IDEMPOTENT_UNARY, UNIMPLEMENTED, SERVER_STREAM, CLIENT_STREAM, BIDI_STREAM),
)
FULL_DUPLEX = 5  # STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM
AT_ONCE = 4
COMPRESSIONS: dict[int, CompressionName] = {
    Compression.GZIP: "gzip",
    Compression.DEFLATE: "deflate",
    Compression.ZSTD: "zstd",
}


class ConformanceStub(wire.Stub):
    service = SERVICE
    unary = UNARY
    idempotent_unary = IDEMPOTENT_UNARY
    unimplemented = UNIMPLEMENTED
    server_stream = SERVER_STREAM
    client_stream = CLIENT_STREAM
    bidi_stream = BIDI_STREAM


class Attempt:
    """One call as its request describes it, and what came of it."""

    def __init__(self, stub: ConformanceStub, request: ClientCompatRequest) -> None:
        self._request = request
        self._messages = [message.value for message in request.request_messages]
        self._cancel = request.cancel or Cancel()
        self._start = getattr(stub, python_name(request.method or ""))
        self._options = {
            "metadata": to_metadata(request.request_headers),
            "timeout": None if request.timeout_ms is None else request.timeout_ms / 1000,
        }
        self._payloads: list[ConformancePayload] = []
        self._sent = 0

    async def run(self) -> ClientResponseResult:
        method = next(method for method in SERVICE.methods if method.name == self._request.method)
        if method.streams_requests:
            call = self._start(**self._options)
        else:
            await self._delay()
            call = self._start(self._messages[0], **self._options)
            self._sent = 1
        try:
            if method.streams_requests:
                await self._send_all(call, full_duplex=self._request.stream_type == FULL_DUPLEX)
            if self._cancel.after_close_send_ms is not None:
                await anyio.sleep(self._cancel.after_close_send_ms / 1000)
                call.cancel()
            if method.streams_responses:
                async for response in call:
                    self._received(call, response)
            else:
                self._received(call, await call)
        except wire.RpcError:
            pass  # `call` has it
        except wire.UsageError:  # a call that the server ended well, and takes no more: read what it said
            async for response in call:
                self._received(call, response)
        return self._result(call)

    async def _send_all(self, call: Any, *, full_duplex: bool) -> None:
        responses = aiter(call) if full_duplex else None
        try:
            for message in self._messages:
                await self._delay()
                await call.send(message)
                self._sent += 1
                if responses is not None:
                    response = await anext(responses, None)
                    if response is not None:
                        self._received(call, response)
            if self._cancel.before_close_send is not None:
                call.cancel()
            await call.end()
        except wire.RpcError:
            pass  # whoever reads the responses is told, after those that had come

    def _received(self, call: Any, response: object) -> None:
        if isinstance(response, Response):
            self._payloads.append(response.payload or ConformancePayload())
        if len(self._payloads) == self._cancel.after_num_responses:
            call.cancel()

    async def _delay(self) -> None:
        if self._request.request_delay_ms:
            await anyio.sleep(self._request.request_delay_ms / 1000)

    def _result(self, call: Any) -> ClientResponseResult:
        trailers = call.trailing_metadata or wire.Metadata()
        result = ClientResponseResult(
            response_headers=to_headers(call.initial_metadata or ()),
            response_trailers=to_headers(trailers),
            payloads=self._payloads,
            num_unsent_requests=len(self._messages) - self._sent,
        )
        if call.code != StatusCode.OK:
            result.error = Error(code=call.code, message=call.message, details=from_details(trailers))
        return result


def _tls(request: ClientCompatRequest, folder: Path) -> wire.ClientTls | None:
    if not request.server_tls_cert:
        return None
    roots, certificate, key = folder / "roots.pem", folder / "certificate.pem", folder / "key.pem"
    roots.write_bytes(request.server_tls_cert)
    if request.client_tls_creds is None:
        return wire.ClientTls(roots)
    certificate.write_bytes(request.client_tls_creds.cert)
    key.write_bytes(request.client_tls_creds.key)
    return wire.ClientTls(roots, certificate, key)


async def attempt(request: ClientCompatRequest, engine: EngineName) -> ClientCompatResponse:
    limit = request.message_receive_limit or 1 << 22
    compression = COMPRESSIONS.get(request.compression)
    calls = wire.CallConfig(compression=compression, max_receive_message_bytes=limit)
    config = wire.ChannelConfig(engine=engine, calls=calls)
    answer = ClientCompatResponse(test_name=request.test_name)
    try:
        with TemporaryDirectory() as folder:
            target = f"{request.host}:{request.port}"
            async with wire.Channel(target, config=config, tls=_tls(request, Path(folder))) as channel:
                answer.response = await Attempt(ConformanceStub(channel), request).run()
    except Exception as error:
        answer.error = ClientErrorResult(message=repr(error))
    return answer


async def main(engine: EngineName) -> None:
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(request: ClientCompatRequest) -> None:
        async with limit:
            write_message(await attempt(request, engine))

    async with anyio.create_task_group() as tasks:
        while (request := await anyio.to_thread.run_sync(read_message, ClientCompatRequest)) is not None:
            tasks.start_soon(one, request)


if __name__ == "__main__":
    wire.run(main, cast(EngineName, sys.argv[1] if len(sys.argv) > 1 else "tuned"))
