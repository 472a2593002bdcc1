"""One call on a server, asked by a peer that speaks frames: what each input comes to, with nothing else harmed."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.http2 import frames
from tests.peers import RawPeer, ask, ask_once, request
from tests.support import Probe, paired, run, status_of
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode
from wire.rpc.framing import frame as framed

# Requests.


def test_a_unary_call_is_answered_with_headers_message_and_trailers(engine: EngineName) -> None:
    answer = ask_once(framed(b"hello"), engine=engine)
    assert dict(answer.headers)[b":status"] == b"200"
    assert dict(answer.headers)[b"content-type"] == b"application/grpc"
    assert answer.data == framed(b"hello")
    assert answer.trailers == ((b"grpc-status", b"0"),)


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "ClientStream", "Bidi"])
def test_requests_may_come_in_any_pieces(engine: EngineName, method: str) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.send(frames.headers(1, request(method)))
        for byte in framed(b"ab"):
            await peer.send(frames.data(1, bytes([byte])))
        await peer.send(frames.data(1, end=True))
        answer = await peer.answer(1)
        assert answer.status == StatusCode.OK
        assert answer.data == (framed(b"a") + framed(b"b") if method == "ServerStream" else framed(b"ab"))

    ask(test, engine=engine)


@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
@pytest.mark.parametrize("first", [1, 4, 5, 6])
def test_the_first_bytes_of_a_message_may_come_by_themselves(engine: EngineName, method: str, first: int) -> None:
    messages = [b"a" * 40_000, b"", b"b" * 10, b"c" * 20_000]

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.send(frames.headers(1, request(method)))
        for message in map(framed, messages):
            await peer.send(frames.data(1, message[:first]))
            await peer.send(frames.data(1, message[first:]) if message[first:] else b"")
        await peer.send(frames.data(1, end=True))
        answer = await peer.answer(1)
        assert answer.status == StatusCode.OK
        assert answer.data == (b"".join(map(framed, messages)) if method == "Bidi" else framed(b"".join(messages)))

    ask(test, engine=engine)


def test_request_trailers_end_the_request(engine: EngineName) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"x"), end=False)
        await peer.send(frames.headers(1, ((b"checksum", b"1"),), end=True))
        assert (await peer.answer(1)).data == framed(b"x")

    ask(test, engine=engine)


@pytest.mark.parametrize("method", ["Unary", "ClientStream", "Bidi"])
@pytest.mark.parametrize("body", [b"\0", framed(b"hello")[:-1]], ids=["prefix", "message"])
def test_end_in_the_middle_of_a_message_is_internal(engine: EngineName, method: str, body: bytes) -> None:
    answer = ask_once(body, fields=request(method), engine=engine)
    assert answer.status == StatusCode.INTERNAL
    assert not answer.data


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
@pytest.mark.parametrize(
    ("prefix", "extra", "code"),
    [
        (b"\x02\0\0\0\x01x", (), StatusCode.INTERNAL),
        (b"\x01\0\0\0\x01x", (), StatusCode.INTERNAL),
        (b"\x01\0\0\0\x01x", ((b"grpc-encoding", b"identity"),), StatusCode.INTERNAL),
        (b"\x01\0\0\0\x01x", ((b"grpc-encoding", b"gzip"),), StatusCode.INTERNAL),
        (b"\x01\0\0\0\x01x", ((b"grpc-encoding", b"snappy"),), StatusCode.UNIMPLEMENTED),
        (b"\0\0\0\x04\x01", (), StatusCode.RESOURCE_EXHAUSTED),  # 1025 bytes announced, none sent
        (framed(bytes(1025)), (), StatusCode.RESOURCE_EXHAUSTED),
        (framed(bytes(2000), gzip.compress), ((b"grpc-encoding", b"gzip"),), StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=[
        "flag",
        "no encoding",
        "identity",
        "not gzip",
        "unknown encoding",
        "over the limit",
        "over the limit and whole",
        "bomb",
    ],
)
def test_a_message_that_breaks_the_rules_ends_its_call_at_once(
    engine: EngineName, method: str, prefix: bytes, extra: frames.Fields, code: StatusCode
) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        # One request is unfolded only when it is known to be the only one.
        end = len(prefix) > 1000 or (method == "Unary" and bool(extra))
        await peer.call(1, prefix, request(method, *extra), end=end)
        answer = await peer.answer(1)
        assert answer.status == code
        if code is StatusCode.UNIMPLEMENTED:
            assert b"gzip" in dict(answer.headers or ())[b"grpc-accept-encoding"]

    ask(test, engine=engine, calls=wire.CallConfig(max_receive_message_bytes=1024))


def test_compressed_requests_are_taken(engine: EngineName) -> None:
    answer = ask_once(
        framed(b"hello", gzip.compress), fields=request("Unary", (b"grpc-encoding", b"gzip")), engine=engine
    )
    assert answer.data == framed(b"hello")


@pytest.mark.parametrize("content_type", [b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_grpc_content_types_are_taken(content_type: bytes) -> None:
    assert ask_once(framed(b"x"), fields=request("Unary", (b"content-type", content_type))).status == StatusCode.OK


@pytest.mark.parametrize(
    "fields",
    [
        request("Unary", (b"content-type", b"application/json")),
        request("Unary", (b"content-type", b"application/grpc-web")),
        request("Unary", without=b"content-type"),
    ],
)
def test_other_content_types_are_refused_with_http_415(engine: EngineName, fields: frames.Fields) -> None:
    answer = ask_once(framed(b"x"), fields=fields, engine=engine)
    assert answer.http_status == 415


def test_methods_but_post_are_refused_with_http_405(engine: EngineName) -> None:
    answer = ask_once(b"", fields=request("Unary", (b":method", b"GET")), engine=engine)
    assert answer.http_status == 405
    assert dict(answer.headers)[b"allow"] == b"POST"


@pytest.mark.parametrize("path", [b"/probe.v1.Probe/Nothing", b"/other/Unary", b"probe.v1.Probe/Unary", b"/", b"*"])
def test_unknown_paths_are_unimplemented(engine: EngineName, path: bytes) -> None:
    answer = ask_once(framed(b"x"), fields=request("Unary", (b":path", path)), engine=engine)
    assert answer.http_status == 200
    assert answer.status == StatusCode.UNIMPLEMENTED
    assert answer.trailers is None  # Trailers-Only


@pytest.mark.parametrize("value", [b"1", b"S", b"123456789S", b"-1S", b"1.5S", b"1s", b"\xb2S"])
def test_a_malformed_timeout_is_internal(value: bytes) -> None:
    answer = ask_once(framed(b"x"), fields=request("Unary", (b"grpc-timeout", value)))
    assert answer.status == StatusCode.INTERNAL


def test_a_timeout_of_zero_has_passed_already() -> None:
    called: list[bytes] = []

    def unary(request: bytes, context: ServerContext) -> bytes:
        called.append(request)
        return request

    answer = ask_once(framed(b"x"), Probe(unary=unary), fields=request("Unary", (b"grpc-timeout", b"0S")))
    assert answer.status == StatusCode.DEADLINE_EXCEEDED
    assert called == [b"next"]


@pytest.mark.parametrize("method", ["Unary", "ServerStream"])
@pytest.mark.parametrize("body", [b"", framed(b"1") + framed(b"2")], ids=["none", "two"])
def test_not_exactly_one_request_is_unimplemented(engine: EngineName, method: str, body: bytes) -> None:
    assert ask_once(body, fields=request(method), engine=engine).status == StatusCode.UNIMPLEMENTED


def test_two_requests_in_frames_of_their_own_are_unimplemented(engine: EngineName) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"1"), end=False)
        await peer.send(frames.data(1, framed(b"2"), end=True))
        assert (await peer.answer(1)).status == StatusCode.UNIMPLEMENTED

    ask(test, engine=engine)


ECHO = wire.UnaryUnary("Unary", EchoRequest, EchoResponse)
ECHO_BIDI = wire.StreamStream("Bidi", EchoRequest, EchoResponse)
ECHO_SERVICE = wire.Service("probe.v1.Probe", (ECHO, ECHO_BIDI))


class Typed(wire.Servicer):
    service = ECHO_SERVICE

    def __init__(self) -> None:
        self.called = 0

    def unary(self, request: EchoRequest, context: ServerContext) -> EchoResponse:
        self.called += 1
        return EchoResponse(payload=request.payload)

    async def bidi(self, requests: AsyncIterator[EchoRequest], context: ServerContext) -> AsyncIterator[EchoResponse]:
        async for each in requests:
            self.called += 1
            yield EchoResponse(payload=each.payload)


@pytest.mark.parametrize("method", ["Unary", "Bidi"])
@pytest.mark.parametrize("message", [b"\x0a\x05hi", b"\xff\xff", b"\x08"], ids=["truncated", "tag", "no value"])
def test_an_undecodable_request_never_reaches_the_handler(engine: EngineName, method: str, message: bytes) -> None:
    servicer = Typed()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(message), request(method))
        assert (await peer.answer(1)).status == StatusCode.INTERNAL
        assert servicer.called == 0

    ask(test, servicer, engine=engine)


# Metadata.


def test_binary_metadata_is_taken_padded_unpadded_and_joined() -> None:
    seen: list[Any] = []

    def unary(request: bytes, context: ServerContext) -> bytes:
        seen.append((context.metadata.get_all("k-bin"), context.metadata["plain"]))
        return request

    fields = request("Unary", (b"k-bin", b"YQ==,YWI"), (b"k-bin", b"YWI="), (b"plain", b"a,b"))
    ask_once(framed(b""), Probe(unary=lambda r, c: unary(r, c) if not seen else r), fields=fields)
    assert seen == [([b"a", b"ab", b"ab"], "a,b")]


def test_binary_metadata_that_is_not_base64_is_internal() -> None:
    assert ask_once(framed(b""), fields=request("Unary", (b"k-bin", b"a*b"))).status == StatusCode.INTERNAL


def test_metadata_over_its_size_is_refused(engine: EngineName) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b""), request("Unary", (b"big", b"x" * 2000)))
        assert (await peer.answer(1)).reset is ErrorCode.ENHANCE_YOUR_CALM
        await peer.call(3, framed(b""), request("Unary", (b"small", b"x" * 500)))
        assert (await peer.answer(3)).status == StatusCode.OK

    ask(test, engine=engine, http2=wire.Http2Config(max_header_list_bytes=1024))


def test_the_handler_learns_who_calls_what() -> None:
    seen: list[Any] = []

    def unary(request: bytes, context: ServerContext) -> bytes:
        seen.append((context.method, context.peer.address.startswith("ipv4:127.0.0.1:"), context.time_remaining()))
        return request

    ask_once(framed(b""), Probe(unary=unary))
    assert seen[0] == ("/probe.v1.Probe/Unary", True, None)


def test_initial_and_trailing_metadata_travel(engine: EngineName) -> None:
    async def unary(request: bytes, context: ServerContext) -> bytes:
        context.send_initial_metadata([("first", "1"), ("first-bin", b"\0")])
        context.set_trailing_metadata([("last", "2"), ("last-bin", b"\xff")])
        with pytest.raises(wire.UsageError):
            context.send_initial_metadata()
        return request

    answer = ask_once(framed(b"x"), Probe(unary=unary), engine=engine)
    assert answer.headers[-2:] == ((b"first", b"1"), (b"first-bin", b"AA"))
    assert answer.trailers == ((b"grpc-status", b"0"), (b"last", b"2"), (b"last-bin", b"/w"))


# Statuses.


def test_a_handler_chooses_the_status() -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.NOT_FOUND, "grün 100%", trailing_metadata=wire.Metadata({"k": "v"}))

    answer = ask_once(framed(b""), Probe(unary=unary))
    assert answer.status == StatusCode.NOT_FOUND
    assert answer.message == "gr%C3%BCn 100%25"
    assert dict(answer.headers)[b"k"] == b"v"


def test_a_handler_cannot_fail_with_ok() -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.OK)

    assert ask_once(framed(b""), Probe(unary=unary)).status == StatusCode.UNKNOWN


def test_a_status_message_is_cut_before_it_can_break_the_connection(engine: EngineName) -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.ABORTED, "ü" * 100_000)

    async def main() -> None:
        async with paired(Probe(unary=unary), engine=engine) as pair:
            code, message = await status_of(pair.stub.unary(b""))
            assert code is StatusCode.ABORTED
            assert set(message) == {"ü"}

    run(main)


async def _raise_async(request: bytes, context: ServerContext) -> bytes:
    raise ValueError("secret")


def _raise(request: bytes, context: ServerContext) -> bytes:
    raise ValueError("secret")


@pytest.mark.parametrize("handler", [_raise, _raise_async])
def test_what_a_handler_raises_is_unknown_and_only_logged(
    handler: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask_once(framed(b""), Probe(unary=handler))
    assert answer.status == StatusCode.UNKNOWN
    assert "secret" not in answer.message
    (record, *_) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


@pytest.mark.parametrize("kind", ["async", "plain"])
def test_a_handler_that_raises_after_a_response_ends_in_trailers(engine: EngineName, kind: str) -> None:
    async def asynchronous(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("secret")

    def plain(request: bytes, context: ServerContext) -> Any:
        yield b"first"
        raise ValueError("secret")

    handler = asynchronous if kind == "async" else plain
    answer = ask_once(framed(b""), Probe(server_stream=handler), fields=request("ServerStream"), engine=engine)
    assert answer.data == framed(b"first")
    assert answer.trailers is not None
    assert answer.status == StatusCode.UNKNOWN
    assert "secret" not in answer.message


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "ClientStream", "Bidi"])
def test_a_response_that_cannot_be_encoded_is_internal(method: str, caplog: pytest.LogCaptureFixture) -> None:
    async def one(request: Any, context: ServerContext) -> Any:
        return None

    async def stream(request: Any, context: ServerContext) -> Any:
        yield None

    handler = stream if method in {"ServerStream", "Bidi"} else one
    answer = ask_once(framed(b"x"), Probe(**{method: handler}), fields=request(method))
    assert answer.status == StatusCode.INTERNAL
    assert "cannot be encoded" in caplog.text


@pytest.mark.parametrize("value", [b"bytes", "text", None, 1])
def test_a_streaming_handler_that_returns_no_stream_is_unknown(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask_once(framed(b""), Probe(server_stream=lambda request, context: value), fields=request("ServerStream"))
    assert answer.status == StatusCode.UNKNOWN
    assert "iterable" in caplog.text


def test_a_response_over_the_servers_limit_is_not_sent() -> None:
    answer = ask_once(framed(b"12345"), calls=wire.CallConfig(max_send_message_bytes=4))
    assert answer.status == StatusCode.RESOURCE_EXHAUSTED
    assert not answer.data


def test_a_plain_handler_may_return_an_awaitable() -> None:
    async def later(request: bytes) -> bytes:
        return request + b"!"

    answer = ask_once(framed(b"x"), Probe(unary=lambda request, context: later(request)))
    assert answer.data == framed(b"x!")


# Compression.


@pytest.mark.parametrize("method", ["Unary", "ServerStream"])
def test_responses_are_compressed_for_those_who_accept_it(method: str) -> None:
    fields = request(method, (b"grpc-accept-encoding", b"identity, gzip"))
    answer = ask_once(framed(b"x"), fields=fields, calls=wire.CallConfig(compression="gzip"))
    assert dict(answer.headers)[b"grpc-encoding"] == b"gzip"
    assert answer.data[0] == 1
    assert gzip.decompress(answer.data[5:]) == b"x"


@pytest.mark.parametrize("extra", [(), ((b"grpc-accept-encoding", b"identity,gzipped"),)])
def test_responses_are_left_plain_for_others(extra: frames.Fields) -> None:
    answer = ask_once(framed(b"x"), fields=request("Unary", *extra), calls=wire.CallConfig(compression="gzip"))
    assert b"grpc-encoding" not in dict(answer.headers)
    assert answer.data == framed(b"x")
