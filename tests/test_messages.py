"""Messages on their way: what is granted when, who waits for whom, and how both ends are told of the end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context
from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import run, turns
from wire.codec import Codec
from wire.config import CallConfig
from wire.connection import Connection
from wire.errors import DecodeError, UsageError
from wire.http2.engine import Stream
from wire.message_decoder import MessageDecoder
from wire.messages import IncomingMessages
from wire.outgoing import OutgoingMessages
from wire.rpc.framing import MessageReader, frame
from wire.status import RpcError, StatusCode
from wire.transport.contract import Runtime
from wire.transport.runtime import LoopName, open_runtime


class Both:
    """A connection and its engine, as far as flow needs them."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.engine = self
        self.config = CallConfig(send_buffer_bytes=100)
        self.stream = Stream(1)
        self.congested = False
        self.lost = False
        self.turn = 0
        self.turn_room = 1 << 16
        self.gathered: list[OutgoingMessages] = []
        self.over = False
        self.waits = 0
        self.queues = True
        self.granted = 0
        self.expected = 0
        self.sent: list[bytes] = []
        self.blocked: Any = None

    def consumed(self, stream: Stream, size: int) -> None:
        assert size >= 0
        self.granted += size

    def expect(self, stream: Stream, size: int) -> None:
        assert size > 0
        self.expected = size

    def send_data(self, stream: Stream, data: bytes | memoryview, end_stream: bool = False) -> None:
        self.sent.append(bytes(data))
        if self.queues:
            stream.queued_bytes += len(data)

    def wake(self) -> None: ...

    def turn_over(self) -> bool:
        return self.over

    def late(self) -> bool:
        return self.over

    def later(self) -> Any:
        self.waits += 1
        done: Any = self.runtime.future()
        self.runtime.call_soon(done.set_result, None)
        return done

    def gather(self, sender: OutgoingMessages) -> None:
        self.gathered.append(sender)

    def flush(self) -> None:
        self.turn += 1
        for sender in self.gathered:
            sender.written()
        self.gathered.clear()

    def uncongested(self) -> Any:
        self.blocked = self.runtime.future()
        return self.blocked

    def release(self, waiters: list[Any]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def flowing(test: Callable[[Both], Awaitable[Any]], loop: LoopName = "asyncio") -> None:
    async def main() -> None:
        async with open_runtime() as runtime:
            await test(Both(runtime))

    run(main, loop=loop)


def incoming(both: Both, decode: Callable[[bytes], Any] = bytes, **options: Any) -> IncomingMessages[Any]:
    codec: Codec[Any] = Codec(object, bytes, decode)
    made: IncomingMessages[Any] = IncomingMessages(
        both.runtime, MessageReader(1000), MessageDecoder(codec, CallConfig()), **options
    )
    made.attach(cast(Connection, both), both.stream)
    return made


@settings(max_examples=50)  # each has an event loop of its own
@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(0, 40), max_size=40))
def test_what_is_received_is_granted_once_and_only_when_taken(messages: list[bytes], steps: list[int]) -> None:
    """A step is so many bytes to receive, or 0 to take a message."""

    async def test(both: Both) -> None:
        messages_in = incoming(both)
        stream = b"".join(map(frame, messages))
        taken = received = 0
        for step in [*steps, len(stream), *[0] * len(messages)]:
            if step:
                messages_in.feed(stream[received : received + step])
                received = min(received + step, len(stream))
            elif taken < messages_in.received:
                assert await anext(messages_in) == messages[taken]
                taken += 1
            assert both.granted == sum(len(message) + 5 for message in messages[:taken])
        assert taken == len(messages)
        assert both.granted == len(stream)

    flowing(test)


def test_a_reader_waits_for_the_next_message_and_the_end(loop: LoopName) -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        taken: list[bytes] = []

        async def read() -> None:
            taken.extend([each async for each in messages])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for number in range(3):
                await turns(3)
                messages.feed(frame(b"%d" % number))
            await turns(3)
            messages.end()
        assert taken == [b"0", b"1", b"2"]
        assert await anext(messages, None) is None

    flowing(test, loop)


def test_messages_before_an_error_are_given_first() -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        messages.feed(frame(b"1"))
        messages.end(RpcError(StatusCode.ABORTED))
        messages.end()
        assert await anext(messages) == b"1"
        for _ in range(2):
            with pytest.raises(RpcError, match="ABORTED"):
                await anext(messages)

    flowing(test)


def test_a_message_that_cannot_be_decoded_ends_the_stream() -> None:
    def decode(message: bytes) -> bytes:
        raise DecodeError("odd")

    failures: list[RpcError] = []

    async def test(both: Both) -> None:
        messages = incoming(both, decode, failed=failures.append)
        messages.feed(frame(b"1") + frame(b"2"))
        for _ in range(2):
            with pytest.raises(RpcError, match="odd"):
                await anext(messages)
        assert [each.code for each in failures] == [StatusCode.INTERNAL]

    flowing(test)


def test_a_reader_that_is_cancelled_says_so(loop: LoopName) -> None:
    abandoned: list[bool] = []

    async def test(both: Both) -> None:
        messages = incoming(both, abandoned=lambda: abandoned.append(True))
        with anyio.move_on_after(0):
            await anext(messages)
        assert abandoned == [True]
        messages.feed(frame(b"late"))
        assert await anext(messages) == b"late"

    flowing(test, loop)


def test_two_readers_are_one_too_many(loop: LoopName) -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, messages)
            await turns(3)
            with pytest.raises(UsageError):
                await anext(messages)
            messages.feed(frame(b"1"))

    flowing(test, loop)


def test_small_messages_that_wait_take_little_more_than_their_window() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="memory is counted by tracemalloc, which PyPy lacks")

    async def test(both: Both) -> None:
        messages = incoming(both)
        data = b"".join(frame(b"%03d" % (number % 1000)) for number in range(10_000))
        tracemalloc.start()
        for at in range(0, len(data), 800):
            messages.feed(data[at : at + 800])
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 1.5 * len(data)
        assert [await anext(messages) for _ in range(10_000)] == [b"%03d" % (number % 1000) for number in range(10_000)]
        assert both.granted == len(data)

    flowing(test)


def test_small_messages_that_come_at_once_are_never_all_objects_of_their_own() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="memory is counted by tracemalloc, which PyPy lacks")

    async def test(both: Both) -> None:
        messages = incoming(both)
        data = b"".join(frame(b"%03d" % (number % 1000)) for number in range(10_000))
        tracemalloc.start()
        messages.feed(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data)
        assert messages.received == 10_000
        assert [await anext(messages) for _ in range(10_000)] == [b"%03d" % (number % 1000) for number in range(10_000)]

    flowing(test)


def test_messages_that_come_at_once_are_handed_over_within_the_read_that_brings_them() -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        taken: list[bytes] = []

        async def read() -> None:
            async for each in messages:
                taken.append(each)

        made = both.runtime.resumable(read(), copy_context())
        assert made is not None
        messages.task, start = made
        task = start()
        await turns(2)
        seen = []

        def come() -> None:
            messages.feed(frame(b"1") + frame(b"2") + frame(b"3")[:4])
            seen.append(list(taken))
            messages.feed(frame(b"3")[4:] + frame(b"4"))
            seen.append(list(taken))
            messages.end()

        both.runtime.call_soon(come)
        await cast("asyncio.Task[None]", task)
        assert seen == [[b"1", b"2"], [b"1", b"2", b"3", b"4"]]

    flowing(test)


@pytest.mark.parametrize("iterates", [True, False])
def test_messages_that_wait_are_taken_in_turns_of_the_loop_to_come_when_this_one_is_late(
    iterates: bool, loop: LoopName
) -> None:
    """Some in each, whatever becomes of the rest meanwhile."""

    async def test(both: Both) -> None:
        messages = incoming(both)
        messages.feed(frame(b"x") * 500)
        both.over = True
        taken = 0

        async def by_themselves() -> AsyncIterator[bytes]:
            while messages.waiting:
                yield await anext(messages)

        async for _ in messages if iterates else by_themselves():
            taken += 1
            if taken == 400:
                messages.end()
        assert taken == 500
        assert 5 <= both.waits < 20
        assert not messages.take_light()
        messages.feed(frame(b"x") * 500)
        assert len(messages.take_light()) == 64
        assert messages.take_light() == []
        both.runtime.call_soon(messages.discard)
        with pytest.raises(StopAsyncIteration):
            await anext(messages)

    flowing(test, loop)


def test_a_loop_that_is_left_and_one_behind_it_share_the_messages(loop: LoopName) -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        messages.feed(b"".join(frame(b"%d" % number) for number in range(5)))
        taken = []
        async for each in messages:
            taken.append(each)
            if len(taken) == 2:
                break
        taken.append(await anext(messages))
        messages.end()
        taken += [each async for each in messages]
        assert taken == [b"0", b"1", b"2", b"3", b"4"]
        gc.collect()  # PyPy ends the loop that was left no sooner
        assert both.granted == 5 * 6
        assert [each async for each in messages] == []

    flowing(test, loop)


def test_what_a_loop_takes_is_granted_before_it_waits_for_a_message_that_has_begun() -> None:
    async def test(both: Both) -> None:
        messages = incoming(both)
        granted: list[int] = []

        async def read() -> None:
            async for _ in messages:
                granted.append(both.granted)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await turns(3)
            messages.feed(frame(b"1") * 1000 + frame(b"2")[:5])
            await turns(3)
            assert both.granted == 6000
            messages.feed(b"2")
            await turns(3)
            messages.end()
        assert both.granted == 6006
        assert set(granted) == {0, 4098, 6000}  # in steps

    flowing(test)


def test_a_loop_over_messages_that_cannot_be_decoded_raises_what_is_raised_again() -> None:
    def decode(message: bytes) -> bytes:
        if message == b"2":
            raise DecodeError("odd")
        return message

    failures: list[RpcError] = []

    async def test(both: Both) -> None:
        messages = incoming(both, decode, failed=failures.append)
        messages.feed(frame(b"1") + frame(b"2") + frame(b"3"))
        taken: list[bytes] = []

        async def read() -> None:
            async for each in messages:
                taken.append(each)

        for _ in range(2):
            with pytest.raises(RpcError, match="odd"):
                await read()
        assert taken == [b"1"]
        assert len(failures) == 1

    flowing(test)


# OutgoingMessages.


def test_an_answer_to_each_request_is_sent_though_the_turn_is_over() -> None:
    async def test(both: Both) -> None:
        requests = incoming(both)
        outgoing = OutgoingMessages(cast(Connection, both), Stream(1), requests)
        both.over = True
        both.turn_room = 0
        assert outgoing.put(b"unasked")
        for _ in range(2):
            requests.feed(frame(b"request"))
            assert [outgoing.put(b"answer"), outgoing.put(b"more")] == [False, True]

    flowing(test)


@pytest.mark.parametrize("what", ["written", "closed", "lost"])
def test_senders_wait_while_too_much_is_queued(loop: LoopName, what: str) -> None:
    async def test(both: Both) -> None:
        outgoing = OutgoingMessages(cast(Connection, both), both.stream)
        done = 0

        async def send() -> None:
            nonlocal done
            await outgoing.send(bytes(101))
            done += 1

        await outgoing.send(bytes(100))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(send)
            await turns()
            assert done == 0
            outgoing.on_writable()  # nothing has changed
            await turns()
            assert done == 0
            if what == "written":
                both.stream.queued_bytes = 100
            elif what == "closed":
                both.stream.closed = True
            else:
                both.lost = True
            outgoing.on_writable()
        assert done == 2

    flowing(test, loop)


def test_senders_wait_while_the_link_is_not_read(loop: LoopName) -> None:
    async def test(both: Both) -> None:
        outgoing = OutgoingMessages(cast(Connection, both), both.stream)
        both.congested = True
        both.turn_room = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outgoing.send, b"1")
            await turns()
            assert both.sent == [b"1"]
            both.congested = False
            both.blocked.set_result(None)

    flowing(test, loop)


def test_small_messages_behind_one_of_the_same_turn_are_sent_together() -> None:
    async def test(both: Both) -> None:
        both.queues = False
        outgoing = OutgoingMessages(cast(Connection, both), Stream(1))
        for data in (b"1", b"2", b"3"):
            assert not outgoing.put(data)
        assert both.sent == [b"1"]
        both.flush()
        assert both.sent == [b"1", b"23"]
        outgoing.put(b"4")
        outgoing.put(b"5")
        outgoing.put(bytes(2000))
        outgoing.put(b"6")
        outgoing.put(b"7")
        outgoing.end()
        assert both.sent[2:] == [b"4", b"5", bytes(2000), b"6", b"7", b""]
        both.flush()
        assert len(both.sent) == 8

    flowing(test)


def test_many_small_messages_are_sent_on_the_way() -> None:
    async def test(both: Both) -> None:
        both.queues = False
        outgoing = OutgoingMessages(cast(Connection, both), Stream(1))
        for number in range(1000):
            outgoing.put(b"%099d" % number)
        both.flush()
        assert b"".join(both.sent) == b"".join(b"%099d" % number for number in range(1000))
        assert max(map(len, both.sent)) < 9000
        assert len(both.sent) < 20

    flowing(test)
