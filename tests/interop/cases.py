"""gRPC's interop cases as a wire client makes them (interop-test-descriptions.md): `CASES`, by their names.

A case is given `connect`, which makes channels to a server of grpc.testing.TestService, and raises `AssertionError` or
`wire.RpcError` where the server or wire does wrong. Imports `wire` alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import anyio

import wire
from tests.interop.generated.grpc.testing import (
    BoolValue,
    EchoStatus,
    Empty,
    Payload,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)
from tests.interop.grpc_testing import ECHO_INITIAL, ECHO_TRAILING, GrpcTestingStub, UnimplementedStub
from wire.config import CompressionName
from wire.status import StatusCode

LARGE_REQUEST_BYTES = 271_828
LARGE_RESPONSE_BYTES = 314_159
REQUEST_SIZES = (27_182, 8, 1_828, 45_904)
RESPONSE_SIZES = (31_415, 9, 2_653, 58_979)
SOAK_ITERATIONS = 10
STATUS_TEXT = "test status message"
SPECIAL_TEXT = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


class Connect(Protocol):
    def __call__(self, *, compression: CompressionName | None = None) -> AbstractAsyncContextManager[wire.Channel]: ...


Case = Callable[[Connect], Awaitable[None]]


def payload(size: int) -> Payload:
    return Payload(body=bytes(size))


def outputs(*sizes: int, request_size: int = 0) -> StreamingOutputCallRequest:
    """A request for responses of these sizes."""
    wanted = [ResponseParameters(size=size) for size in sizes]
    return StreamingOutputCallRequest(response_parameters=wanted, payload=payload(request_size))


def simple(request_size: int, response_size: int) -> SimpleRequest:
    return SimpleRequest(payload=payload(request_size), response_size=response_size)


async def unary(stub: GrpcTestingStub, request_size: int, response_size: int) -> None:
    """One unary call, and its response of the right size."""
    response = await stub.unary_call(simple(request_size, response_size))
    assert response.payload is not None or response_size == 0
    assert response.payload is None or response.payload.body == bytes(response_size)


async def _fails(call: Awaitable[object], code: StatusCode, text: str | None = None) -> None:
    try:
        await call
    except wire.RpcError as error:
        ended = error
    else:
        raise AssertionError(f"{code.name} was expected, and the call succeeded")
    assert ended.code == code, f"{code.name} was expected, and got {ended}"
    assert text is None or ended.message == text, f"{text!r} was expected, and got {ended.message!r}"


async def empty_unary(connect: Connect) -> None:
    async with connect() as channel:
        assert await GrpcTestingStub(channel).empty_call(Empty()) == Empty()


async def large_unary(connect: Connect) -> None:
    async with connect() as channel:
        await unary(GrpcTestingStub(channel), LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)


async def client_streaming(connect: Connect) -> None:
    async with connect() as channel:
        requests = [StreamingInputCallRequest(payload=payload(size)) for size in REQUEST_SIZES]
        response = await GrpcTestingStub(channel).streaming_input_call(requests)
        assert response.aggregated_payload_size == sum(REQUEST_SIZES)


async def server_streaming(connect: Connect) -> None:
    async with connect() as channel:
        sizes = [
            len(response.payload.body) if response.payload else 0
            async for response in GrpcTestingStub(channel).streaming_output_call(outputs(*RESPONSE_SIZES))
        ]
        assert sizes == list(RESPONSE_SIZES)


async def ping_pong(connect: Connect) -> None:
    async with connect() as channel, GrpcTestingStub(channel).full_duplex_call() as call:
        responses = aiter(call)
        for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            await call.send(outputs(response_size, request_size=request_size))
            response = await anext(responses)
            assert response.payload is not None
            assert len(response.payload.body) == response_size
        await call.end()
        assert [response async for response in responses] == []


async def empty_stream(connect: Connect) -> None:
    async with connect() as channel:
        assert [response async for response in GrpcTestingStub(channel).full_duplex_call([])] == []


async def timeout_on_sleeping_server(connect: Connect) -> None:
    async with connect() as channel:
        stub = GrpcTestingStub(channel)
        await stub.empty_call(Empty())  # so that the millisecond is not spent on connecting
        async with stub.full_duplex_call(timeout=0.001) as call:
            try:
                await call.send(StreamingOutputCallRequest(payload=payload(27_182)))
            except wire.RpcError:
                pass  # whoever reads is told
            await _fails(anext(aiter(call)), StatusCode.DEADLINE_EXCEEDED)


async def cancel_after_begin(connect: Connect) -> None:
    async with connect() as channel:
        call = GrpcTestingStub(channel).streaming_input_call()
        call.cancel()
        await _fails(call, StatusCode.CANCELLED)


async def cancel_after_first_response(connect: Connect) -> None:
    async with connect() as channel:
        call = GrpcTestingStub(channel).full_duplex_call()
        responses = aiter(call)
        await call.send(outputs(31_415, request_size=27_182))
        await anext(responses)
        call.cancel()
        await _fails(anext(responses), StatusCode.CANCELLED)


async def _status(connect: Connect, text: str) -> None:
    status = EchoStatus(code=StatusCode.UNKNOWN, message=text)
    async with connect() as channel:
        stub = GrpcTestingStub(channel)
        await _fails(stub.unary_call(SimpleRequest(response_status=status)), StatusCode.UNKNOWN, text)
        async with stub.full_duplex_call([StreamingOutputCallRequest(response_status=status)]) as call:
            await _fails(anext(aiter(call)), StatusCode.UNKNOWN, text)


async def status_code_and_message(connect: Connect) -> None:
    await _status(connect, STATUS_TEXT)


async def special_status_message(connect: Connect) -> None:
    await _status(connect, SPECIAL_TEXT)


async def unimplemented_method(connect: Connect) -> None:
    async with connect() as channel:
        await _fails(GrpcTestingStub(channel).unimplemented_call(Empty()), StatusCode.UNIMPLEMENTED)


async def unimplemented_service(connect: Connect) -> None:
    async with connect() as channel:
        await _fails(UnimplementedStub(channel).unimplemented_call(Empty()), StatusCode.UNIMPLEMENTED)


async def custom_metadata(connect: Connect) -> None:
    text, binary = "test_initial_metadata_value", b"\xab\xab\xab"
    metadata: list[tuple[str, str | bytes]] = [(ECHO_INITIAL, text), (ECHO_TRAILING, binary)]
    async with connect() as channel:
        stub = GrpcTestingStub(channel)
        call = stub.unary_call(simple(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES), metadata=metadata)
        await call
        stream = stub.full_duplex_call([outputs(LARGE_RESPONSE_BYTES, request_size=27_182)], metadata=metadata)
        assert len([response async for response in stream]) == 1
        for ended in (call, stream):
            assert ended.initial_metadata is not None
            assert ended.initial_metadata[ECHO_INITIAL] == text
            assert ended.trailing_metadata is not None
            assert ended.trailing_metadata[ECHO_TRAILING] == binary


async def client_compressed_unary(connect: Connect) -> None:
    """Without the probe: a server need not check what it is told to expect."""
    for compression in ("gzip", None):
        async with connect(compression="gzip" if compression else None) as channel:
            request = simple(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)
            request.expect_compressed = BoolValue(value=compression is not None)
            response = await GrpcTestingStub(channel).unary_call(request)
            assert response.payload is not None
            assert len(response.payload.body) == LARGE_RESPONSE_BYTES


async def client_compressed_streaming(connect: Connect) -> None:
    for compression in ("gzip", None):
        async with connect(compression="gzip" if compression else None) as channel:
            expected = BoolValue(value=compression is not None)
            sizes = (27_182, 45_904)
            requests = [StreamingInputCallRequest(payload=payload(size), expect_compressed=expected) for size in sizes]
            response = await GrpcTestingStub(channel).streaming_input_call(requests)
            assert response.aggregated_payload_size == sum(sizes)


async def server_compressed_unary(connect: Connect) -> None:
    """The response may come compressed or not: what is held is that it is understood."""
    async with connect() as channel:
        request = simple(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)
        request.response_compressed = BoolValue(value=True)
        response = await GrpcTestingStub(channel).unary_call(request)
        assert response.payload is not None
        assert response.payload.body == bytes(LARGE_RESPONSE_BYTES)


async def server_compressed_streaming(connect: Connect) -> None:
    sizes = (31_415, 92_653)
    wanted = [ResponseParameters(size=size, compressed=BoolValue(value=True)) for size in sizes]
    async with connect() as channel:
        call = GrpcTestingStub(channel).streaming_output_call(StreamingOutputCallRequest(response_parameters=wanted))
        assert [len(each.payload.body) async for each in call if each.payload is not None] == list(sizes)


async def rpc_soak(connect: Connect) -> None:
    async with connect() as channel:
        for _ in range(SOAK_ITERATIONS):
            await unary(GrpcTestingStub(channel), LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)


async def channel_soak(connect: Connect) -> None:
    for _ in range(SOAK_ITERATIONS):
        await large_unary(connect)


async def megabytes_at_once(connect: Connect) -> None:
    """Not gRPC's: 20 calls at once with 3 MB each way, on one connection."""
    async with connect() as channel, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(unary, GrpcTestingStub(channel), 3_000_000, 3_000_000)


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        timeout_on_sleeping_server,
        cancel_after_begin,
        cancel_after_first_response,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
        custom_metadata,
        client_compressed_unary,
        client_compressed_streaming,
        server_compressed_unary,
        server_compressed_streaming,
        rpc_soak,
        channel_soak,
        megabytes_at_once,
    )
}
