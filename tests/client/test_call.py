"""One call on a client: what each answer of a server comes to, and every way for a call to end."""

from __future__ import annotations

import gc
import gzip
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, simplefilter

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.leftovers import COUNTED
from tests.peers import IMPATIENT, RawPeer, answered, raw_server, reply
from tests.support import (
    ENGINES,
    Pair,
    Probe,
    ProbeStub,
    collect,
    end_of,
    ignore_rpc_errors,
    on_pair,
    run,
    serving,
    start,
    status_of,
    turns,
)
from wire import RpcError, ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.metadata import Fields
from wire.rpc.framing import frame as framed
from wire.service_names import python_name
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]
OK_HEADERS = frames.headers(3, frames.RESPONSE)
OK_TRAILERS = frames.headers(3, frames.TRAILERS, end=True)


def trailers_only(*fields: tuple[bytes, bytes], status: bytes = b"200") -> bytes:
    return frames.headers(3, ((b":status", status), (b"content-type", b"application/grpc"), *fields), end=True)


# What is sent.


def test_a_unary_request_leaves_whole(engine: EngineName) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.unary(b"hello", timeout=1.5, metadata=[("k", "v"), ("k-bin", b"\xff")])
        await peer.until(FrameType.DATA, 3)
        fields = dict(peer.answers[3].headers or ())
        assert fields[b":method"] == b"POST"
        assert fields[b":scheme"] == b"http"
        assert fields[b":path"] == b"/probe.v1.Probe/Unary"
        assert fields[b":authority"].startswith(b"127.0.0.1:")
        assert fields[b"te"] == b"trailers"
        assert fields[b"content-type"] == b"application/grpc"
        assert b"gzip" in fields[b"grpc-accept-encoding"]
        assert fields[b"user-agent"].startswith(b"mine grpc-python-wire/")
        assert fields[b"grpc-timeout"] == b"1500000u"
        assert (fields[b"k"], fields[b"k-bin"]) == (b"v", b"/w")
        assert peer.answers[3].data == framed(b"hello")
        assert peer.answers[3].ended
        await reply(peer, 3, b"")
        assert await call == b""

    answered(test, engine=engine, user_agent="mine")


def test_requests_are_compressed_where_the_channel_says_so(engine: EngineName) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.bidi([b"a", b"b"])
        answer = await peer.answer(3)
        assert dict(answer.headers or ())[b"grpc-encoding"] == b"gzip"
        assert answer.data[0] == 1
        await reply(peer, 3, b"c")
        assert await collect(call) == [b"c"]

    answered(test, engine=engine, calls=wire.CallConfig(compression="gzip"))


# What comes back.


@pytest.mark.parametrize("method", METHODS)
def test_answers_may_come_in_any_pieces(engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        await peer.send(OK_HEADERS)
        for byte in framed(b"hello"):
            await peer.send(frames.data(3, bytes([byte])))
        await peer.send(OK_TRAILERS)
        assert (await call if method in {"Unary", "ClientStream"} else (await collect(call))[0]) == b"hello"
        assert call.code is StatusCode.OK

    answered(test, engine=engine)


@pytest.mark.parametrize("method", METHODS)
def test_compressed_answers_are_unfolded(engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        encoded = framed(b"hello", gzip.compress)
        headers = frames.headers(3, (*frames.RESPONSE, (b"grpc-encoding", b"gzip")))
        await peer.send(headers, frames.data(3, encoded), OK_TRAILERS)
        assert (await call if method in {"Unary", "ClientStream"} else (await collect(call))[0]) == b"hello"

    answered(test, engine=engine)


CASES: dict[str, tuple[list[bytes], StatusCode]] = {
    "status in trailers": (
        [OK_HEADERS, frames.headers(3, ((b"grpc-status", b"5"),), end=True)],
        StatusCode.NOT_FOUND,
    ),
    "trailers-only": ([trailers_only((b"grpc-status", b"5"))], StatusCode.NOT_FOUND),
    "unknown code": ([trailers_only((b"grpc-status", b"99"))], StatusCode.UNKNOWN),
    "status beside an HTTP error": ([trailers_only((b"grpc-status", b"5"), status=b"503")], StatusCode.NOT_FOUND),
    "HTTP error": ([frames.headers(3, ((b":status", b"503"),), end=True)], StatusCode.UNAVAILABLE),
    "HTTP error with a body": (
        [frames.headers(3, ((b":status", b"404"), (b"content-type", b"text/html"))), frames.data(3, b"no", end=True)],
        StatusCode.UNIMPLEMENTED,
    ),
    "no status in trailers": ([OK_HEADERS, frames.headers(3, ((b"a", b"b"),), end=True)], StatusCode.UNKNOWN),
    "no trailers": ([OK_HEADERS, frames.data(3, framed(b"x"), end=True)], StatusCode.UNKNOWN),
    "headers that end the stream": ([frames.headers(3, frames.RESPONSE, end=True)], StatusCode.UNKNOWN),
    "not gRPC": (
        [frames.headers(3, ((b":status", b"200"), (b"content-type", b"text/html"))), frames.data(3, b"hi", end=True)],
        StatusCode.UNKNOWN,
    ),
    "end in the middle": ([OK_HEADERS, frames.data(3, framed(b"xyz")[:-1]), OK_TRAILERS], StatusCode.INTERNAL),
    "end behind a message and a half": (
        [OK_HEADERS, frames.data(3, framed(b"x")), frames.data(3, b"\0\0"), OK_TRAILERS],
        StatusCode.INTERNAL,
    ),
    "flag": ([OK_HEADERS, frames.data(3, b"\x02\0\0\0\0")], StatusCode.INTERNAL),
    "compressed without an encoding": ([OK_HEADERS, frames.data(3, b"\x01\0\0\0\x01x")], StatusCode.INTERNAL),
    "unknown encoding": (
        [frames.headers(3, (*frames.RESPONSE, (b"grpc-encoding", b"br")))],
        StatusCode.INTERNAL,
    ),
    "over the limit": ([OK_HEADERS, frames.data(3, b"\0\0\0\x04\x01")], StatusCode.RESOURCE_EXHAUSTED),
    "bomb": (
        [
            frames.headers(3, (*frames.RESPONSE, (b"grpc-encoding", b"gzip"))),
            frames.data(3, framed(bytes(2000), gzip.compress)),
            OK_TRAILERS,
        ],
        StatusCode.RESOURCE_EXHAUSTED,
    ),
    "malformed trailing metadata": ([trailers_only((b"grpc-status", b"5"), (b"x-bin", b"!"))], StatusCode.INTERNAL),
    "malformed initial metadata": (
        [frames.headers(3, (*frames.RESPONSE, (b"x-bin", b"!"))), frames.data(3, framed(b"x")), OK_TRAILERS],
        StatusCode.INTERNAL,
    ),
    "metadata over its size": (
        [frames.headers(3, (*frames.RESPONSE, (b"x", b"x" * 20_000)))],
        StatusCode.RESOURCE_EXHAUSTED,
    ),
    "malformed HTTP": ([OK_HEADERS, frames.headers(3, ((b"UPPER", b"x"),), end=True)], StatusCode.INTERNAL),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES)
def test_each_answer_has_its_status(engine: EngineName, method: str, case: str) -> None:
    answer, code = CASES[case]

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        await peer.send(*answer)
        refused = case == "end behind a message and a half" and method == "Unary"  # by the first byte of a second one
        assert (await end_of(call, method))[0] is (StatusCode.UNIMPLEMENTED if refused else code)
        await peer.barrier()

    answered(test, engine=engine, calls=wire.CallConfig(max_receive_message_bytes=1024))


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
@pytest.mark.parametrize("count", [0, 2])
def test_not_exactly_one_response_is_unimplemented(engine: EngineName, method: str, count: int) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        await peer.send(OK_HEADERS, *[frames.data(3, framed(b"x")) for _ in range(count)], OK_TRAILERS)
        assert (await status_of(call))[0] is StatusCode.UNIMPLEMENTED
        assert call.code is StatusCode.UNIMPLEMENTED

    answered(test, engine=engine)


def test_responses_without_end_to_a_call_that_takes_one_are_cut_off(engine: EngineName) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.client_stream()
        await peer.until(FrameType.HEADERS, 3)
        await peer.send(OK_HEADERS, *[frames.data(3, framed(b"x")) for _ in range(10)])
        assert (await peer.until(FrameType.RST_STREAM, 3)).code is ErrorCode.CANCEL
        assert (await status_of(call))[0] is StatusCode.UNIMPLEMENTED

    answered(test, engine=engine)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, StatusCode.INTERNAL),
        (1, StatusCode.INTERNAL),
        (2, StatusCode.INTERNAL),
        (3, StatusCode.INTERNAL),
        (4, StatusCode.INTERNAL),
        (5, StatusCode.UNKNOWN),
        (6, StatusCode.INTERNAL),
        (8, StatusCode.CANCELLED),
        (9, StatusCode.INTERNAL),
        (10, StatusCode.INTERNAL),
        (11, StatusCode.RESOURCE_EXHAUSTED),
        (12, StatusCode.PERMISSION_DENIED),
        (0x1234, StatusCode.UNKNOWN),
    ],
)
def test_resets_map_to_statuses(code: int, status: StatusCode) -> None:
    """PROTOCOL-HTTP2.md, "Errors"."""

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.unary(b"x")
        await peer.answer(3)
        await peer.send(frames.rst_stream(3, code))
        assert (await status_of(call))[0] is status

    answered(test)


@pytest.mark.parametrize(
    ("passed_s", "status"),
    [(5, StatusCode.DEADLINE_EXCEEDED), (4.99, StatusCode.DEADLINE_EXCEEDED), (4.9, StatusCode.CANCELLED)],
)
def test_a_reset_at_the_deadline_is_the_deadlines(clock: ManualClock, passed_s: float, status: StatusCode) -> None:
    """Also a moment before it: the server keeps it by a clock of its own."""

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.unary(b"x", timeout=5)
        await peer.answer(3)
        clock._now += passed_s  # the timer has not fired yet
        await peer.send(frames.rst_stream(3, ErrorCode.CANCEL))
        assert (await status_of(call))[0] is status

    answered(test)


def test_metadata_and_status_are_read_from_the_call(engine: EngineName) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.bidi()
        await peer.until(FrameType.HEADERS, 3)
        assert call.initial_metadata is None
        assert call.trailing_metadata is None
        assert call.code is None
        await peer.send(frames.headers(3, (*frames.RESPONSE, (b"first", b"1"), (b"b-bin", b"AA"))))
        assert list(await call.read_initial_metadata()) == [("first", "1"), ("b-bin", b"\0")]
        assert call.initial_metadata == await call.read_initial_metadata()
        end: Fields = ((b"grpc-status", b"10"), (b"grpc-message", b"gr%C3%BCn"), (b"last", b"2"))
        await peer.send(frames.headers(3, end, end=True))
        with pytest.raises(RpcError, match="ABORTED: grün") as caught:
            await anext(aiter(call))
        assert caught.value.code is call.code is StatusCode.ABORTED
        assert caught.value.message == call.message == "grün"
        assert caught.value.initial_metadata == call.initial_metadata
        assert caught.value.trailing_metadata == call.trailing_metadata == wire.Metadata({"last": "2"})

    answered(test, engine=engine)


def test_waiting_for_initial_metadata_of_a_call_that_fails_raises() -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.server_stream(b"")
        await peer.answer(3)
        await peer.send(trailers_only((b"grpc-status", b"7")))
        with pytest.raises(RpcError, match="PERMISSION_DENIED"):
            await call.read_initial_metadata()

    answered(test)


ECHO = wire.UnaryUnary("Echo", EchoRequest, EchoResponse)
ECHO_STREAM = wire.UnaryStream("EchoStream", EchoRequest, EchoResponse)
ECHO_GATHER = wire.StreamUnary("EchoGather", EchoRequest, EchoResponse)


class EchoStub(wire.Stub):
    service = wire.Service("typed.v1.Echo", (ECHO, ECHO_STREAM, ECHO_GATHER))
    echo = ECHO
    echo_stream = ECHO_STREAM
    echo_gather = ECHO_GATHER


def test_an_undecodable_response_is_internal(engine: EngineName) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        typed = EchoStub(stub.channel)
        bad = framed(b"\x0a\x05hi")
        unary = typed.echo(EchoRequest())
        await peer.answer(3)
        await peer.send(OK_HEADERS, frames.data(3, bad), OK_TRAILERS)
        assert (await status_of(unary))[0] is unary.code is StatusCode.INTERNAL

        stream = typed.echo_stream(EchoRequest())
        await peer.answer(5)
        await peer.send(frames.headers(5, frames.RESPONSE), frames.data(5, framed(b"") + bad + framed(b"")))
        assert await anext(aiter(stream)) == EchoResponse()
        for _ in range(2):
            with pytest.raises(RpcError, match="INTERNAL"):
                await anext(aiter(stream))
        assert stream.code is StatusCode.INTERNAL
        await peer.until(FrameType.RST_STREAM, 5)

        gather = typed.echo_gather([])
        await peer.answer(7)
        await peer.send(frames.headers(7, frames.RESPONSE), frames.data(7, bad))
        await peer.send(frames.headers(7, frames.TRAILERS, end=True))
        for _ in range(2):
            assert (await status_of(gather))[0] is StatusCode.INTERNAL

    answered(test, engine=engine)


# Ending from this side.


@pytest.mark.parametrize("method", METHODS)
def test_a_cancelled_call_tells_the_server(loop: LoopName, engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        call.cancel()
        call.cancel()
        assert (await peer.until(FrameType.RST_STREAM, 3)).code is ErrorCode.CANCEL
        assert (await end_of(call, method))[0] is call.code is StatusCode.CANCELLED

    answered(test, engine=engine, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_cancelling_the_task_that_waits_cancels_the_call(loop: LoopName, engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method)
        await peer.answer(3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_of, call, method)
            await turns()
            tasks.cancel_scope.cancel()
        assert (await peer.until(FrameType.RST_STREAM, 3)).code is ErrorCode.CANCEL
        assert call.code is StatusCode.CANCELLED

    answered(test, engine=engine, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_deadline_ends_the_call_and_tells_the_server(
    loop: LoopName, engine: EngineName, method: str, clock: ManualClock
) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method, timeout=5)
        await peer.answer(3)
        assert call.time_remaining() == 5
        clock.advance(4.9)
        assert call.code is None
        clock.advance(0.2)
        assert (await peer.until(FrameType.RST_STREAM, 3)).code is ErrorCode.CANCEL
        assert (await end_of(call, method))[0] is call.code is StatusCode.DEADLINE_EXCEEDED
        assert call.time_remaining() == 0

    answered(test, engine=engine, loop=loop)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), float("-inf")])
def test_a_timeout_is_a_finite_number(timeout: float) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        with pytest.raises(wire.ConfigurationError):
            stub.unary(b"", timeout=timeout)

    answered(test)


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_that_has_passed_fails_the_call(timeout: float) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        assert (await status_of(stub.unary(b"", timeout=timeout)))[0] is StatusCode.DEADLINE_EXCEEDED
        await peer.barrier()

    answered(test)


def test_wrong_arguments_are_refused_before_anything_is_sent() -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        with pytest.raises(wire.MetadataError):
            stub.unary(b"", metadata={"grpc-x": "1"})
        with pytest.raises(wire.EncodeError):
            stub.unary("text")  # type: ignore[arg-type]
        with pytest.raises(RpcError, match="RESOURCE_EXHAUSTED"):
            stub.unary(bytes(1025))
        await peer.barrier()
        assert set(peer.answers) == {0, 1}

    answered(test, calls=wire.CallConfig(max_send_message_bytes=1024))


# Waiting.


def test_a_call_may_be_awaited_again() -> None:
    async def main(pair: Pair) -> None:
        unary = pair.stub.unary(b"x")
        assert [await unary, await unary] == [b"x", b"x"]
        gathered = pair.stub.client_stream([b"x", b"y"])
        assert [await gathered, await gathered] == [b"xy", b"xy"]
        failing = pair.stub.unary(b"x", timeout=0)
        assert await status_of(failing) == await status_of(failing)

    on_pair(main)


def test_two_tasks_cannot_wait_for_one_call(loop: LoopName) -> None:
    async def main(pair: Pair) -> None:
        for call in (pair.stub.unary(b"x"), pair.stub.client_stream(), pair.stub.bidi()):
            waiting: Any = status_of(call) if not isinstance(call, wire.StreamStreamCall) else collect(call)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ignore_rpc_errors, waiting)
                await turns(2)
                with pytest.raises(wire.UsageError, match="two tasks"):
                    await (call if isinstance(call, Awaitable) else collect(call))
                call.cancel()

    on_pair(main, Probe(unary=_never), loop=loop)


async def _never(request: bytes, context: ServerContext) -> bytes:
    await anyio.sleep_forever()
    return request


def test_calls_that_nobody_awaits_end_all_the_same(loop: LoopName, caplog: pytest.LogCaptureFixture) -> None:
    async def main(pair: Pair) -> None:
        kept = pair.stub.unary(b"kept")
        for _ in range(10):
            pair.stub.unary(b"dropped")
            pair.stub.unary(b"failed", timeout=0)
            pair.stub.bidi([b"x"])
        assert await pair.stub.unary(b"last") == b"last"
        assert await kept == b"kept"

    on_pair(main, loop=loop)
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


# Calls that nobody refers to any more.


class Running(Probe):
    """Handlers that end only when they are cancelled, and how many of them run."""

    count = 0

    async def unary(self, request: bytes, context: ServerContext) -> bytes:  # type: ignore[override]
        if request == b"short":
            return request
        self.count += 1
        try:
            return await _never(request, context)
        finally:
            self.count -= 1

    async def server_stream(self, request: bytes, context: ServerContext) -> AsyncIterator[bytes]:  # type: ignore[override]
        self.count += 1
        try:
            yield request
            await anyio.sleep_forever()
        finally:
            self.count -= 1

    async def until(self, count: int) -> None:
        while self.count != count:
            await anyio.lowlevel.checkpoint()


@contextmanager
def abandoned(method: str, count: int) -> Iterator[None]:
    """So many calls are let go of in the block, by reference counting alone, and a warning names each."""
    gc.disable()
    try:
        with catch_warnings(record=True) as found:
            simplefilter("always")
            yield
    finally:
        gc.enable()
    texts = [str(each.message) for each in found if each.category is ResourceWarning]
    assert texts == [f"a call of /probe.v1.Probe/{method} was abandoned before it ended, and is cancelled"] * count


@COUNTED
def test_streams_that_are_left_end_on_the_server(loop: LoopName, engine: EngineName) -> None:
    running = Running()

    async def main(pair: Pair) -> None:
        with abandoned("ServerStream", 200):
            for _ in range(200):
                async for response in pair.stub.server_stream(b"x"):
                    assert response == b"x"
                    break
            await running.until(0)
        assert await pair.stub.unary(b"short") == b"short"

    on_pair(main, running, loop=loop, engine=engine)


@COUNTED
def test_unary_calls_that_are_let_go_of_end_on_the_server(loop: LoopName, engine: EngineName) -> None:
    running = Running()

    async def main(pair: Pair) -> None:
        with abandoned("Unary", 50):
            calls = [pair.stub.unary(b"x") for _ in range(50)]
            await running.until(50)
            calls.clear()
            await running.until(0)
        assert await pair.stub.unary(b"short") == b"short"

    on_pair(main, running, loop=loop, engine=engine)


@COUNTED
@pytest.mark.parametrize("method", METHODS)
def test_a_call_may_be_let_go_of_in_another_thread(
    loop: LoopName, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        calls = [
            getattr(stub, python_name(method))(b"x")
            if method in {"Unary", "ServerStream"}
            else getattr(stub, python_name(method))()
        ]
        await peer.until(FrameType.HEADERS, 3)
        with abandoned(method, 1):
            await anyio.to_thread.run_sync(calls.clear)
        await peer.until(FrameType.RST_STREAM, 3)
        assert peer.frames[-1].code is ErrorCode.CANCEL

    answered(test, loop=loop)
    assert not raised


@COUNTED
def test_a_call_may_be_let_go_of_after_its_loop(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    calls = []

    async def main(pair: Pair) -> None:
        calls.append(pair.stub.unary(b"x"))
        await calls[0]

    on_pair(main, loop=loop)
    calls[0]._exchange.code = None  # as if its channel had never been closed
    with abandoned("Unary", 1):
        calls.clear()
    assert not raised


# Metadata over the server's limit.


@pytest.mark.parametrize("method", METHODS)
def test_a_request_over_the_servers_limit_fails_unsent(engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        code, message = await end_of(start(stub, method, metadata=[("k", "v" * 2000)]), method)
        assert code is StatusCode.RESOURCE_EXHAUSTED
        assert re.fullmatch(
            r"the call's metadata makes a request header of 2\d{3} bytes; the server takes 1000", message
        )
        await peer.barrier()
        assert max(peer.answers) == 1

    answered(test, engine=engine, settings={Setting.MAX_HEADER_LIST_SIZE: 1000})


@pytest.mark.parametrize("server_engine", ENGINES)
@pytest.mark.parametrize("method", METHODS)
def test_large_metadata_costs_the_call_alone(engine: EngineName, server_engine: EngineName, method: str) -> None:
    async def main() -> None:
        config, server_config = wire.ChannelConfig(engine=engine), wire.ServerConfig(engine=server_engine)
        async with (
            serving(config=server_config) as (server, address),
            wire.Channel(address, config=config) as channel,
        ):
            stub = ProbeStub(channel)
            neighbour = stub.bidi()
            for each in (b"before", b"after"):
                await neighbour.send(each)
                assert await anext(neighbour) == each
                code, message = await end_of(start(stub, method, metadata=[("k", "v" * 100_000)]), method)
                assert code is StatusCode.RESOURCE_EXHAUSTED
                assert "16384" in message
            assert len(server.connections) == 1
            neighbour.cancel()

    run(main)


# Retries, and connections that go away.


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("goes_away", [True, False])
@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
def test_streamed_requests_are_sent_again_in_order(
    engine: EngineName, method: str, goes_away: bool, ended: bool
) -> None:
    given = []

    async def main() -> None:
        go_on = anyio.Event()

        async def requests() -> AsyncIterator[bytes]:
            for each in (b"a", b"b", b"c"):
                given.append(each)
                yield each
            if not ended:
                await go_on.wait()
                given.append(b"d")
                yield b"d"

        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            call = getattr(ProbeStub(channel), python_name(method))(requests())
            peer = await server.accept()
            sent = framed(b"a") + framed(b"b") + framed(b"c")
            while peer.answers[1].data != sent or peer.answers[1].ended != ended:
                await peer.receive()
            if goes_away:
                await peer.send(frames.goaway(last_id=0))
                peer, stream_id = await server.accept(), 1
            else:
                await peer.send(frames.rst_stream(1, ErrorCode.REFUSED_STREAM))
                stream_id = 3
            while peer.answers[stream_id].data != sent:
                await peer.receive()
            go_on.set()
            answer = await peer.answer(stream_id)
            assert answer.data == (sent if ended else sent + framed(b"d"))
            await reply(peer, stream_id, b"again")
            assert (await call if method == "ClientStream" else (await collect(call))[0]) == b"again"

    run(main)
    assert given == ([b"a", b"b", b"c"] if ended else [b"a", b"b", b"c", b"d"])


@pytest.mark.parametrize("goes_away", [True, False])
@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
def test_more_requests_than_are_kept_are_not_sent_again(engine: EngineName, method: str, goes_away: bool) -> None:
    async def main() -> None:
        calls = wire.CallConfig(retry_buffer_bytes=12)
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, calls=calls)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            stub = ProbeStub(channel)
            call = getattr(stub, python_name(method))([b"a", b"b", b"c"])
            peer = await server.accept()
            await peer.answer(1)
            await peer.send(frames.goaway(last_id=0) if goes_away else frames.rst_stream(1, ErrorCode.REFUSED_STREAM))
            assert (await end_of(call, method))[0] is StatusCode.UNAVAILABLE
            after = stub.unary(b"after")  # the first that comes after it
            peer, stream_id = (await server.accept(), 1) if goes_away else (peer, 3)
            assert (await peer.answer(stream_id)).data == framed(b"after")
            await reply(peer, stream_id, b"")
            await after

    run(main)


@pytest.mark.parametrize("method", ["Unary", "ServerStream"])
def test_a_refused_call_is_sent_once_more(engine: EngineName, method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = start(stub, method, timeout=5)
        await peer.answer(3)
        await peer.send(frames.rst_stream(3, ErrorCode.REFUSED_STREAM))
        answer = await peer.answer(5)
        assert answer.data == framed(b"x")
        assert b"grpc-timeout" in dict(answer.headers or ())
        await reply(peer, 5, b"again")
        assert (await call if method == "Unary" else (await collect(call))[0]) == b"again"

        call = start(stub, method)
        for stream_id in (7, 9):
            await peer.answer(stream_id)
            await peer.send(frames.rst_stream(stream_id, ErrorCode.REFUSED_STREAM))
        assert (await end_of(call, method))[0] is StatusCode.UNAVAILABLE

    answered(test, engine=engine)


def test_calls_that_a_goaway_leaves_out_go_to_a_new_connection(engine: EngineName) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            stub = ProbeStub(channel)
            seen, unseen = stub.unary(b"seen"), stub.unary(b"unseen")
            old = await server.accept()
            await old.answer(1)
            await old.answer(3)
            await old.send(frames.goaway(last_id=1))
            new = await server.accept()
            assert (await new.answer(1)).data == framed(b"unseen")
            await reply(new, 1, b"from the new one")
            assert await unseen == b"from the new one"
            await reply(old, 1, b"from the old one")
            assert await seen == b"from the old one"
            await old.closed()
            after = stub.unary(b"after")
            assert (await new.answer(3)).data == framed(b"after")
            await reply(new, 3, b"")
            await after

    run(main)


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_that_is_lost_makes_its_calls_unavailable(loop: LoopName, engine: EngineName, method: str) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            call = start(ProbeStub(channel), method)
            peer = await server.accept()
            await peer.until(FrameType.HEADERS, 1)
            await peer.stream.aclose()
            code, message = await end_of(call, method)
            assert code is StatusCode.UNAVAILABLE
            assert message

    run(main, loop=loop)


def test_a_server_that_breaks_http2_is_named_in_the_error(engine: EngineName) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            call = ProbeStub(channel).unary(b"")
            peer = await server.accept()
            await peer.answer(1)
            await peer.send(frames.data(0, b"x"))
            code, message = await status_of(call)
            assert code is StatusCode.UNAVAILABLE
            assert "PROTOCOL_ERROR" in message
            assert (await peer.goaway()).code is ErrorCode.PROTOCOL_ERROR

    run(main)
