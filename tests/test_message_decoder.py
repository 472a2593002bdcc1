"""Long messages are decoded in a thread: both roles, every kind of call, in order, and not once nobody wants them."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import wire
from tests.codec.generated import kinds
from tests.leftovers import COUNTED
from tests.support import run, turns
from wire.codec import codec_for
from wire.config import CallConfig, EngineName
from wire.errors import DecodeError
from wire.message_decoder import MessageDecoder, ThreadTurns
from wire.transport.runtime import LoopName, open_runtime

UNARY = wire.UnaryUnary("Unary", kinds.Tree, kinds.Tree)
BIDI = wire.StreamStream("Bidi", kinds.Tree, kinds.Tree)
SERVICE = wire.Service("trees.v1.Trees", (UNARY, BIDI))
HEAVY = kinds.Tree(label="heavy", children=[kinds.Tree(label=str(number)) for number in range(5000)])
LIGHT = kinds.Tree(label="light")


class Stub(wire.Stub):
    service = SERVICE
    unary = UNARY
    bidi = BIDI


class Servicer(wire.Servicer):
    service = SERVICE

    def unary(self, request: kinds.Tree, context: wire.ServerContext) -> kinds.Tree:
        return request

    async def bidi(self, requests: AsyncIterator[kinds.Tree], context: wire.ServerContext) -> AsyncIterator[kinds.Tree]:
        async for request in requests:
            yield request


class AsyncServicer(Servicer):
    async def unary(self, request: kinds.Tree, context: wire.ServerContext) -> kinds.Tree:  # type: ignore[override]
        await anyio.sleep(0)
        return request


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each message decoded by a MessageDecoder: whether that was in another thread than the test's."""
    seen: list[bool] = []
    made = MessageDecoder.__init__

    def recording(self: MessageDecoder[Any], codec: Any, calls: CallConfig) -> None:
        made(self, codec, calls)
        decode, decode_long, own = self.decode, self.decode_long, threading.get_ident()

        def decode_and_note(data: bytes) -> Any:
            seen.append(threading.get_ident() != own)
            return decode(data)

        def decode_long_and_note(data: bytes) -> Any:
            seen.append(threading.get_ident() != own)
            return decode_long(data)

        self.decode, self.decode_long = decode_and_note, decode_long_and_note

    monkeypatch.setattr(MessageDecoder, "__init__", recording)
    return seen


@pytest.mark.parametrize("servicer", [Servicer(), AsyncServicer()])
def test_long_messages_are_decoded_in_a_thread_and_short_ones_are_not(
    servicer: Servicer, engine: EngineName, loop: LoopName, threads: list[bool]
) -> None:
    async def main() -> None:
        async with wire.Server([servicer], config=wire.ServerConfig(engine=engine)) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound, config=wire.ChannelConfig(engine=engine)) as channel:
                stub = Stub(channel)
                assert await stub.unary(LIGHT) == LIGHT
                assert threads == [False, False]
                assert await stub.unary(HEAVY) == HEAVY
                assert threads == [False, False, True, True]

    run(main, loop=loop)


def test_a_stream_keeps_its_order_across_both_ways(engine: EngineName, loop: LoopName, threads: list[bool]) -> None:
    async def main() -> None:
        sent = [LIGHT, HEAVY, LIGHT, LIGHT, HEAVY, HEAVY, LIGHT]
        async with wire.Server([Servicer()], config=wire.ServerConfig(engine=engine)) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound, config=wire.ChannelConfig(engine=engine)) as channel:
                assert [response async for response in Stub(channel).bidi(sent)] == sent
        assert threads.count(True) == 6

    run(main, loop=loop)


@pytest.mark.parametrize("servicer", [Servicer(), AsyncServicer()])
def test_what_becomes_long_when_it_is_decompressed_goes_through_the_thread(
    servicer: Servicer, engine: EngineName, loop: LoopName, threads: list[bool]
) -> None:
    async def main() -> None:
        calls = CallConfig(compression="gzip")
        long = kinds.Tree(label="x" * 100_000)  # quick to decode, and not to decompress
        async with wire.Server([servicer], config=wire.ServerConfig(engine=engine, calls=calls)) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound, config=wire.ChannelConfig(engine=engine, calls=calls)) as channel:
                stub = Stub(channel)
                assert await stub.unary(LIGHT) == LIGHT
                assert threads == [False, False]
                assert await stub.unary(long) == long
                assert threads == [False, False, True, True]
                sent = [LIGHT, long, LIGHT, long, LIGHT]
                assert [response async for response in stub.bidi(sent)] == sent
                assert threads[4:].count(True) == 4

    run(main, loop=loop)


@pytest.mark.parametrize("method", ["Unary", "Bidi"])
@pytest.mark.parametrize("wrong", ["server", "client"])
def test_what_is_too_long_when_it_is_decompressed_in_the_thread_ends_its_call(
    method: str, wrong: str, engine: EngineName, loop: LoopName
) -> None:
    async def main() -> None:
        long = kinds.Tree(label="x" * 200_000)
        any_size = CallConfig(compression="gzip")
        strict = CallConfig(compression="gzip", max_receive_message_bytes=100_000)
        server_config = wire.ServerConfig(engine=engine, calls=strict if wrong == "server" else any_size)
        async with wire.Server([Servicer()], config=server_config) as server:
            bound = await server.listen("127.0.0.1:0")
            channel_config = wire.ChannelConfig(engine=engine, calls=strict if wrong == "client" else any_size)
            async with wire.Channel(bound, config=channel_config) as channel:
                stub = Stub(channel)
                with pytest.raises(wire.RpcError, match="over the limit of 100000 bytes decompressed") as failure:
                    _ = await stub.unary(long) if method == "Unary" else [each async for each in stub.bidi([long])]
                assert failure.value.code is wire.StatusCode.RESOURCE_EXHAUSTED
                assert await stub.unary(LIGHT) == LIGHT

    run(main, loop=loop)


class Held:
    """Messages that are decoded in the thread one by one, as the test says."""

    def __init__(self) -> None:
        self.decoder = MessageDecoder(codec_for(bytes), CallConfig())
        self.decoder.decode_long = self._decode
        self.decoded: list[bytes] = []
        self.go_on = threading.Semaphore(0)

    def _decode(self, data: bytes) -> tuple[bytes, int]:
        self.go_on.acquire()
        self.decoded.append(data)
        return data, len(data)


def test_connections_take_turns_in_the_thread(loop: LoopName) -> None:
    async def main() -> None:
        held = Held()
        async with open_runtime() as runtime:
            ended = runtime.future()
            done: list[bytes] = []

            def note(message: bytes | None, error: object, size_bytes: int) -> None:
                done.append(message or b"")
                if len(done) == 12:
                    ended.set_result(None)

            many, few = ThreadTurns(runtime), ThreadTurns(runtime)
            for number in range(10):
                held.decoder.decode_in_thread(many, number, b"many", lambda: True, note)
            for number in range(2):
                held.decoder.decode_in_thread(few, number, b"few", lambda: True, note)
            for _ in range(12):
                held.go_on.release()
                await turns(1)
            await ended
        assert held.decoded[:2] == [b"many", b"few"]
        assert b"few" in held.decoded[2:5]

    run(main, loop=loop)


def test_a_message_that_is_dropped_is_let_go_of_at_once(loop: LoopName) -> None:
    async def main() -> None:
        held = Held()
        async with open_runtime() as runtime:
            ended = runtime.future()
            done: list[object] = []
            several = ThreadTurns(runtime)

            def note(message: bytes | None, error: object, size_bytes: int) -> None:
                done.append(message)
                if len(done) == 2:
                    ended.set_result(None)

            held.decoder.decode_in_thread(several, "first", b"first", lambda: True, note)
            held.decoder.decode_in_thread(several, "second", b"second", lambda: True, note)
            several.drop("second")
            assert done == [None]
            several.drop("second")
            several.drop("first")  # which the thread has
            held.go_on.release()
            await ended
        assert done == [None, b"first"]
        assert held.decoded == [b"first"]

    run(main, loop=loop)


@pytest.mark.parametrize("limit", ["depth", "memory"])
def test_a_message_over_a_limit_ends_its_call_with_internal_and_no_other(limit: str, loop: LoopName) -> None:
    async def main() -> None:
        strict = CallConfig(max_message_depth=1) if limit == "depth" else CallConfig(max_decoded_bytes=50_000)
        wrong = kinds.Tree(left=kinds.Tree(left=LIGHT)) if limit == "depth" else HEAVY
        async with wire.Server([Servicer()], config=wire.ServerConfig(calls=strict)) as strict_server:
            bound = await strict_server.listen("127.0.0.1:0")
            async with wire.Channel(bound) as channel:
                with pytest.raises(wire.RpcError, match="the limit") as failure:
                    await Stub(channel).unary(wrong)
                assert failure.value.code is wire.StatusCode.INTERNAL
                with pytest.raises(wire.RpcError, match="the limit") as failure:
                    _ = [response async for response in Stub(channel).bidi([wrong])]
                assert await Stub(channel).unary(LIGHT) == LIGHT
        async with wire.Server([Servicer()]) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound, config=wire.ChannelConfig(calls=strict)) as channel:
                with pytest.raises(wire.RpcError, match="the response could not be decoded") as failure:
                    await Stub(channel).unary(wrong)
                assert failure.value.code is wire.StatusCode.INTERNAL
                assert await Stub(channel).unary(LIGHT) == LIGHT

    run(main, loop=loop)


@COUNTED
@pytest.mark.parametrize("method", ["Unary", "Bidi"])
def test_what_was_decoded_of_a_message_that_is_refused_is_freed_at_once(method: str, loop: LoopName) -> None:
    """And not when the garbage collector comes by."""

    def live(kind: type) -> int:
        return sum(isinstance(each, kind) for each in gc.get_objects())

    async def main() -> None:
        strict = CallConfig(max_decoded_bytes=50_000)
        async with wire.Server([Servicer()], config=wire.ServerConfig(calls=strict)) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound) as channel:
                call = Stub(channel).unary(HEAVY) if method == "Unary" else None
                with pytest.raises(wire.RpcError, match="the limit"):
                    _ = await call if call else [each async for each in Stub(channel).bidi([HEAVY])]
                del call
                # Only what the thread decoded in part would leave trees by the thousand. What it still holds it lets go
                # of when it has its turn; anything else would stay for ever.
                while live(kinds.Tree) >= before + len(HEAVY.children) or live(DecodeError):
                    await anyio.lowlevel.checkpoint()

    gc.collect()
    gc.disable()
    before = live(kinds.Tree)
    try:
        run(main, loop=loop)
    finally:
        gc.enable()


def test_a_message_that_nobody_waits_for_any_more_is_not_decoded(loop: LoopName) -> None:
    async def main() -> None:
        decoder = MessageDecoder(codec_for(kinds.Tree), CallConfig())
        decoded: list[bytes] = []
        begun, go_on = threading.Event(), threading.Event()

        def decode(data: bytes) -> Any:
            decoded.append(data)
            begun.set()
            go_on.wait()
            return data, len(data)

        decoder.decode_long = decode
        results: list[object] = []
        async with open_runtime() as runtime:
            ended = runtime.future()
            turns_of_thread = ThreadTurns(runtime)
            wanted = True

            def done(message: object, error: object, size_bytes: int) -> None:
                results.append((message, error, size_bytes))
                if len(results) == 2:
                    ended.set_result(None)

            decoder.decode_in_thread(turns_of_thread, 1, b"first", lambda: True, done)
            decoder.decode_in_thread(turns_of_thread, 2, b"second", lambda: wanted, done)
            await anyio.to_thread.run_sync(begun.wait)
            wanted = False
            go_on.set()
            await ended
        assert decoded == [b"first"]
        assert results == [(b"first", None, 5), (None, None, 0)]

    run(main, loop=loop)


def test_a_call_that_is_cancelled_while_its_request_is_decoded_never_reaches_its_handler(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[object] = []

    class Watched(Servicer):
        def unary(self, request: kinds.Tree, context: wire.ServerContext) -> kinds.Tree:
            handled.append(request.label)
            return request

    async def main() -> None:
        begun, go_on = threading.Event(), threading.Event()
        async with wire.Server([Watched()]) as server:
            route: Any = server.routes[b"/trees.v1.Trees/Unary"]
            decode = route.decoder.decode_long

            def held(data: bytes) -> Any:
                begun.set()
                go_on.wait()
                return decode(data)

            route.decoder.decode_long = held
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound) as channel:
                call = Stub(channel).unary(HEAVY)
                await anyio.to_thread.run_sync(begun.wait)
                (connection,) = server.connections
                assert len(connection.running) == 1
                call.cancel()
                assert await Stub(channel).unary(LIGHT) == LIGHT  # which shows that the reset has come
                go_on.set()
                while connection.running:
                    await turns(1)
        assert handled == ["light"]

    run(main, loop=loop)


class Heavy(Servicer):
    def unary(self, request: kinds.Tree, context: wire.ServerContext) -> kinds.Tree:
        return HEAVY


def test_a_response_that_waits_for_the_thread_is_let_go_of_with_its_call(
    loop: LoopName, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[ThreadTurns] = []
    take, go_on = ThreadTurns.take, threading.Event()

    def recorded(self: ThreadTurns, owner: object, job: Any) -> None:
        jobs.append(self)
        take(self, owner, job)

    def held(self: MessageDecoder[Any], codec: Any, calls: CallConfig) -> None:
        made(self, codec, calls)
        decode = self.decode_long
        self.decode_long = lambda data: decode(data) if go_on.wait() else (None, 0)

    made = MessageDecoder.__init__
    monkeypatch.setattr(ThreadTurns, "take", recorded)
    monkeypatch.setattr(MessageDecoder, "__init__", held)

    async def main() -> None:
        async with wire.Server([Heavy()]) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound) as channel:
                first, second = (Stub(channel).unary(LIGHT) for _ in range(2))
                while len(jobs) < 2:
                    await turns(1)
                assert jobs[0] is jobs[1]
                assert len(jobs[0]._waiting) == 1
                second.cancel()
                assert len(jobs[0]._waiting) == 0
                go_on.set()
                assert await first == HEAVY

    run(main, loop=loop)


def test_any_failure_in_the_thread_is_that_calls_alone(loop: LoopName) -> None:
    async def main() -> None:
        held = Held()

        def out_of_memory(data: bytes) -> tuple[bytes, int]:
            raise MemoryError

        held.decoder.decode_long = out_of_memory
        async with open_runtime() as runtime:
            several = ThreadTurns(runtime)
            for _ in range(2):
                with pytest.raises(DecodeError, match="decoding failed: MemoryError"):
                    await held.decoder.decoded(several, b"message")

    run(main, loop=loop)


def test_every_loop_takes_callbacks_from_threads(loop: LoopName) -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            called = runtime.future()
            thread = threading.Thread(target=runtime.call_soon_threadsafe, args=(called.set_result, None))
            thread.start()
            await called
            thread.join()

    run(main, loop=loop)
