"""grpc.testing.TestService on wire: description, stub and servicer (gRPC's interop-test-descriptions.md).

Messages are generated from `protos/`. Imports `wire` alone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import anyio

import wire
from tests.interop.generated.grpc.testing import (
    EchoStatus,
    Empty,
    Payload,
    ResponseParameters,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

EMPTY_CALL = wire.UnaryUnary("EmptyCall", Empty, Empty)
UNARY_CALL = wire.UnaryUnary("UnaryCall", SimpleRequest, SimpleResponse)
STREAMING_OUTPUT_CALL = wire.UnaryStream("StreamingOutputCall", StreamingOutputCallRequest, StreamingOutputCallResponse)
STREAMING_INPUT_CALL = wire.StreamUnary("StreamingInputCall", StreamingInputCallRequest, StreamingInputCallResponse)
FULL_DUPLEX_CALL = wire.StreamStream("FullDuplexCall", StreamingOutputCallRequest, StreamingOutputCallResponse)
UNIMPLEMENTED_CALL = wire.UnaryUnary("UnimplementedCall", Empty, Empty)
TEST_SERVICE = wire.Service(
    "grpc.testing.TestService",
    (EMPTY_CALL, UNARY_CALL, STREAMING_OUTPUT_CALL, STREAMING_INPUT_CALL, FULL_DUPLEX_CALL, UNIMPLEMENTED_CALL),
)

UNIMPLEMENTED_SERVICE_CALL = wire.UnaryUnary("UnimplementedCall", Empty, Empty)
UNIMPLEMENTED_SERVICE = wire.Service("grpc.testing.UnimplementedService", (UNIMPLEMENTED_SERVICE_CALL,))

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
SERVER_ID = str(os.getpid())


class GrpcTestingStub(wire.Stub):
    service = TEST_SERVICE
    empty_call = EMPTY_CALL
    unary_call = UNARY_CALL
    streaming_output_call = STREAMING_OUTPUT_CALL
    streaming_input_call = STREAMING_INPUT_CALL
    full_duplex_call = FULL_DUPLEX_CALL
    unimplemented_call = UNIMPLEMENTED_CALL


class UnimplementedStub(wire.Stub):
    service = UNIMPLEMENTED_SERVICE
    unimplemented_call = UNIMPLEMENTED_SERVICE_CALL


class GrpcTestingServicer(wire.Servicer):
    """Does what requests ask for. UnimplementedCall has no handler on purpose."""

    service = TEST_SERVICE

    def empty_call(self, request: Empty, context: wire.ServerContext) -> Empty:
        return Empty()

    def unary_call(self, request: SimpleRequest, context: wire.ServerContext) -> SimpleResponse:
        _echo_metadata(context)
        if request.expect_compressed is not None:
            _check_compressed(request.expect_compressed.value, context)
        _raise_status(request.response_status)
        server_id = SERVER_ID if request.fill_server_id else ""
        return SimpleResponse(payload=Payload(body=bytes(request.response_size)), server_id=server_id)

    async def streaming_output_call(
        self, request: StreamingOutputCallRequest, context: wire.ServerContext
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        for wanted in request.response_parameters:
            yield await _output(wanted)
        _raise_status(request.response_status)

    async def streaming_input_call(
        self, requests: AsyncIterator[StreamingInputCallRequest], context: wire.ServerContext
    ) -> StreamingInputCallResponse:
        size = 0
        async for request in requests:
            if request.expect_compressed is not None:
                _check_compressed(request.expect_compressed.value, context)
            size += 0 if request.payload is None else len(request.payload.body)
        return StreamingInputCallResponse(aggregated_payload_size=size)

    async def full_duplex_call(
        self, requests: AsyncIterator[StreamingOutputCallRequest], context: wire.ServerContext
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        _echo_metadata(context)
        async for request in requests:
            for wanted in request.response_parameters:
                yield await _output(wanted)
            _raise_status(request.response_status)


def _echo_metadata(context: wire.ServerContext) -> None:
    given = context.metadata
    if ECHO_TRAILING in given:
        context.set_trailing_metadata([(ECHO_TRAILING, given[ECHO_TRAILING])])
    if ECHO_INITIAL in given:
        context.send_initial_metadata([(ECHO_INITIAL, given[ECHO_INITIAL])])


def _check_compressed(expected: bool, context: wire.ServerContext) -> None:
    """Judged by the call: wire's handlers do not see whether a single message was compressed."""
    if expected != (context.head.decompress is not None):
        raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, "the request's compression is not what it says")


def _raise_status(status: EchoStatus | None) -> None:
    if status is not None and status.code:
        raise wire.RpcError(wire.StatusCode(status.code), status.message)


async def _output(wanted: ResponseParameters) -> StreamingOutputCallResponse:
    if wanted.interval_us:
        await anyio.sleep(wanted.interval_us / 1e6)
    return StreamingOutputCallResponse(payload=Payload(body=bytes(wanted.size)))
