"""Handlers of single messages of a stream: what they see and answer is what an `async for` over the requests would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

import anyio
import pytest

import wire
from tests.http2 import frames
from tests.peers import RawPeer, ask, request
from tests.support import PROBE_SERVICE, Pair, collect, on_pair, status_of
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.rpc.framing import frame as framed
from wire.server.message_call import MessageCall
from wire.transport.runtime import LoopName

SEEN: ContextVar[bytes] = ContextVar("SEEN", default=b"")


class Messages(wire.Servicer):
    """Answers b"n" with as many bytes; b"0" with nothing; the letters as they say."""

    service = PROBE_SERVICE

    def __init__(self) -> None:
        self.kinds: set[type] = set()
        self.seen: list[bytes] = []
        self.tasks = 0

    @wire.per_message
    def bidi(self, request: bytes, context: ServerContext) -> bytes | None:
        self.kinds.add(type(context))
        self.seen.append(request)
        self.tasks = max(self.tasks, len(context.connection.running))
        if request == b"abort":
            raise wire.RpcError(StatusCode.ABORTED, "as asked")
        if request == b"raise":
            raise ValueError("not for others")
        if request == b"remember":
            SEEN.set(SEEN.get() + b"+")
            return SEEN.get()
        if request == b"watch":
            context.add_done_callback(lambda ended: self.seen.append(str(ended.code).encode()))
            return b"watched"
        if request == b"end":
            context.end(StatusCode.OK)
        if request == b"last":
            context.send_last(b"last")
        if request == b"reset":
            context.reset(11)
        if request in (b"end", b"last", b"reset"):
            return b"too late"
        if request.startswith(b"long"):
            return b"%d" % len(request)
        return bytes(int(request)) if int(request) else None


def test_each_request_is_answered_as_it_comes(engine: EngineName, loop: LoopName) -> None:
    servicer = Messages()

    async def test(pair: Pair) -> None:
        async with pair.stub.bidi() as call:
            for size in (3, 1, 70):
                await call.send(b"%d" % size)
                assert await anext(call) == bytes(size)
            await call.send(b"0")
            await call.send(b"2")
            assert await anext(call) == bytes(2)
            await call.end()
            assert await collect(call) == []
        assert servicer.kinds == {MessageCall}
        assert servicer.tasks == 0

    on_pair(test, servicer, engine=engine, loop=loop)


def test_a_stream_without_requests_and_one_that_ends_at_once() -> None:
    async def test(pair: Pair) -> None:
        assert await collect(pair.stub.bidi([])) == []
        assert await collect(pair.stub.bidi([b"1", b"2"])) == [bytes(1), bytes(2)]
        assert await collect(pair.stub.bidi([b"0"])) == []

    on_pair(test, Messages())


@pytest.mark.parametrize("count", [3000, 40])
def test_requests_wait_while_responses_are_not_read(engine: EngineName, loop: LoopName, count: int) -> None:
    servicer = Messages()
    size = 400_000 // count

    async def test(pair: Pair) -> None:
        async with pair.stub.bidi() as call, anyio.create_task_group() as tasks:

            async def send() -> None:
                for _ in range(count):
                    await call.send(b"%d" % size)
                await call.end()

            tasks.start_soon(send)
            assert await anext(call) == bytes(size)
            await anyio.wait_all_tasks_blocked()
            assert len(servicer.seen) < count
            assert await collect(call) == [bytes(size)] * (count - 1)

    on_pair(
        test,
        servicer,
        engine=engine,
        loop=loop,
        channel_config=wire.ChannelConfig(http2=wire.Http2Config(stream_window_bytes=1 << 16)),
    )


def test_long_and_compressed_requests() -> None:
    async def test(pair: Pair) -> None:
        requests = [b"long" * 50_000, b"3", b"long" * 750_000]
        for compression in (None, "gzip"):
            call = pair.stub.bidi(requests, compression=compression)
            assert await collect(call) == [b"200000", bytes(3), b"3000000"]

    calls = wire.CallConfig(inline_decode_bytes=1000)
    on_pair(test, Messages(), server_config=wire.ServerConfig(calls=calls))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"abort", (StatusCode.ABORTED, "as asked")),
        (b"raise", (StatusCode.UNKNOWN, "the handler raised an exception")),
    ],
)
def test_what_it_raises_is_the_status_and_nothing_follows(request_: bytes, expected: tuple[StatusCode, str]) -> None:
    servicer = Messages()

    async def test(pair: Pair) -> None:
        assert await status_of(collect(pair.stub.bidi([b"1", request_, b"2"]))) == expected
        assert servicer.seen == [b"1", request_]

    on_pair(test, servicer)


def test_a_context_is_its_calls() -> None:
    async def test(pair: Pair) -> None:
        for _ in range(2):
            assert await collect(pair.stub.bidi([b"remember"] * 2)) == [b"+", b"++"]

    on_pair(test, Messages())


def test_done_callbacks() -> None:
    servicer = Messages()

    async def test(pair: Pair) -> None:
        assert await collect(pair.stub.bidi([b"watch", b"1"])) == [b"watched", bytes(1)]
        assert servicer.seen == [b"watch", b"1", b"OK"]

    on_pair(test, servicer)


def test_messages_in_any_pieces(engine: EngineName) -> None:
    body = framed(b"1") + framed(b"0") + framed(b"3")

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id, cuts in ((1, []), (3, [2]), (5, [8]), (7, [6, 7, 15]), (9, [1, 6, 7, 12, 16])):
            pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
            await peer.call(stream_id, pieces[0], request("Bidi"), end=False)
            for piece in pieces[1:]:
                await peer.barrier()
                await peer.send(frames.data(stream_id, piece))
            await peer.send(frames.data(stream_id, b"", end=True))
            assert (await peer.answer(stream_id)).data == framed(bytes(1)) + framed(bytes(3))

    ask(test, Messages(), engine=engine)


@pytest.mark.parametrize("last", [b"abort", b"raise", b"end", b"last", b"reset"])
def test_what_was_answered_before_the_end_in_the_same_frame_is_sent(engine: EngineName, last: bytes) -> None:
    servicer = Messages()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"1"), request("Bidi"), end=False)
        await peer.barrier()
        await peer.send(frames.data(1, framed(b"2") * 20 + framed(last) + framed(b"3")))
        answer = await peer.answer(1)
        end = framed(b"last") if last == b"last" else b""
        assert answer.data == framed(bytes(1)) + framed(bytes(2)) * 20 + end
        assert servicer.seen[-1] == last

    ask(test, servicer, engine=engine)


def test_responses_of_any_size_to_requests_of_one_frame(engine: EngineName) -> None:
    sizes = [1, 1, 1, 1, 1, 0, 5000, 5000, 1, 20_000, 3, 10_000, 1]

    async def test(pair: Pair) -> None:
        async with pair.stub.bidi() as call:
            for size in sizes:
                await call.send(b"%d" % size)
            await call.end()
            assert [len(each) async for each in call] == [size for size in sizes if size]

    on_pair(test, Messages(), engine=engine)


def test_what_stands_in_front_of_it_is_not_passed_by() -> None:
    def logged(handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(handler)
        def around(self: Any, requests: AsyncIterator[bytes], context: ServerContext) -> Any:
            self.seen.append(b"around")
            return handler(self, requests, context)

        return around

    class Logged(Messages):
        bidi = logged(Messages.bidi)

    servicer = Logged()

    async def test(pair: Pair) -> None:
        assert await collect(pair.stub.bidi([b"1", b"0", b"2"])) == [bytes(1), bytes(2)]
        assert servicer.seen == [b"around", b"1", b"0", b"2"]
        assert MessageCall not in servicer.kinds

    on_pair(test, servicer)


def test_only_plain_functions_are_taken() -> None:
    async def handler(self: Any, request: bytes, context: ServerContext) -> bytes:
        return request

    with pytest.raises(wire.ServiceError, match="handler is called with each message"):
        wire.per_message(handler)
