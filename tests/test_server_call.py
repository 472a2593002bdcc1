"""One call on a server, asked by a peer that speaks frames: what each input comes to, with nothing else harmed."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.http2 import frames
from tests.support import (
    LOOPS,
    REQUEST,
    ManualClock,
    Probe,
    ProbeStub,
    RawPeer,
    paired,
    raw_client,
    request,
    run,
    serving,
    status_of,
    turns,
)
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.rpc.framing import frame as framed
from wire.server import ServerConnection
from wire.transport.runtime import LoopName

Test = Callable[[RawPeer, wire.Server], Awaitable[Any]]


def ask(
    test: Test,
    *servicers: wire.Servicer,
    engine: EngineName = "tuned",
    settings: dict[int, int] | None = None,
    loop: LoopName = "asyncio",
    **config: Any,
) -> None:
    """Run `test(peer, server)`; afterwards another connection must be as well served as before."""

    async def main() -> None:
        config.setdefault("keepalive", wire.KeepaliveConfig(min_ping_interval_s=0))
        async with (
            serving(*servicers or (Probe(),), config=wire.ServerConfig(engine=engine, **config)) as (server, address),
            raw_client(address) as other,
        ):
            async with raw_client(address, settings) as peer:
                await test(peer, server)
            await other.call(1, b"", request(without=b"te"))
            assert (
                await other.answer(1)
            ).status == StatusCode.UNIMPLEMENTED  # no request came: judged by a live server

    run(main, loop=loop)


def ask_once(body: bytes, *servicers: wire.Servicer, fields: frames.Fields = REQUEST, **options: Any) -> Any:
    """The answer to one request; the connection goes on to serve the next."""
    answers = []

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, body, fields)
        answers.append(await peer.answer(1))
        await peer.call(3, framed(b"next"))
        assert (await peer.answer(3)).ended

    ask(test, *servicers, **options)
    return answers[0]


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
        await peer.call(1, prefix, request(method, *extra), end=len(prefix) > 1000)
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

    answer = ask_once(framed(b"x"), Probe(Unary=unary), fields=request("Unary", (b"grpc-timeout", b"0S")))
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

    def Unary(self, request: EchoRequest, context: ServerContext) -> EchoResponse:
        self.called += 1
        return EchoResponse(payload=request.payload)

    async def Bidi(self, requests: AsyncIterator[EchoRequest], context: ServerContext) -> AsyncIterator[EchoResponse]:
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
    ask_once(framed(b""), Probe(Unary=lambda r, c: unary(r, c) if not seen else r), fields=fields)
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

    ask_once(framed(b""), Probe(Unary=unary))
    assert seen[0] == ("/probe.v1.Probe/Unary", True, None)


def test_initial_and_trailing_metadata_travel(engine: EngineName) -> None:
    async def unary(request: bytes, context: ServerContext) -> bytes:
        context.send_initial_metadata([("first", "1"), ("first-bin", b"\0")])
        context.set_trailing_metadata([("last", "2"), ("last-bin", b"\xff")])
        with pytest.raises(wire.UsageError):
            context.send_initial_metadata()
        return request

    answer = ask_once(framed(b"x"), Probe(Unary=unary), engine=engine)
    assert answer.headers[-2:] == ((b"first", b"1"), (b"first-bin", b"AA"))
    assert answer.trailers == ((b"grpc-status", b"0"), (b"last", b"2"), (b"last-bin", b"/w"))


# Statuses.


def test_a_handler_chooses_the_status() -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.NOT_FOUND, "grün 100%", trailing_metadata=wire.Metadata({"k": "v"}))

    answer = ask_once(framed(b""), Probe(Unary=unary))
    assert answer.status == StatusCode.NOT_FOUND
    assert answer.message == "gr%C3%BCn 100%25"
    assert dict(answer.headers)[b"k"] == b"v"


def test_a_handler_cannot_fail_with_ok() -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.OK)

    assert ask_once(framed(b""), Probe(Unary=unary)).status == StatusCode.UNKNOWN


def test_a_status_message_is_cut_before_it_can_break_the_connection(engine: EngineName) -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.ABORTED, "ü" * 100_000)

    async def main() -> None:
        async with paired(Probe(Unary=unary), engine=engine) as pair:
            code, message = await status_of(pair.stub.Unary(b""))
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
    answer = ask_once(framed(b""), Probe(Unary=handler))
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
    answer = ask_once(framed(b""), Probe(ServerStream=handler), fields=request("ServerStream"), engine=engine)
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


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_streaming_handler_that_is_no_generator_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def not_a_generator(request: bytes, context: ServerContext) -> list[bytes]:
        return [b"1"]

    answer = ask_once(framed(b""), Probe(ServerStream=not_a_generator), fields=request("ServerStream"))
    assert answer.status == StatusCode.UNKNOWN
    assert "generator" in caplog.text


def test_a_response_over_the_servers_limit_is_not_sent() -> None:
    answer = ask_once(framed(b"12345"), calls=wire.CallConfig(max_send_message_bytes=4))
    assert answer.status == StatusCode.RESOURCE_EXHAUSTED
    assert not answer.data


def test_a_plain_handler_may_return_an_awaitable() -> None:
    async def later(request: bytes) -> bytes:
        return request + b"!"

    answer = ask_once(framed(b"x"), Probe(Unary=lambda request, context: later(request)))
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


# Deadlines and cancellation.


class Waiting:
    """Handlers that wait for ever, and say what happens to them."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.left = anyio.Event()
        self.contexts: list[ServerContext] = []

    async def wait(self, context: ServerContext) -> None:
        self.contexts.append(context)
        self.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.left.set()

    async def Unary(self, request: bytes, context: ServerContext) -> bytes:
        await self.wait(context)
        return request

    async def ServerStream(self, request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        await self.wait(context)

    async def ClientStream(self, requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        self.contexts.append(context)
        self.entered.set()
        try:
            return b"".join([each async for each in requests])
        finally:
            self.left.set()

    async def Bidi(self, requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        await self.wait(context)

    def servicer(self) -> Probe:
        return Probe(Unary=self.Unary, ServerStream=self.ServerStream, ClientStream=self.ClientStream, Bidi=self.Bidi)


METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


@pytest.mark.parametrize("method", METHODS)
def test_a_deadline_ends_the_call_and_its_handler(
    loop: LoopName, engine: EngineName, method: str, clock: ManualClock
) -> None:
    waiting = Waiting()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"x"), request(method, (b"grpc-timeout", b"5S")), end=method != "ClientStream")
        await waiting.entered.wait()
        assert waiting.contexts[0].time_remaining() == 5
        clock.advance(4.9)
        await peer.barrier()
        assert not waiting.left.is_set()
        clock.advance(0.2)
        assert (await peer.answer(1)).status == StatusCode.DEADLINE_EXCEEDED
        await waiting.left.wait()
        assert waiting.contexts[0].cancelled
        assert waiting.contexts[0].time_remaining() == 0

    ask(test, waiting.servicer(), engine=engine, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_reset_cancels_the_handler(loop: LoopName, engine: EngineName, method: str) -> None:
    waiting = Waiting()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"x"), request(method), end=method != "ClientStream")
        await waiting.entered.wait()
        await peer.send(frames.rst_stream(1))
        await waiting.left.wait()
        assert waiting.contexts[0].cancelled
        await peer.barrier()
        assert not any(each.running for each in server.connections)

    ask(test, waiting.servicer(), engine=engine, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_client_that_vanishes_cancels_its_handlers(loop: LoopName, engine: EngineName, method: str) -> None:
    waiting = Waiting()

    async def main() -> None:
        async with serving(waiting.servicer(), config=wire.ServerConfig(engine=engine)) as (server, address):
            async with raw_client(address) as peer:
                await peer.call(1, framed(b"x"), request(method), end=method != "ClientStream")
                await waiting.entered.wait()
            await waiting.left.wait()
            while server.connections:
                await anyio.lowlevel.checkpoint()
            assert waiting.contexts[0].cancelled

    run(main, loop=loop)


def test_a_client_that_vanishes_leaves_nothing(loop: LoopName) -> None:
    waiting = Waiting()

    def live() -> int:
        for _ in range(2):  # PyPy needs a second look for what has finalizers, such as coroutines
            gc.collect()
        return sum(issubclass(type(each), ServerConnection | ServerContext) for each in gc.get_objects())

    async def main() -> None:
        async with serving(waiting.servicer()) as (server, address):
            before = live()
            async with raw_client(address) as peer:
                await peer.call(1, fields=request("Bidi"))
                await waiting.entered.wait()
                assert live() == before + 2
            await waiting.left.wait()
            waiting.contexts.clear()
            while server.connections:
                await anyio.lowlevel.checkpoint()
            await turns()
            assert live() == before

    run(main, loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_that_swallows_its_cancellation_cannot_answer_any_more(loop: LoopName, engine: EngineName) -> None:
    entered, swallowed = anyio.Event(), anyio.Event()

    async def unary(request: bytes, context: ServerContext) -> bytes:
        try:
            entered.set()
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            swallowed.set()
        return b"too late"

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1)
        await entered.wait()
        await peer.send(frames.rst_stream(1))
        await swallowed.wait()
        await peer.barrier()
        assert peer.answers[1].headers is None
        await peer.call(3, fields=request("ClientStream"))
        assert (await peer.answer(3)).data == framed(b"hello")

    ask(test, Probe(Unary=unary), engine=engine, loop=loop)


def test_a_stream_that_swallows_its_cancellation_is_closed() -> None:
    closed = anyio.Event()

    async def stream(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        try:
            while True:
                try:
                    yield b"again"
                    await anyio.sleep_forever()
                except anyio.get_cancelled_exc_class():
                    pass
        finally:
            closed.set()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, fields=request("ServerStream"))
        await peer.until(FrameType.DATA, 1)
        await peer.send(frames.rst_stream(1))
        await closed.wait()

    ask(test, Probe(ServerStream=stream))


def test_iterating_on_after_the_call_has_ended_raises_cancelled() -> None:
    raised: list[StatusCode] = []
    done = anyio.Event()

    async def bidi(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        try:
            yield b"ready"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await anext(requests)
                except wire.RpcError as error:
                    raised.append(error.code)
            done.set()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, fields=request("Bidi"), end=False)
        await peer.until(FrameType.DATA, 1)
        await peer.send(frames.rst_stream(1))
        await done.wait()
        assert raised == [StatusCode.CANCELLED]

    ask(test, Probe(Bidi=bidi))


def test_handlers_of_streams_that_were_reset_count_against_the_limit(engine: EngineName) -> None:
    """CVE-2023-44487: resetting streams must not start more handlers than may be open."""
    running = 0
    most = 0
    release = anyio.Event()

    async def unary(request: bytes, context: ServerContext) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass
        running -= 1
        return request

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in range(1, 100, 2):
            await peer.call(stream_id)
            await peer.send(frames.rst_stream(stream_id))
        await peer.barrier()
        assert most == 4
        await peer.call(101)
        assert (await peer.answer(101)).reset is ErrorCode.REFUSED_STREAM
        release.set()
        while running:
            await turns(1)
        await peer.call(103)
        assert (await peer.answer(103)).data == framed(b"hello")

    ask(test, Probe(Unary=unary), engine=engine, http2=wire.Http2Config(max_concurrent_streams=4))


# Memory.

NO_WINDOW: dict[int, int] = {Setting.INITIAL_WINDOW_SIZE: 0}


def queued_bytes(server: wire.Server) -> int:
    """What the server's engines hold for peers that have closed their windows."""
    return sum(stream.queued_bytes for each in server.connections for stream in each.engine.streams.values())


@pytest.mark.parametrize("method", ["ServerStream", "Bidi"])
def test_a_stream_behind_a_closed_window_waits_and_its_deadline_frees_it(
    loop: LoopName, engine: EngineName, method: str, clock: ManualClock
) -> None:
    yielded = 0
    closed = anyio.Event()

    async def stream(request: Any, context: ServerContext) -> AsyncIterator[bytes]:
        nonlocal yielded
        try:
            for _ in range(10_000):
                yielded += 1
                yield bytes(1000)
        finally:
            closed.set()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, fields=request(method, (b"grpc-timeout", b"5S")))
        await peer.until(FrameType.HEADERS, 1)
        for _ in range(5):
            await peer.barrier()
        assert 4096 < queued_bytes(server) < 4096 + 1024
        assert yielded < 10
        clock.advance(5.1)
        assert (await peer.answer(1)).reset is ErrorCode.CANCEL
        await closed.wait()
        assert queued_bytes(server) == 0

    ask(
        test,
        Probe(**{method: stream}),
        engine=engine,
        loop=loop,
        settings=NO_WINDOW,
        calls=wire.CallConfig(send_buffer_bytes=4096),
    )


def test_a_unary_reply_behind_a_closed_window_is_freed_by_its_deadline(engine: EngineName, clock: ManualClock) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(bytes(10_000)), request("Unary", (b"grpc-timeout", b"5S")))
        await peer.call(3, framed(b"another"), request("Unary", (b"grpc-timeout", b"5S")))
        await peer.barrier()
        assert queued_bytes(server) > 10_000
        await peer.send(frames.window_update(3, 1000))
        assert (await peer.answer(3)).status == StatusCode.OK
        clock.advance(5.1)
        assert (await peer.answer(1)).reset is ErrorCode.CANCEL
        assert queued_bytes(server) == 0
        assert (await peer.answer(3)).reset is None

    ask(test, engine=engine, settings=NO_WINDOW)


def test_a_stream_goes_on_when_its_window_opens(engine: EngineName) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(bytes(range(100))), request("ServerStream"))
        await peer.until(FrameType.HEADERS, 1)
        await peer.send(frames.window_update(1, 1 << 20))
        answer = await peer.answer(1)
        assert answer.data == b"".join(framed(bytes([byte])) for byte in range(100))
        assert answer.status == StatusCode.OK

    ask(test, engine=engine, settings=NO_WINDOW, calls=wire.CallConfig(send_buffer_bytes=20))


def test_a_slow_consumer_holds_its_client_back(engine: EngineName) -> None:
    go_on = anyio.Event()
    taken = 0

    async def slow(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        nonlocal taken
        await go_on.wait()
        async for each in requests:
            taken += len(each)
        return b"%d" % taken

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.until(FrameType.WINDOW_UPDATE, 0)  # the connection's window is announced apart
        await peer.send(frames.headers(1, request("ClientStream")))
        message = framed(bytes(1000))
        for _ in range(65_000 // len(message)):
            await peer.send(frames.data(1, message))
        await peer.barrier()
        granted = [each for each in peer.frames if each.kind == FrameType.WINDOW_UPDATE and each.stream_id == 1]
        assert not granted  # 64 messages wait, and no more may come
        go_on.set()
        await peer.until(FrameType.WINDOW_UPDATE, 1)
        await peer.send(frames.data(1, end=True))
        assert (await peer.answer(1)).data == framed(b"64000")

    ask(
        test,
        Probe(ClientStream=slow),
        engine=engine,
        http2=wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=1 << 20),
    )


def test_messages_wait_compressed_for_a_slow_consumer() -> None:
    """A window full of bombs must not unfold before somebody asks for them."""
    unfolded: list[int] = []
    go_on = anyio.Event()

    async def slow(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        await go_on.wait()
        return b"%d" % sum([len(each) async for each in requests])

    def decompress(message: bytes, max_bytes: int) -> bytes:
        unfolded.append(len(message))
        return gzip.decompress(message)

    async def test(peer: RawPeer, server: wire.Server) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("wire.rpc.compression", fromlist=["_"])._DECOMPRESSORS, "gzip", decompress)
            await peer.send(frames.headers(1, request("ClientStream", (b"grpc-encoding", b"gzip"))))
            await peer.send(*[frames.data(1, framed(bytes(100_000), gzip.compress)) for _ in range(10)])
            await peer.send(frames.data(1, end=True))
            await peer.barrier()
            assert unfolded == []
            go_on.set()
            assert (await peer.answer(1)).data == framed(b"1000000")

    ask(test, Probe(ClientStream=slow))


def test_requests_that_nobody_takes_are_granted_when_the_call_ends(engine: EngineName) -> None:
    """Or calls that end early would leak the connection's window."""

    async def early(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        return await anext(requests)

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in (1, 3):
            messages = [frames.data(stream_id, framed(bytes(1000))) for _ in range(50)]
            await peer.send(frames.headers(stream_id, request("ClientStream")), *messages)
            assert (await peer.answer(stream_id)).status == StatusCode.OK
        await peer.barrier()
        granted = sum(
            each.number for each in peer.frames if each.kind == FrameType.WINDOW_UPDATE and not each.stream_id
        )
        assert granted >= 2 * 50 * 1005 - 65_535 // 2

    ask(
        test,
        Probe(ClientStream=early),
        engine=engine,
        http2=wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=65_535),
    )


def test_stubs_and_raw_peers_see_the_same_service(engine: EngineName) -> None:
    async def main() -> None:
        async with paired(engine=engine) as pair, raw_client(pair.address) as peer:
            await peer.call(1)
            assert (await peer.answer(1)).data == framed(await ProbeStub(pair.channel).Unary(b"hello"))

    run(main)
