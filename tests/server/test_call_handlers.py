"""How handlers are run: in what context, and what their exceptions are to others."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceBase, EchoServiceStub
from tests.leftovers import COUNTED
from tests.peers import RawPeer, ask, ask_once, raw_client, request
from tests.support import Pair, Probe, ProbeStub, collect, end_of, on_pair, paired, run, serving, start, status_of
from wire import ServerContext, StatusCode
from wire.client.callables import RequestCallable
from wire.config import EngineName
from wire.rpc.framing import frame as framed
from wire.service_names import python_name
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]

# Context variables.

SEEN: ContextVar[str] = ContextVar("SEEN", default="nothing")


def _note(mark: bytes) -> bytes:
    before = SEEN.get()
    SEEN.set(before + mark.decode())
    return before.encode()


def _plain(request: bytes, context: ServerContext) -> bytes:
    return _note(request)


async def _asynchronous(request: bytes, context: ServerContext) -> bytes:
    return _note(request)


def _later(request: bytes, context: ServerContext) -> Any:
    _note(request)
    return _asynchronous(request, context)


def _generator(request: bytes, context: ServerContext) -> Iterator[bytes]:
    yield _note(request)
    yield SEEN.get().encode()


async def _async_generator(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
    yield _note(request)
    yield SEEN.get().encode()


async def _requests(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
    return b"".join([_note(each) async for each in requests])


async def _both(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
    async for each in requests:
        yield _note(each)


@pytest.mark.parametrize(
    ("method", "handler", "expected"),
    [
        ("Unary", _plain, b"server"),
        ("Unary", _asynchronous, b"server"),
        ("Unary", _later, b"serverx"),
        ("ServerStream", _generator, b"serverserverx"),
        ("ServerStream", _async_generator, b"serverserverx"),
        ("ClientStream", _requests, b"server"),
        ("Bidi", _both, b"server"),
    ],
)
def test_context_variables_of_a_call_are_its_own(
    loop: LoopName, engine: EngineName, method: str, handler: Callable[..., Any], expected: bytes
) -> None:
    """Each handler starts from what the server was entered with, and keeps what it sets until its end."""

    async def main() -> None:
        SEEN.set("server")
        async with paired(Probe(**{method: handler}), engine=engine) as pair:
            SEEN.set("client")
            for _ in range(3):
                if method in {"Unary", "ServerStream"}:
                    call = getattr(pair.stub, python_name(method))(b"x")
                else:
                    call = getattr(pair.stub, python_name(method))([b"x"])
                answer = await call if method in {"Unary", "ClientStream"} else b"".join(await collect(call))
                assert answer == expected

    run(main, loop=loop)


def test_what_wakes_a_paused_connection_brings_no_context_along(loop: LoopName) -> None:
    """A handler whose response fills the socket has writing paused, and reading resumed, by what runs on its behalf."""

    async def large(request: bytes, context: ServerContext) -> bytes:
        SEEN.set("leaked")
        return bytes(1 << 22)

    async def main() -> None:
        config = wire.ServerConfig(transport=wire.TransportConfig(write_buffer_bytes=4096))
        calls = wire.ChannelConfig(calls=wire.CallConfig(max_receive_message_bytes=1 << 23))
        async with (
            serving(Probe(unary=large, client_stream=_requests), config=config) as (_, address),
            wire.Channel(address, config=calls) as channel,
        ):
            stub = ProbeStub(channel)
            for _each in range(3):
                await stub.unary(b"")
                assert await stub.client_stream([b"x"]) == b"nothing"

    run(main, loop=loop)


# What handlers raise.


class Odd(BaseException):
    """What no library raises."""


def _raises(error: BaseException, method: str) -> Callable[..., Any]:
    def unary(request: bytes, context: ServerContext) -> bytes:
        raise error

    def generator(request: bytes, context: ServerContext) -> Iterator[bytes]:
        yield b"first"
        raise error

    async def one(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        raise error

    async def stream(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        raise error

    handlers: dict[str, Callable[..., Any]] = {
        "Unary": unary,
        "ServerStream": generator,
        "ClientStream": one,
        "Bidi": stream,
    }
    return handlers[method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "error", [Odd("secret"), GeneratorExit(), BaseExceptionGroup("secret", [Odd()]), StopAsyncIteration(), ValueError()]
)
def test_no_exception_of_a_handler_reaches_other_calls(
    loop: LoopName, method: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"x"), request(method))
        assert (await peer.answer(1)).status == StatusCode.UNKNOWN
        await peer.call(3, b"", request("Other"))
        assert (await peer.answer(3)).status == StatusCode.UNIMPLEMENTED

    ask(test, Probe(**{method: _raises(error, method)}), loop=loop)
    errors = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [each.name for each in errors] == ["wire.server"]
    assert f"/probe.v1.Probe/{method}" in errors[0].getMessage()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("method", METHODS)
def test_a_cancellation_that_a_handler_raises_is_its_calls_status(
    loop: LoopName, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"x"), request(method))
        assert (await peer.answer(1)).status == StatusCode.CANCELLED
        await peer.call(3, b"", request("Other"))
        assert (await peer.answer(3)).status == StatusCode.UNIMPLEMENTED

    ask(test, Probe(**{method: _raises(asyncio.CancelledError(), method)}), loop=loop)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def _kept_cancellation() -> BaseException:
    """trio's, of a scope that has ended: no scope will take it any more."""
    kept: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException as error:
            kept.append(error)
            raise
    return kept.pop()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grouped", [False, True])
def test_a_cancellation_of_a_scope_that_has_ended_is_its_calls_status(
    method: str, grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("trio")

    async def main() -> None:
        kept = await _kept_cancellation()
        error = BaseExceptionGroup("several", [kept, ValueError()]) if grouped else kept
        async with paired(Probe(**{method: _raises(error, method)})) as pair:
            code, _ = await end_of(start(pair.stub, method), method)
            assert code is (StatusCode.UNKNOWN if grouped else StatusCode.CANCELLED)
            other = "Bidi" if method != "Bidi" else "Unary"
            assert (await end_of(start(pair.stub, other), other))[0] is StatusCode.OK

    run(main, loop="trio")
    assert any(each.levelno >= logging.ERROR for each in caplog.records) is grouped


@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
def test_an_iterator_of_requests_may_raise_the_cancellation_of_a_scope_that_has_ended(method: str) -> None:
    pytest.importorskip("trio")

    async def requests(error: BaseException) -> AsyncIterator[bytes]:
        yield b"1"
        raise error

    async def main() -> None:
        kept = await _kept_cancellation()
        async with paired() as pair:
            call = getattr(pair.stub, python_name(method))(requests(kept))
            assert (await end_of(call, method))[0] is StatusCode.CANCELLED
            assert await pair.stub.unary(b"still") == b"still"

    run(main, loop="trio")


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
def test_what_ends_the_program_still_does(loop: LoopName, method: str) -> None:
    async def main() -> None:
        async with paired(Probe(**{method: _raises(SystemExit(3), method)})) as pair:
            await getattr(pair.stub, python_name(method))(b"x" if method == "Unary" else [b"x"])

    with pytest.raises(SystemExit):
        run(main, loop=loop)


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
def test_cancelling_a_server_from_outside_ends_it(loop: LoopName, method: str) -> None:
    async def main() -> None:
        entered = anyio.Event()

        async def wait(request: Any, context: ServerContext) -> bytes:
            entered.set()
            await anyio.sleep_forever()
            return b""

        async def serve(task_status: Any) -> None:
            async with serving(Probe(**{method: wait})) as (_, address):
                task_status.started(address)
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            address = await tasks.start(lambda *, task_status: serve(task_status))
            async with raw_client(address) as peer:
                await peer.call(1, framed(b"x"), request(method))
                await entered.wait()
                tasks.cancel_scope.cancel()

    run(main, loop=loop)


@pytest.mark.parametrize("error", [Odd(), ValueError(), asyncio.CancelledError(), RuntimeError("x")])
def test_a_codecs_exceptions_end_one_call(error: BaseException) -> None:
    def convert(value: bytes) -> bytes:
        if value == b"odd":
            raise error
        return value

    odd = wire.Codec(bytes, convert, convert)
    method = wire.UnaryUnary("Odd", bytes, odd)
    asks = wire.UnaryUnary("Asks", odd, bytes)
    wrong = wire.UnaryUnary("Wrong", bytes, wire.Codec(bytes, lambda message: "text", convert))  # type: ignore[arg-type, return-value]

    odd_service = wire.Service("odd.v1.Odd", (method, asks, wrong))

    class OddServicer(wire.Servicer):
        service = odd_service

        def odd(self, request: bytes, context: ServerContext) -> bytes:
            return request

        asks = wrong = odd

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id, name in ((1, b"Odd"), (3, b"Asks"), (5, b"Wrong")):
            await peer.call(stream_id, framed(b"odd"), request("Unary", (b":path", b"/odd.v1.Odd/" + name)))
            assert (await peer.answer(stream_id)).status == StatusCode.INTERNAL

    ask(test, OddServicer())


@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
@pytest.mark.parametrize("error", [Odd("odd"), asyncio.CancelledError()])
@pytest.mark.parametrize("plain", [True, False])
def test_an_iterator_of_requests_may_raise_anything(
    loop: LoopName, method: str, error: BaseException, plain: bool
) -> None:
    def requests() -> Iterator[bytes]:
        yield b"1"
        raise error

    async def async_requests() -> AsyncIterator[bytes]:
        yield b"1"
        raise error

    async def main(pair: Pair) -> None:
        code, message = await end_of(
            getattr(pair.stub, python_name(method))(requests() if plain else async_requests()), method
        )
        assert code is StatusCode.CANCELLED
        assert type(error).__name__ in message
        assert await pair.stub.unary(b"still") == b"still"

    on_pair(main, loop=loop)


# Errors of calls that a handler makes itself.


@pytest.mark.parametrize("kind", ["async", "stream", "too long", "undecodable"])
def test_an_upstreams_error_does_not_pass_through_a_handler(
    engine: EngineName, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def upstream(request: bytes, context: ServerContext) -> bytes:
        raise wire.RpcError(
            StatusCode.PERMISSION_DENIED, "secret", trailing_metadata=wire.Metadata({"token": "secret"})
        )

    def broken(message: bytes) -> bytes:
        raise ValueError("secret")

    async def main() -> None:
        limited = wire.ChannelConfig(calls=wire.CallConfig(max_send_message_bytes=3))
        async with serving(Probe(unary=upstream)) as (_, behind), wire.Channel(behind, config=limited) as channel:
            stub: Any = ProbeStub(channel)
            stub.server_stream = RequestCallable(wire.UnaryStreamCall, channel, _undecodable(broken))

            async def unary(request: bytes, context: ServerContext) -> Any:
                if kind == "undecodable":
                    await collect(stub.server_stream(b"x"))
                return await stub.unary(b"long" if kind == "too long" else b"x")

            async def stream(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
                yield b"first"
                yield await stub.unary(b"x")

            async with paired(Probe(unary=unary, server_stream=stream), engine=engine) as pair:
                call: Any = pair.stub.server_stream(b"") if kind == "stream" else pair.stub.unary(b"")
                code, message = await status_of(collect(call) if kind == "stream" else call)
                assert code is StatusCode.UNKNOWN
                assert "secret" not in message
                assert not call.trailing_metadata

    run(main)
    assert "the handler raised an exception" in caplog.text


def _undecodable(decode: Callable[[bytes], bytes]) -> wire.UnaryStream[bytes, bytes]:
    method = wire.UnaryStream("ServerStream", bytes, wire.Codec(bytes, bytes, decode))
    wire.Service("probe.v1.Probe", (method,))
    return method


def test_an_upstreams_status_is_passed_on_on_purpose() -> None:
    def unary(request: bytes, context: ServerContext) -> bytes:
        received = wire.CallError(
            StatusCode.NOT_FOUND, "not there", trailing_metadata=wire.Metadata({"token": "secret"})
        )
        raise wire.RpcError(received.code, received.message) from received

    answer = ask_once(framed(b""), Probe(unary=unary))
    assert answer.status == StatusCode.NOT_FOUND
    assert answer.message == "not there"
    assert b"token" not in dict(answer.headers)


# What handlers that stream may return.


class Counting:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self.left = [b"2", b"1"]

    def __aiter__(self) -> Counting:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


async def _returns_generator(request: bytes, context: ServerContext) -> Any:
    async def stream() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    return stream()


@pytest.mark.parametrize(
    "handler",
    [
        lambda request, context: Counting(),
        lambda request, context: [b"1", b"2"],
        lambda request, context: iter([b"1", b"2"]),
        _returns_generator,
    ],
    ids=["async iterator", "list", "iterator", "async def"],
)
def test_any_iterable_is_a_stream(loop: LoopName, handler: Callable[..., Any]) -> None:
    async def main(pair: Pair) -> None:
        assert await collect(pair.stub.server_stream(b"")) == [b"1", b"2"]

    on_pair(main, Probe(server_stream=handler), loop=loop)


@COUNTED
def test_a_long_response_is_not_kept_while_its_handler_waits(loop: LoopName) -> None:
    async def main() -> None:
        sent: list[weakref.ref[EchoResponse]] = []
        received = anyio.Event()

        class Echo(EchoServiceBase):
            def echo(self, request: EchoRequest, context: ServerContext) -> EchoResponse:
                return EchoResponse()

            async def echo_stream(
                self, requests: AsyncIterator[EchoRequest], context: ServerContext
            ) -> AsyncIterator[EchoResponse]:
                response = EchoResponse(payload=bytes(100_000))
                sent.append(weakref.ref(response))
                yield response
                del response
                await received.wait()

        async with paired(Echo()) as pair, EchoServiceStub(pair.channel).echo_stream() as call:
            assert len((await anext(call)).payload) == 100_000
            assert sent[0]() is None
            received.set()

    run(main, loop=loop)


def test_a_plain_generator_is_closed_when_its_call_is_cancelled(loop: LoopName) -> None:
    kept: list[Any] = []

    async def main() -> None:
        closed = anyio.Event()

        def generate() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(1000)
            finally:
                closed.set()

        def handler(request: bytes, context: ServerContext) -> Iterator[bytes]:
            kept.append(generate())  # so that no collector closes it
            return kept[-1]  # type: ignore[no-any-return]

        async with paired(Probe(server_stream=handler)) as pair, pair.stub.server_stream(b"") as call:
            async for _ in call:
                break
            call.cancel()
            await closed.wait()

    run(main, loop=loop)
