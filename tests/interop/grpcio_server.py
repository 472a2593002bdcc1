"""A server of grpc.testing.TestService on grpcio: `python -m tests.interop.grpcio_server ADDRESS [CERTIFICATE KEY]`.

Prints its port (of a UNIX socket: 1) and serves until its standard input ends. The messages are wire's; everything on
the wire is grpcio's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tests.interop.generated.grpc.testing import (
    EchoStatus,
    Empty,
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)
from tests.interop.grpc_testing import ECHO_INITIAL, ECHO_TRAILING, TEST_SERVICE

_STATUSES = {code.value[0]: code for code in grpc.StatusCode}


class TestService:
    """Does what requests ask for. UnimplementedCall has no handler on purpose."""

    def empty_call(self, request: Empty, context: Any) -> Empty:
        return Empty()

    def unary_call(self, request: SimpleRequest, context: Any) -> SimpleResponse:
        _echo_metadata(context)
        _end_with(request.response_status, context)
        return SimpleResponse(payload=Payload(body=bytes(request.response_size)))

    def streaming_output_call(
        self, request: StreamingOutputCallRequest, context: Any
    ) -> Iterator[StreamingOutputCallResponse]:
        for wanted in request.response_parameters:
            time.sleep(wanted.interval_us / 1e6)
            yield StreamingOutputCallResponse(payload=Payload(body=bytes(wanted.size)))

    def streaming_input_call(
        self, requests: Iterator[StreamingInputCallRequest], context: Any
    ) -> StreamingInputCallResponse:
        sizes = (0 if request.payload is None else len(request.payload.body) for request in requests)
        return StreamingInputCallResponse(aggregated_payload_size=sum(sizes))

    def full_duplex_call(
        self, requests: Iterator[StreamingOutputCallRequest], context: Any
    ) -> Iterator[StreamingOutputCallResponse]:
        _echo_metadata(context)
        for request in requests:
            yield from self.streaming_output_call(request, context)
            _end_with(request.response_status, context)


def _echo_metadata(context: Any) -> None:
    given = dict(context.invocation_metadata())
    if ECHO_INITIAL in given:
        context.send_initial_metadata([(ECHO_INITIAL, given[ECHO_INITIAL])])
    if ECHO_TRAILING in given:
        context.set_trailing_metadata([(ECHO_TRAILING, given[ECHO_TRAILING])])


def _end_with(status: EchoStatus | None, context: Any) -> None:
    if status is not None and status.code:
        context.abort(_STATUSES[status.code], status.message)


def _handlers() -> Any:
    service = TestService()
    handlers = {}
    for method in TEST_SERVICE.methods:
        handler = getattr(service, method.attribute, None)
        if handler is not None:
            kinds = ("stream" if each else "unary" for each in (method.streams_requests, method.streams_responses))
            handlers[method.name] = getattr(grpc, f"{'_'.join(kinds)}_rpc_method_handler")(
                handler,
                request_deserializer=method.request.decode,
                response_serializer=method.response.encode,
            )
    return grpc.method_handlers_generic_handler(TEST_SERVICE.name, handlers)


def main(address: str, certificate: str | None = None, key: str | None = None) -> None:
    server = grpc.server(ThreadPoolExecutor(30), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handlers(),))
    if certificate is None or key is None:
        port = server.add_insecure_port(address)
    else:
        pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
        port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
