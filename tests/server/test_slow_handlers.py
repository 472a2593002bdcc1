"""Handlers that hold the event loop are named: here they are released by what is logged, or by looks taken."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

import wire
from tests.support import TIMEOUT_S, Pair, Probe, end_of, on_pair, run, serving, start
from wire import ServerContext, StatusCode
from wire.server import slow_handlers
from wire.transport.runtime import LoopName

pytestmark = pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy crashes where stacks are looked at")

CONFIG = wire.ServerConfig(slow_handler_s=0.02)
METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


def handlers(block: Callable[[], Any]) -> dict[str, Callable[..., Any]]:
    """A handler for each method that calls `block` in the event loop."""

    def unary(request: bytes, context: ServerContext) -> bytes:
        block()
        return b""

    def generator(request: bytes, context: ServerContext) -> Iterator[bytes]:
        block()
        yield b""

    async def one(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        async for _ in requests:
            block()
        return b""

    async def stream(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        async for _ in requests:
            block()
            yield b""

    return {"Unary": unary, "ServerStream": generator, "ClientStream": one, "Bidi": stream}


@contextmanager
def logged() -> Iterator[tuple[list[str], threading.Event]]:
    """What wire.server logs in the block, and an event that is set by it."""
    texts: list[str] = []
    arrived = threading.Event()

    class Arrival(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING:
                texts.append(record.getMessage())
                arrived.set()

    handler = Arrival()
    logger = logging.getLogger("wire.server")
    logger.addHandler(handler)
    try:
        yield texts, arrived
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released once for each look at the stack."""
    look = slow_handlers._current_frames
    taken = threading.Semaphore(0)

    def counting() -> Any:
        taken.release()
        return look()  # type: ignore[misc]

    monkeypatch.setattr(slow_handlers, "_current_frames", counting)
    return taken


@pytest.mark.parametrize("method", METHODS)
def test_a_handler_that_holds_the_loop_is_named(loop: LoopName, method: str) -> None:
    async def main(pair: Pair) -> None:
        assert await end_of(start(pair.stub, method), method) == (StatusCode.OK, "")

    with logged() as (texts, arrived):

        def block() -> None:
            assert arrived.wait(TIMEOUT_S)

        on_pair(main, Probe(**{method: handlers(block)[method]}), loop=loop, server_config=CONFIG)
    assert len(texts) == 1
    assert texts[0].startswith(f"/probe.v1.Probe/{method}: the handler has held the event loop for more than 0.02 s")


def test_each_method_is_named_once(looks: threading.Semaphore) -> None:
    async def main(pair: Pair) -> None:
        for method in ("Unary", "ClientStream", "Unary", "ClientStream"):
            assert await end_of(start(pair.stub, method), method) == (StatusCode.OK, "")

    with logged() as (texts, _):

        def block() -> None:
            while looks.acquire(blocking=False):
                pass
            for _each in range(8):
                assert looks.acquire(timeout=TIMEOUT_S)

        on_pair(main, Probe(**handlers(block)), server_config=CONFIG)
    assert [text.partition(":")[0] for text in texts] == ["/probe.v1.Probe/Unary", "/probe.v1.Probe/ClientStream"]


def test_a_handler_that_lets_the_loop_turn_is_not_named(loop: LoopName, looks: threading.Semaphore) -> None:
    """It is on the stack whenever the stack is looked at, and the loop gives the sign of life in between."""

    async def busy(request: bytes, context: ServerContext) -> bytes:
        for _ in range(4):
            while not looks.acquire(blocking=False):
                await anyio.lowlevel.checkpoint()
        return request

    async def main(pair: Pair) -> None:
        assert await end_of(start(pair.stub, "Unary"), "Unary") == (StatusCode.OK, "")

    with logged() as (texts, _):
        on_pair(main, Probe(unary=busy), loop=loop)
    assert texts == []


def _watching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == slow_handlers.THREAD_NAME]


def test_the_thread_ends_with_the_server(loop: LoopName) -> None:
    before = _watching()

    async def main() -> threading.Thread:
        async with serving():
            (thread,) = set(_watching()) - set(before)
            return thread

    thread = run(main, loop=loop)
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


def test_without_a_limit_there_is_no_thread() -> None:
    before = set(_watching())

    async def main() -> None:
        async with serving(config=wire.ServerConfig(slow_handler_s=None)):
            assert set(_watching()) <= before

    run(main)


def test_a_server_without_connections_looks_at_nothing(looks: threading.Semaphore) -> None:
    """The thread looks only after it has waited for a connection."""
    waits = threading.Event()

    class Watch(slow_handlers.SlowHandlers):
        def _look(self) -> None:
            waits.set()

    async def main() -> None:
        async with serving() as (server, _):
            runtime = server._open_runtime()
            connections: set[int] = set()
            watch = Watch(runtime, 0.002, {}, connections)
            watch.start()
            watch.connected()  # one that was lost at once
            assert not waits.is_set()
            connections.add(1)
            watch.connected()
            assert waits.wait(TIMEOUT_S)
            watch.stop()

    run(main)


def test_where_stacks_are_not_to_be_looked_at_nothing_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _watching()

    async def main() -> None:
        async with serving():
            assert not set(_watching()) - set(before)

    monkeypatch.setattr(slow_handlers, "_current_frames", None)
    run(main)
