"""How one call on a server ends before its time, and what it may hold until then."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import RawPeer, ask, raw_client, request
from tests.support import LOOPS, Pair, Probe, ProbeStub, collect, on_pair, paired, run, serving, turns
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

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

    async def unary(self, request: bytes, context: ServerContext) -> bytes:
        await self.wait(context)
        return request

    async def server_stream(self, request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        await self.wait(context)

    async def client_stream(self, requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        self.contexts.append(context)
        self.entered.set()
        try:
            return b"".join([each async for each in requests])
        finally:
            self.left.set()

    async def bidi(self, requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        yield b"first"
        await self.wait(context)

    def servicer(self) -> Probe:
        return Probe(
            unary=self.unary, server_stream=self.server_stream, client_stream=self.client_stream, bidi=self.bidi
        )


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

    ask(test, Probe(unary=unary), engine=engine, loop=loop)


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

    ask(test, Probe(server_stream=stream))


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

    ask(test, Probe(bidi=bidi))


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

    ask(test, Probe(unary=unary), engine=engine, http2=wire.Http2Config(max_concurrent_streams=4))


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
    ended_with: list[StatusCode | None] = []
    closed = anyio.Event()

    async def stream(request: Any, context: ServerContext) -> AsyncIterator[bytes]:
        nonlocal yielded
        context.add_done_callback(lambda context: ended_with.append(context.code))
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
        assert ended_with == [StatusCode.DEADLINE_EXCEEDED]

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
        Probe(client_stream=slow),
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

    ask(test, Probe(client_stream=slow))


def test_requests_that_nobody_takes_hold_up_no_other_call(engine: EngineName, loop: LoopName) -> None:
    async def idle(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        await anyio.sleep_forever()
        return b""

    async def main(pair: Pair) -> None:
        calls = [pair.stub.client_stream([bytes(30_000)] * 5) for _ in range(2)]
        for _ in range(10):
            assert await pair.stub.unary(bytes(20_000)) == bytes(20_000)
        for call in calls:
            call.cancel()

    http2 = wire.Http2Config(stream_window_bytes=65_535, connection_window_bytes=65_535)
    on_pair(main, Probe(client_stream=idle), engine=engine, loop=loop, server_config=wire.ServerConfig(http2=http2))


def test_messages_over_the_budget_come_one_after_another(engine: EngineName, loop: LoopName) -> None:
    async def main(pair: Pair) -> None:
        async def upload(size_bytes: int) -> None:
            message = bytes(size_bytes)
            assert await pair.stub.unary(message) == message
            assert await pair.stub.client_stream([message, message]) == message + message
            assert await collect(pair.stub.bidi([message] * 3)) == [message] * 3

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(upload, 30_000 * number)

    http2 = wire.Http2Config(stream_window_bytes=65_535, max_stream_window_bytes=100_000, receive_budget_bytes=250_000)
    on_pair(
        main,
        engine=engine,
        loop=loop,
        server_config=wire.ServerConfig(http2=http2),
        channel_config=wire.ChannelConfig(http2=http2),
    )


@pytest.mark.parametrize("method", ["Unary", "ClientStream"])
def test_unfinished_messages_hold_windows_and_the_budget(engine: EngineName, method: str) -> None:
    """A peer that sends all that it may of a hundred messages of 4 MiB."""
    http2 = wire.Http2Config(stream_window_bytes=65_535, receive_budget_bytes=1 << 23)
    sent = 0

    async def test(peer: RawPeer, server: wire.Server) -> None:
        nonlocal sent
        chunk = bytes(16_000)
        for stream_id in range(1, 201, 2):
            await peer.send(frames.headers(stream_id, request(method)), frames.data(stream_id, b"\0\0\x40\0\0" + chunk))
        await peer.barrier()
        granted = dict.fromkeys(range(1, 201, 2), 65_535)
        for each in peer.frames:
            if each.kind == FrameType.WINDOW_UPDATE and each.stream_id:
                granted[each.stream_id] += each.number
        assert sum(each > 65_535 for each in granted.values()) == 2  # the third must wait, with its window's worth
        assert sum(granted.values()) <= 100 * 65_535 + (1 << 23)
        await peer.send(frames.rst_stream(1))
        await peer.barrier()
        updated = {each.stream_id for each in peer.frames if each.kind == FrameType.WINDOW_UPDATE}
        assert updated >= {1, 3, 5}

    ask(test, engine=engine, http2=http2)


def test_a_second_request_is_refused_uninflated(engine: EngineName) -> None:
    unfolded: list[int] = []

    def decompress(message: bytes, max_bytes: int) -> bytes:
        unfolded.append(len(message))
        return gzip.decompress(message)

    async def test(peer: RawPeer, server: wire.Server) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("wire.rpc.compression", fromlist=["_"])._DECOMPRESSORS, "gzip", decompress)
            bombs = framed(bytes(1 << 20), gzip.compress) * 15
            await peer.send(frames.headers(1, request("Unary", (b"grpc-encoding", b"gzip"))), frames.data(1, bombs))
            assert (await peer.answer(1)).status == StatusCode.UNIMPLEMENTED
        assert unfolded == []

    ask(test, engine=engine)


def test_stubs_and_raw_peers_see_the_same_service(engine: EngineName) -> None:
    async def main() -> None:
        async with paired(engine=engine) as pair, raw_client(pair.address) as peer:
            await peer.call(1)
            assert (await peer.answer(1)).data == framed(await ProbeStub(pair.channel).unary(b"hello"))

    run(main)


# Replies that a peer does not take.

BIG = bytes(10_000)


def begun(*, asynchronous: bool) -> tuple[Probe, list[int]]:
    """An echo, and the sizes of the requests whose handlers began."""
    sizes: list[int] = []

    def plain(request: bytes, context: ServerContext) -> bytes:
        sizes.append(len(request))
        return request

    async def task(request: bytes, context: ServerContext) -> bytes:
        return plain(request, context)

    return Probe(unary=task if asynchronous else plain), sizes


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_handlers_wait_while_replies_are_not_taken_and_go_on_in_order(
    loop: LoopName, engine: EngineName, asynchronous: bool, zipped: bool
) -> None:
    probe, sizes = begun(asynchronous=asynchronous)

    async def test(peer: RawPeer, server: wire.Server) -> None:
        fields = request("Unary", (b"grpc-encoding", b"gzip")) if zipped else request()
        for number in range(20):
            body = framed(BIG + bytes(number), gzip.compress if zipped else None)
            await peer.send(frames.headers(2 * number + 1, fields), frames.data(2 * number + 1, body, end=True))
        await peer.barrier()
        await turns()
        assert 3 <= len(sizes) <= 4
        assert queued_bytes(server) < 45_000
        assert len(next(iter(each for each in server.connections if each.calls_wait))._waiting) == 20 - len(sizes)
        await peer.send(frames.window_update(0, 1 << 20), frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
        for number in range(20):
            assert (await peer.answer(2 * number + 1)).data == framed(BIG + bytes(number))
        began = sorted(sizes) if asynchronous else sizes  # trio runs tasks in no order
        assert began == [len(BIG) + number for number in range(20)]
        await peer.call(99)
        assert (await peer.answer(99)).status == StatusCode.OK

    ask(test, probe, engine=engine, loop=loop, settings=NO_WINDOW, reply_buffer_bytes=30_000)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_that_wait_for_room_end_by_reset_and_deadline(
    loop: LoopName, engine: EngineName, asynchronous: bool, clock: ManualClock
) -> None:
    probe, sizes = begun(asynchronous=asynchronous)

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in range(1, 9, 2):
            await peer.call(stream_id, framed(BIG))
        await peer.call(9, framed(b"reset"))
        await peer.call(11, framed(b"expires"), request("Unary", (b"grpc-timeout", b"5S")))
        await peer.barrier()
        await turns()
        (connection,) = [each for each in server.connections if each.calls_wait]
        before = len(sizes)
        await peer.send(frames.rst_stream(9))
        await peer.barrier()
        assert len(connection._waiting) == 6 - before - 1
        clock.advance(5.1)
        assert (await peer.answer(11)).status == StatusCode.DEADLINE_EXCEEDED
        assert len(connection._waiting) == 6 - before - 2
        await peer.send(*[frames.rst_stream(stream_id) for stream_id in range(1, 9, 2)])
        await peer.call(13, framed(b"x"))
        await peer.send(frames.window_update(13, 100))
        assert (await peer.answer(13)).data == framed(b"x")
        assert not connection.calls_wait
        assert 5 not in sizes
        assert 7 not in sizes

    ask(test, probe, engine=engine, loop=loop, settings=NO_WINDOW, reply_buffer_bytes=25_000)


def test_a_peer_that_grants_nothing_while_calls_wait_is_closed_and_a_slow_one_is_not(
    engine: EngineName, clock: ManualClock
) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in range(1, 13, 2):
            await peer.call(stream_id, framed(BIG))
        await peer.barrier()
        for _ in range(3):
            clock.advance(19)
            await peer.send(frames.window_update(1, 1))
            await peer.barrier()
        clock.advance(19)
        await peer.barrier()
        assert not peer.goaways
        clock.advance(40)
        assert (await peer.goaway()).code is ErrorCode.ENHANCE_YOUR_CALM

    ask(test, engine=engine, settings=NO_WINDOW, reply_buffer_bytes=25_000)


def test_streams_that_are_read_slowly_hold_up_no_unary_calls(engine: EngineName, clock: ManualClock) -> None:
    async def stream(request: bytes, context: ServerContext) -> AsyncIterator[bytes]:
        yield BIG
        await anyio.sleep_forever()

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in range(1, 21, 2):
            await peer.call(stream_id, framed(b"x"), request("ServerStream"))
            await peer.until(FrameType.HEADERS, stream_id)
        await peer.barrier()
        assert queued_bytes(server) > 90_000
        clock.advance(100)
        await peer.call(21, framed(b"x"))
        await peer.send(frames.window_update(21, 100))
        assert (await peer.answer(21)).data == framed(b"x")
        assert not peer.goaways

    ask(test, Probe(server_stream=stream), engine=engine, settings=NO_WINDOW, reply_buffer_bytes=25_000)


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="memory is counted by sys.getsizeof, which PyPy lacks")
def test_small_messages_are_held_in_little_more_than_their_bytes(engine: EngineName) -> None:
    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, fields=request("Bidi"), body=b"", end=False)
        for _ in range(20):
            await peer.send(frames.data(1, framed(b"x") * 1000))
            await peer.barrier()
        (stream,) = [stream for each in server.connections for stream in each.engine.streams.values()]
        assert stream.queued_bytes >= 65_536
        held = sum(sys.getsizeof(chunk) for chunk in stream.queue)
        assert held < 2 * stream.queued_bytes

    ask(test, engine=engine, settings=NO_WINDOW)
