"""Plain handlers in threads: that they may block, what they may ask of their call, and how they end."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest

import wire
from tests.support import LOCAL, TIMEOUT_S, Pair, Probe, ProbeStub, collect, on_pair, run, status_of
from wire import StatusCode
from wire.server.handler_threads import HandlerThreads, Pace
from wire.server.thread_streams import ThreadRequests
from wire.transport.runtime import LoopName, open_runtime

VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


def in_threads(
    test: Callable[[Pair], Any], servicer: wire.Servicer, threads: int = 4, loop: LoopName = "asyncio", **options: Any
) -> None:
    on_pair(test, servicer, server_config=wire.ServerConfig(handler_threads=threads, **options), loop=loop)


def test_all_four_kinds(loop: LoopName) -> None:
    main = threading.get_ident()
    seen = set()

    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        seen.add(threading.get_ident())
        return request

    def server_stream(request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        seen.add(threading.get_ident())
        for byte in request:
            yield bytes([byte])

    def client_stream(requests: Iterator[bytes], context: wire.ServerContext) -> bytes:
        seen.add(threading.get_ident())
        return b"".join(requests)

    def bidi(requests: Iterator[bytes], context: wire.ServerContext) -> Iterator[bytes]:
        seen.add(threading.get_ident())
        yield from requests

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"x") == b"x"
        many = bytes(range(256)) * 2
        assert await collect(pair.stub.server_stream(many)) == [bytes([byte]) for byte in many]
        messages = [b"%d" % number for number in range(500)]
        assert await pair.stub.client_stream(messages) == b"".join(messages)
        assert await collect(pair.stub.bidi(messages)) == messages
        async with pair.stub.bidi() as call:
            for number in range(3):
                await call.send(b"%d" % number)
                assert await anext(call) == b"%d" % number
            await call.end()
            assert await collect(call) == []

    in_threads(test, Probe(Unary=unary, ServerStream=server_stream, ClientStream=client_stream, Bidi=bidi), loop=loop)
    assert main not in seen


def test_handlers_that_block_run_beside_each_other() -> None:
    together = threading.Barrier(4)

    def meet(request: bytes, context: wire.ServerContext) -> bytes:
        together.wait(TIMEOUT_S)
        return request

    async def test(pair: Pair) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(anyio.to_thread.run_sync, lambda: None)
                tasks.start_soon(status_of, pair.stub.unary(b"x"))

    in_threads(test, Probe(Unary=meet))


def test_a_method_that_was_quick_may_come_to_block() -> None:
    together = threading.Barrier(3)

    def meet(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"meet":
            together.wait(TIMEOUT_S)
        return request

    async def test(pair: Pair) -> None:
        for _ in range(50):
            await pair.stub.unary(b"x")
        calls = [pair.stub.unary(b"meet") for _ in range(3)]
        assert [await call for call in calls] == [b"meet"] * 3

    in_threads(test, Probe(Unary=meet))


def test_the_pace_of_a_method() -> None:
    pace = Pace()
    assert pace.is_slow  # until it is known
    for _ in range(10):
        pace.took(0.00001)
    assert not pace.is_slow
    for _ in range(20):
        pace.took(0.01)
    assert pace.is_slow


def test_more_calls_than_threads_wait_for_one() -> None:
    async def test(pair: Pair) -> None:
        calls = [pair.stub.unary(b"%d" % number) for number in range(50)]
        assert [await call for call in calls] == [b"%d" % number for number in range(50)]

    in_threads(test, Probe(Unary=lambda request, context: request), threads=1)


def test_only_plain_handlers_run_in_threads() -> None:
    seen: list[tuple[str, int]] = []

    class Mixed(Probe):
        async def unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
            seen.append(("async", threading.get_ident()))
            return request

        async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
            seen.append(("generator", threading.get_ident()))
            async for each in requests:
                yield each

    class Inline(Probe):
        inline = True

        def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
            seen.append(("inline", threading.get_ident()))
            return request

    async def test(pair: Pair) -> None:
        await pair.stub.unary(b"x")
        await collect(pair.stub.bidi([b"x"]))

    in_threads(test, Mixed())
    in_threads(test, Inline())
    assert set(seen) == {(kind, threading.get_ident()) for kind in ("async", "generator", "inline")}


def test_a_plain_handler_may_return_what_the_loop_goes_on_with() -> None:
    async def later(request: bytes) -> bytes:
        await anyio.sleep(0)
        return request

    async def joined(requests: AsyncIterator[bytes]) -> bytes:
        return b"".join([each async for each in requests])

    async def numbered(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each

    servicer = Probe(
        Unary=lambda request, context: later(request),
        ServerStream=lambda request, context: [request, request],
        ClientStream=lambda requests, context: joined(requests),
        Bidi=lambda requests, context: numbered(requests),
    )

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"x") == b"x"
        assert await collect(pair.stub.server_stream(b"x")) == [b"x", b"x"]
        assert await pair.stub.client_stream([b"x", b"y"]) == b"xy"
        assert await collect(pair.stub.bidi([b"x", b"y"])) == [b"x", b"y"]

    in_threads(test, servicer)


def test_the_context_of_a_call_in_a_thread() -> None:
    ended: list[tuple[StatusCode | None, str]] = []

    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        assert context.method == "/probe.v1.Probe/Unary"
        assert context.metadata["key"] == "value"
        assert context.peer.address.startswith("ipv4:")
        assert 0 < (context.time_remaining() or 0) <= TIMEOUT_S
        assert not context.cancelled
        assert not context.done
        context.set_compression("gzip")
        context.add_done_callback(lambda context: ended.append((context.code, context.message)))
        context.send_initial_metadata({"first": "1"})
        context.set_trailing_metadata({"last": "2"})
        with pytest.raises(wire.UsageError):
            context.send_initial_metadata()
        return request

    async def test(pair: Pair) -> None:
        call = pair.stub.unary(b"x", metadata={"key": "value"}, timeout=TIMEOUT_S)
        assert await call == b"x"
        assert call.initial_metadata == wire.Metadata({"first": "1"})
        assert call.trailing_metadata == wire.Metadata({"last": "2"})

    in_threads(test, Probe(Unary=unary))
    assert ended == [(StatusCode.OK, "")]


def test_a_call_may_be_ended_by_its_handler() -> None:
    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"end":
            context.end(StatusCode.ABORTED, "enough")
        elif request == b"reset":
            context.reset()
        else:
            context.send_last(b"last")
        return b"too late"

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"last") == b"last"
        assert await status_of(pair.stub.unary(b"end")) == (StatusCode.ABORTED, "enough")
        assert (await status_of(pair.stub.unary(b"reset")))[0] is StatusCode.CANCELLED

    in_threads(test, Probe(Unary=unary))


def test_context_variables_are_the_calls_own() -> None:
    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        before = VARIABLE.get()
        VARIABLE.set(request.decode())
        return f"{before} {VARIABLE.get()}".encode()

    def intercept(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: bytes, context: wire.ServerContext) -> Any:
            VARIABLE.set("intercepted")
            return handler(request, context)

        return intercepted

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"1") == b"entered 1"
        assert await pair.stub.unary(b"2") == b"entered 2"
        config = wire.ServerConfig(handler_threads=1)
        async with wire.Server([Probe(Unary=unary)], config=config, interceptors=[intercept]) as server:
            address = await server.listen(LOCAL)
            async with wire.Channel(address) as channel:
                assert await ProbeStub(channel).unary(b"3") == b"intercepted 3"

    token = VARIABLE.set("entered")
    in_threads(test, Probe(Unary=unary), threads=1)
    VARIABLE.reset(token)


def test_what_handlers_raise() -> None:
    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"status":
            raise wire.RpcError(StatusCode.NOT_FOUND, "gone")
        raise ValueError("secret")

    def stream(request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        yield b"first"
        raise wire.RpcError(StatusCode.NOT_FOUND, "gone")

    async def test(pair: Pair) -> None:
        assert await status_of(pair.stub.unary(b"status")) == (StatusCode.NOT_FOUND, "gone")
        assert await status_of(pair.stub.unary(b"other")) == (StatusCode.UNKNOWN, "the handler raised an exception")
        call = pair.stub.server_stream(b"")
        assert await anext(call) == b"first"
        assert await status_of(collect(call)) == (StatusCode.NOT_FOUND, "gone")

    in_threads(test, Probe(Unary=unary, ServerStream=stream))


def test_a_handler_that_was_not_begun_is_not_begun_for_a_call_that_has_ended() -> None:
    release, begun = threading.Event(), threading.Event()
    seen = []

    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        seen.append(request)
        if request == b"wait":
            begun.set()
            release.wait(TIMEOUT_S)
        return request

    async def test(pair: Pair) -> None:
        first = pair.stub.unary(b"wait")
        await anyio.to_thread.run_sync(begun.wait)
        assert (await status_of(pair.stub.unary(b"late", timeout=0.01)))[0] is StatusCode.DEADLINE_EXCEEDED
        assert [each async for each in pair.stub.bidi([b"x"])] == [b"x"]  # in the loop: the server has read the reset
        release.set()
        assert await first == b"wait"
        assert await pair.stub.unary(b"next") == b"next"

    in_threads(test, Probe(Unary=unary), threads=1)
    assert seen == [b"wait", b"next"]


def test_a_stream_that_nobody_reads_is_held_back_and_then_closed() -> None:
    made = []
    closed = threading.Event()

    def stream(request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        try:
            while True:
                made.append(1)
                yield bytes(10_000)
        finally:
            closed.set()

    async def test(pair: Pair) -> None:
        async with pair.stub.server_stream(b"x") as call:
            await anext(call)
        await anyio.to_thread.run_sync(closed.wait)

    in_threads(test, Probe(ServerStream=stream))
    assert len(made) < 200


class LongRequests(AsyncIterator[int]):
    """Requests of which whoever takes one holds a long message, as the connection counts it."""

    holding = True

    def __init__(self) -> None:
        self.taken = 0

    async def __anext__(self) -> int:
        if self.taken == 3:
            raise StopAsyncIteration
        self.taken += 1
        return self.taken


def test_of_long_requests_one_is_held_between_the_loop_and_a_thread() -> None:
    seen: list[tuple[int, int]] = []

    async def main() -> None:
        async with open_runtime() as runtime:
            threads = HandlerThreads(1)
            threads.open(runtime)
            requests = LongRequests()
            taken = ThreadRequests(threads, requests)
            done = anyio.Event()

            def handle() -> None:
                for request in taken:
                    turned = threading.Event()
                    threads.in_loop(turned.set)
                    turned.wait(TIMEOUT_S)
                    seen.append((request, requests.taken))
                threads.in_loop(done.set)

            threads.submit(handle, True)
            with anyio.fail_after(TIMEOUT_S):
                await done.wait()
            threads.close()

    run(main)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_a_handler_that_waits_for_requests_learns_that_its_call_has_ended() -> None:
    ends: list[BaseException] = []
    told = threading.Event()

    def collecting(requests: Iterator[bytes], context: wire.ServerContext) -> bytes:
        try:
            return b"".join(requests)
        except wire.RpcError as error:
            ends.append(error)
            assert context.cancelled
            told.set()
            raise

    async def test(pair: Pair) -> None:
        call = pair.stub.client_stream()
        await call.send(b"x")
        call.cancel()
        await anyio.to_thread.run_sync(told.wait)

    in_threads(test, Probe(ClientStream=collecting))


def test_stopping_waits_for_threads_within_the_grace() -> None:
    release, begun = threading.Event(), threading.Event()

    def unary(request: bytes, context: wire.ServerContext) -> bytes:
        begun.set()
        release.wait(TIMEOUT_S)
        return request

    async def test(pair: Pair) -> None:
        call = pair.stub.unary(b"x")
        await anyio.to_thread.run_sync(begun.wait)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pair.server.stop, TIMEOUT_S)
            release.set()
            assert await call == b"x"

    in_threads(test, Probe(Unary=unary))


def test_no_thread_is_left_behind() -> None:
    async def test(pair: Pair) -> None:
        await pair.stub.unary(b"x")
        assert "wire-handler" in {thread.name for thread in threading.enumerate()}

    in_threads(test, Probe(Unary=lambda request, context: request), slow_handler_s=None)
    for thread in threading.enumerate():
        if thread.name == "wire-handler":
            thread.join(TIMEOUT_S)
    assert "wire-handler" not in {thread.name for thread in threading.enumerate()}
