"""Streaming calls on a client: how requests and responses pace each other, and who stops whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import IMPATIENT, RawPeer, answered, raw_server, reply
from tests.support import Pair, Probe, ProbeStub, collect, end_of, ignore_rpc_errors, on_pair, run, status_of
from wire import RpcError, ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType
from wire.service_names import python_name
from wire.transport.runtime import LoopName


def test_leaving_a_stream_early_and_cancelling_it_frees_its_window(engine: EngineName) -> None:
    async def endless(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    async def main(pair: Pair) -> None:
        for _ in range(12):  # each would keep a whole stream window of the connection's
            async with pair.stub.server_stream(b"") as call:
                async for _response in call:
                    break
            assert call.code is StatusCode.CANCELLED
        assert await pair.stub.unary(bytes(100_000)) == bytes(100_000)

    http2 = wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=200_000)
    on_pair(main, Probe(server_stream=endless), engine=engine, channel_config=wire.ChannelConfig(http2=http2))


def test_two_slow_streams_do_not_lock_a_channel(engine: EngineName, loop: LoopName) -> None:
    """Each reader makes a call for each message, while the connection's window would long be full of what they have
    not read."""

    async def down(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(30_000)

    async def main(pair: Pair) -> None:
        async def read() -> None:
            async for each in pair.stub.server_stream(b""):
                assert await pair.stub.unary(each) == each

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(read)

    http2 = wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=65_535)
    on_pair(main, Probe(server_stream=down), engine=engine, loop=loop, channel_config=wire.ChannelConfig(http2=http2))


def test_streams_that_nobody_reads_leave_the_channel_to_others(engine: EngineName, loop: LoopName) -> None:
    async def endless(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        while True:
            yield bytes(30_000)

    async def main(pair: Pair) -> None:
        async with pair.stub.server_stream(b"") as one, pair.stub.server_stream(b"") as other:
            for call in (one, other):
                await anext(aiter(call))
            for _ in range(10):
                assert await pair.stub.unary(bytes(20_000)) == bytes(20_000)

    http2 = wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=65_535)
    on_pair(
        main, Probe(server_stream=endless), engine=engine, loop=loop, channel_config=wire.ChannelConfig(http2=http2)
    )


def test_ended_streams_whose_messages_nobody_takes_keep_no_window(engine: EngineName) -> None:
    async def main(pair: Pair) -> None:
        kept = []
        for _ in range(12):
            call = pair.stub.server_stream(b"123")
            assert await anext(aiter(call)) == b"1" * 20_000
            while call.code is None:
                await anyio.lowlevel.checkpoint()
            kept.append(call)
        assert await pair.stub.unary(bytes(100_000)) == bytes(100_000)
        assert await collect(kept[0]) == [b"2" * 20_000, b"3" * 20_000]

    def thrice(request: bytes, context: ServerContext) -> Iterator[bytes]:
        for byte in request:
            yield bytes([byte]) * 20_000

    http2 = wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=100_000)
    on_pair(main, Probe(server_stream=thrice), engine=engine, channel_config=wire.ChannelConfig(http2=http2))


def test_a_reader_that_is_slow_holds_the_server_back(engine: EngineName) -> None:
    yielded = 0

    async def endless(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        nonlocal yielded
        while True:
            yielded += 1
            yield bytes(10_000)

    async def main(pair: Pair) -> None:
        call = pair.stub.server_stream(b"")
        responses = aiter(call)
        await anext(responses)
        for _ in range(5):
            await pair.stub.unary(b"")  # so often, everything sent has arrived
        held = yielded
        assert held * 10_000 < 65_535 + 65_536 + 3 * 10_000  # the stream's window, and what the server may queue
        for _ in range(held + 10):
            await anext(responses)
        call.cancel()

    http2 = wire.Http2Config(stream_window_bytes=65_535)
    on_pair(main, Probe(server_stream=endless), engine=engine, channel_config=wire.ChannelConfig(http2=http2))


def test_a_sender_waits_for_a_server_that_does_not_read(loop: LoopName, engine: EngineName) -> None:
    sent = 0

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.bidi()

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await call.send(bytes(1000))
                sent += 1
            await call.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(call.send, bytes(5000))  # two senders wait, and both go on
            while len(peer.answers[3].data) < 65_535 - 100:
                await peer.receive()
            await peer.barrier()
            await peer.barrier()
            assert sent * 1000 < 65_535 + 4096 + 10_000
            await peer.send(frames.window_update(3, 1 << 20), frames.window_update(0, 1 << 20))
            answer = await peer.answer(3)
        assert len(answer.data) == 100 * 1005 + 5005
        await reply(peer, 3, b"")
        assert await collect(call) == [b""]

    answered(test, engine=engine, loop=loop, calls=wire.CallConfig(send_buffer_bytes=4096))


@pytest.mark.parametrize("how", ["close", "reset", "deadline", "cancel", "trailers"])
def test_a_sender_that_waits_is_let_go_when_the_call_ends(engine: EngineName, how: str, clock: ManualClock) -> None:
    async def main() -> None:
        calls = wire.CallConfig(send_buffer_bytes=4096)
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, calls=calls)
        async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
            call = ProbeStub(channel).bidi(timeout=5)
            peer = await server.accept()

            async def send() -> None:
                for _ in range(100):
                    await call.send(bytes(1000))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ignore_rpc_errors, send())
                while len(peer.answers[1].data) < 65_535 - 100:
                    await peer.receive()
                if how == "close":
                    await peer.stream.aclose()
                elif how == "reset":
                    await peer.send(frames.rst_stream(1))
                elif how == "deadline":
                    clock.advance(5.1)
                elif how == "trailers":  # and no RST_STREAM: the stream is half open, and its window stays closed
                    await peer.send(frames.headers(1, (*frames.RESPONSE, (b"grpc-status", b"9")), end=True))
                else:
                    call.cancel()
            assert call.code is not None
            with pytest.raises(RpcError):
                await call.send(b"")

    run(main)


def test_sending_after_the_end_is_a_usage_error(engine: EngineName) -> None:
    async def main(pair: Pair) -> None:
        call = pair.stub.bidi()
        await call.send(b"1")
        await call.end()
        await call.end()
        with pytest.raises(wire.UsageError, match="ended"):
            await call.send(b"2")
        assert await collect(call) == [b"1"]
        assert await collect(call) == []

    on_pair(main, engine=engine)


def test_sending_to_a_call_that_ended_well_is_a_usage_error() -> None:
    async def one(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        yield await anext(requests)

    async def main(pair: Pair) -> None:
        call = pair.stub.bidi()
        await call.send(b"1")
        assert await collect(call) == [b"1"]
        with pytest.raises(wire.UsageError, match="takes no more"):
            await call.send(b"2")

    on_pair(main, Probe(bidi=one))


@pytest.mark.parametrize("server_resets", [False, True])
def test_a_stream_that_only_the_server_has_ended_is_let_go(engine: EngineName, server_resets: bool) -> None:
    """Or it would count against the limit of streams for as long as the connection lives."""

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.bidi()
        await peer.until(FrameType.HEADERS, 3)
        answer = frames.headers(3, frames.RESPONSE) + frames.headers(3, frames.TRAILERS, end=True)
        await peer.send(answer, frames.rst_stream(3, ErrorCode.NO_ERROR) if server_resets else b"")
        assert await collect(call) == []
        await peer.barrier()
        sent = [each.code for each in peer.frames if each.kind == FrameType.RST_STREAM]
        assert sent == ([] if server_resets else [ErrorCode.NO_ERROR])
        (connection,) = stub.channel.pool._ready
        assert not connection.engine.streams

    answered(test, engine=engine)


def test_an_early_answer_stops_the_iterator_of_requests(loop: LoopName, engine: EngineName) -> None:
    async def early(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        return await anext(requests)

    async def main(pair: Pair) -> None:
        stopped = anyio.Event()

        async def requests() -> AsyncIterator[bytes]:
            yield b"1"
            try:
                await anyio.sleep_forever()
            finally:
                stopped.set()

        assert await pair.stub.client_stream(requests()) == b"1"
        await stopped.wait()

    on_pair(main, Probe(client_stream=early), engine=engine, loop=loop)


def test_an_iterator_that_waits_for_room_is_closed_when_its_call_ends(loop: LoopName, engine: EngineName) -> None:
    closed = anyio.Event()

    async def requests() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(10_000)
        finally:
            closed.set()

    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.bidi(requests())
        while len(peer.answers[3].data) < 65_535 - 100:
            await peer.receive()
        await peer.send(frames.rst_stream(3))
        await closed.wait()
        assert call.code is StatusCode.CANCELLED
        await peer.send(frames.window_update(0, 1 << 20))

    answered(test, engine=engine, loop=loop)


@pytest.mark.parametrize("error", [ValueError("broken"), RpcError(StatusCode.NOT_FOUND), wire.UsageError("misused")])
@pytest.mark.parametrize("method", ["ClientStream", "Bidi"])
def test_an_iterator_of_requests_that_raises_ends_the_call(loop: LoopName, method: str, error: Exception) -> None:
    async def main(pair: Pair) -> None:
        async def requests() -> AsyncIterator[bytes]:
            yield b"1"
            raise error

        call = getattr(pair.stub, python_name(method))(requests())
        code, message = await end_of(call, method)
        assert code is StatusCode.CANCELLED
        assert type(error).__name__ in message

    on_pair(main, loop=loop)


@pytest.mark.parametrize(
    ("request_", "code"), [("text", StatusCode.INTERNAL), (bytes(2000), StatusCode.RESOURCE_EXHAUSTED)]
)
def test_an_iterated_request_that_cannot_be_sent_ends_the_call(request_: Any, code: StatusCode) -> None:
    async def main(pair: Pair) -> None:
        assert (await status_of(pair.stub.client_stream([b"1", request_])))[0] is code

    config = wire.ChannelConfig(calls=wire.CallConfig(max_send_message_bytes=1024))
    on_pair(main, channel_config=config)


def test_streams_go_both_ways_at_once(loop: LoopName, engine: EngineName) -> None:
    async def main(pair: Pair) -> None:
        call = pair.stub.bidi()
        responses = aiter(call)
        for number in range(20):
            await call.send(b"%d" % number)
            assert await anext(responses) == b"%d" % number
        await call.end()
        assert await collect(responses) == []
        assert call.code is StatusCode.OK

    on_pair(main, engine=engine, loop=loop)


@pytest.mark.parametrize("size", [0, 1, 65_535, 1 << 20, (1 << 22) - 1])
def test_messages_of_any_size_travel(engine: EngineName, size: int) -> None:
    async def main(pair: Pair) -> None:
        message = bytes(size)
        assert await pair.stub.unary(message) == message
        assert await collect(pair.stub.bidi([message, b"", message])) == [message, b"", message]

    on_pair(main, engine=engine)
