"""gRPC's interop cases by a grpcio client: `python -m tests.interop.grpcio_client TARGET [CA]`.

Prints a JSON line for each case: {"case": NAME, "failure": TEXT or null}. The messages are wire's; everything on the
wire is grpcio's. The cases that need accounts at Google are left out.
"""

from __future__ import annotations

import json
import queue
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

import wire
from tests.interop.cases import (
    LARGE_REQUEST_BYTES,
    LARGE_RESPONSE_BYTES,
    REQUEST_SIZES,
    RESPONSE_SIZES,
    SOAK_ITERATIONS,
    SPECIAL_TEXT,
    STATUS_TEXT,
    outputs,
    payload,
    simple,
)
from tests.interop.generated.grpc.testing import (
    BoolValue,
    EchoStatus,
    Empty,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)
from tests.interop.grpc_testing import ECHO_INITIAL, ECHO_TRAILING, TEST_SERVICE, UNIMPLEMENTED_SERVICE

TIMEOUT_S = 30.0
MEGABYTES = 3_000_000


class Stub:
    """A channel of its own, and its methods by their names in Python."""

    def __init__(self, channel: Any, service: wire.Service) -> None:
        for method in service.methods:
            kinds = ("stream" if each else "unary" for each in (method.streams_requests, method.streams_responses))
            callable_ = getattr(channel, "_".join(kinds))(
                method.path,
                request_serializer=method.request.encode,
                response_deserializer=method.response.decode,
            )
            setattr(self, method.attribute, callable_)

    def __getattr__(self, name: str) -> Any:  # for the type checker
        raise AttributeError(name)


class Client:
    def __init__(self, target: str, ca: str | None) -> None:
        self._target = target
        self._credentials = None if ca is None else grpc.ssl_channel_credentials(Path(ca).read_bytes())

    @contextmanager
    def stub(self, service: wire.Service = TEST_SERVICE) -> Iterator[Stub]:
        options = [("grpc.use_local_subchannel_pool", 1)]  # so that channel_soak makes connections
        if self._credentials is None:
            channel = grpc.insecure_channel(self._target, options)
        else:
            channel = grpc.secure_channel(self._target, self._credentials, options)
        with channel:
            yield Stub(channel, service)


def _large(stub: Stub, **options: Any) -> Any:
    response, call = stub.unary_call.with_call(
        simple(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES), timeout=TIMEOUT_S, **options
    )
    assert len(response.payload.body) == LARGE_RESPONSE_BYTES
    return call


def _fails(call: Callable[[], object], code: Any, text: str | None = None) -> None:
    try:
        call()
    except grpc.RpcError as error:
        ended = error
    else:
        raise AssertionError(f"{code} was expected, and the call succeeded")
    assert ended.code() == code, f"{code} was expected, and got {ended.code()}: {ended.details()}"
    assert text is None or ended.details() == text, f"{text!r} was expected, and got {ended.details()!r}"


class _Requests:
    """Requests that are given one after the other."""

    def __init__(self) -> None:
        self._queue: queue.Queue[StreamingOutputCallRequest | None] = queue.Queue()
        self.send = self._queue.put

    def __iter__(self) -> Iterator[StreamingOutputCallRequest]:
        while (request := self._queue.get()) is not None:
            yield request


def empty_unary(client: Client) -> None:
    with client.stub() as stub:
        assert stub.empty_call(Empty(), timeout=TIMEOUT_S) == Empty()


def large_unary(client: Client) -> None:
    with client.stub() as stub:
        _large(stub)


def client_streaming(client: Client) -> None:
    _stream_in(client, REQUEST_SIZES)


def _stream_in(client: Client, sizes: Sequence[int], *, compressed: bool | None = None) -> None:
    expected = None if compressed is None else BoolValue(value=compressed)
    requests = [StreamingInputCallRequest(payload=payload(size), expect_compressed=expected) for size in sizes]
    with client.stub() as stub:
        response = stub.streaming_input_call(iter(requests), timeout=TIMEOUT_S, compression=_compression(compressed))
    assert response.aggregated_payload_size == sum(sizes)


def _compression(compressed: bool | None) -> Any:
    return grpc.Compression.Gzip if compressed else None


def server_streaming(client: Client) -> None:
    with client.stub() as stub:
        responses = stub.streaming_output_call(outputs(*RESPONSE_SIZES), timeout=TIMEOUT_S)
        assert [len(response.payload.body) for response in responses] == list(RESPONSE_SIZES)


def ping_pong(client: Client) -> None:
    requests = _Requests()
    with client.stub() as stub:
        responses = stub.full_duplex_call(iter(requests), timeout=TIMEOUT_S)
        for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True):
            requests.send(outputs(response_size, request_size=request_size))
            assert len(next(responses).payload.body) == response_size
        requests.send(None)
        assert list(responses) == []


def empty_stream(client: Client) -> None:
    with client.stub() as stub:
        assert list(stub.full_duplex_call(iter(()), timeout=TIMEOUT_S)) == []


def timeout_on_sleeping_server(client: Client) -> None:
    requests = _Requests()
    with client.stub() as stub:
        requests.send(StreamingOutputCallRequest(payload=payload(27_182)))
        responses = stub.full_duplex_call(iter(requests), timeout=0.001)
        _fails(lambda: next(responses), grpc.StatusCode.DEADLINE_EXCEEDED)
        requests.send(None)


def cancel_after_begin(client: Client) -> None:
    requests = _Requests()
    with client.stub() as stub:
        call = stub.streaming_input_call.future(iter(requests))
        call.cancel()
        assert call.cancelled()
        assert call.code() == grpc.StatusCode.CANCELLED
        requests.send(None)


def cancel_after_first_response(client: Client) -> None:
    requests = _Requests()
    with client.stub() as stub:
        responses = stub.full_duplex_call(iter(requests), timeout=TIMEOUT_S)
        requests.send(outputs(31_415, request_size=27_182))
        next(responses)
        responses.cancel()
        _fails(lambda: next(responses), grpc.StatusCode.CANCELLED)
        requests.send(None)


def _status(client: Client, text: str) -> None:
    status = EchoStatus(code=2, message=text)
    unknown = grpc.StatusCode.UNKNOWN
    with client.stub() as stub:
        _fails(lambda: stub.unary_call(SimpleRequest(response_status=status), timeout=TIMEOUT_S), unknown, text)
        requests = iter([StreamingOutputCallRequest(response_status=status)])
        _fails(lambda: list(stub.full_duplex_call(requests, timeout=TIMEOUT_S)), unknown, text)


def status_code_and_message(client: Client) -> None:
    _status(client, STATUS_TEXT)


def special_status_message(client: Client) -> None:
    _status(client, SPECIAL_TEXT)


def unimplemented_method(client: Client) -> None:
    with client.stub() as stub:
        _fails(lambda: stub.unimplemented_call(Empty(), timeout=TIMEOUT_S), grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_service(client: Client) -> None:
    with client.stub(UNIMPLEMENTED_SERVICE) as stub:
        _fails(lambda: stub.unimplemented_call(Empty(), timeout=TIMEOUT_S), grpc.StatusCode.UNIMPLEMENTED)


def custom_metadata(client: Client) -> None:
    given = [(ECHO_INITIAL, "test_initial_metadata_value"), (ECHO_TRAILING, b"\xab\xab\xab")]
    with client.stub() as stub:
        unary = _large(stub, metadata=given)
        stream = stub.full_duplex_call(
            iter([outputs(LARGE_RESPONSE_BYTES, request_size=27_182)]), metadata=given, timeout=TIMEOUT_S
        )
        assert len(list(stream)) == 1
        for call in (unary, stream):
            assert given[0] in [tuple(each) for each in call.initial_metadata()]
            assert given[1] in [tuple(each) for each in call.trailing_metadata()]


def client_compressed_unary(client: Client) -> None:
    request = simple(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES)
    with client.stub() as stub:
        request.expect_compressed = BoolValue(value=True)
        _fails(lambda: stub.unary_call(request, timeout=TIMEOUT_S), grpc.StatusCode.INVALID_ARGUMENT)  # the probe
        for compressed in (True, False):
            request.expect_compressed = BoolValue(value=compressed)
            response = stub.unary_call(request, timeout=TIMEOUT_S, compression=_compression(compressed))
            assert len(response.payload.body) == LARGE_RESPONSE_BYTES


def client_compressed_streaming(client: Client) -> None:
    for compressed in (True, False):
        _stream_in(client, (27_182, 45_904), compressed=compressed)


def rpc_soak(client: Client) -> None:
    with client.stub() as stub:
        for _ in range(SOAK_ITERATIONS):
            _large(stub)


def channel_soak(client: Client) -> None:
    for _ in range(SOAK_ITERATIONS):
        large_unary(client)


def megabytes_at_once(client: Client) -> None:
    """Not gRPC's: 20 calls at once with 3 MB each way."""
    request = simple(MEGABYTES, MEGABYTES)
    with client.stub() as stub, ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(stub.unary_call, request, timeout=TIMEOUT_S) for _ in range(20)]
        assert all(len(call.result().payload.body) == MEGABYTES for call in calls)


CASES = (
    *(empty_unary, large_unary, client_streaming, server_streaming, ping_pong, empty_stream),
    *(timeout_on_sleeping_server, cancel_after_begin, cancel_after_first_response),
    *(status_code_and_message, special_status_message, unimplemented_method, unimplemented_service, custom_metadata),
    *(client_compressed_unary, client_compressed_streaming, rpc_soak, channel_soak, megabytes_at_once),
)


def main(target: str, ca: str | None = None) -> None:
    client = Client(target, ca)
    for case in CASES:
        failure = None
        try:
            case(client)
        except grpc.RpcError as error:
            failure = f"{error.code().name}: {error.details()}"
        except Exception as error:
            failure = str(error) or repr(error)
        print(json.dumps({"case": case.__name__, "failure": failure}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
