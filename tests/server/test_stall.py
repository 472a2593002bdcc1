"""A stall of the server's own event loop is not held against its clients."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest

import wire
from tests.http2 import frames
from tests.memory import message, no_socket, world
from tests.peers import request
from tests.support import Probe, ProbeStub, end_of, run, serving, start
from wire.config import EngineName
from wire.http2.codes import FrameType
from wire.status import StatusCode
from wire.transport.runtime import LoopName

_CALLERS = 300
_DEADLINE_S = 0.05


class _Slow(Probe):
    """No handler ever answers, but for a watch."""

    async def wait(self) -> None:
        await anyio.sleep_forever()

    async def unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        await self.wait()
        return request

    async def server_stream(  # type: ignore[override]
        self, request: bytes, context: wire.ServerContext
    ) -> AsyncIterator[bytes]:
        await self.wait()
        yield request

    async def client_stream(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        await self.wait()
        return b""


def _block(seconds: float) -> None:
    """Keep the event loop busy, as a handler would that computes. The client's thread goes on."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 20_000)


async def _call_for_ever(address: str, method: str, failures: list[str], stopped: Callable[[], bool]) -> None:
    """Calls whose deadlines pass, a hundred at a time, beside a stream on the same connection that is echoed."""
    async with wire.Channel(address) as channel:
        stub = ProbeStub(channel)
        async with stub.bidi() as watch:
            await watch.send(b"x")
            assert await anext(watch) == b"x"

            async def calls() -> None:
                while not stopped():
                    code, message = await end_of(start(stub, method, timeout=_DEADLINE_S), method)
                    if code is not StatusCode.DEADLINE_EXCEEDED:
                        failures.append(message)
                        return

            async with anyio.create_task_group() as tasks:
                for _ in range(_CALLERS):
                    tasks.start_soon(calls)
            await watch.send(b"y")
            assert await anext(watch) == b"y"


@pytest.mark.parametrize(("engine", "method"), [("tuned", "Unary"), ("h2", "ClientStream")])
def test_deadlines_that_pass_while_the_loop_is_blocked_cost_no_connection(engine: EngineName, method: str) -> None:
    failures: list[str] = []
    stopped = threading.Event()
    errors: list[BaseException] = []

    async def main() -> None:
        async with serving(_Slow(), config=wire.ServerConfig(engine=engine, slow_handler_s=None)) as (server, address):

            def client() -> None:
                try:
                    wire.run(_call_for_ever, address, method, failures, stopped.is_set, loop="asyncio")
                except BaseException as error:
                    errors.append(error)

            thread = threading.Thread(target=client)
            thread.start()
            while not any(len(each.running) > _CALLERS // 2 for each in server.connections):
                await anyio.sleep(0)
            _block(1.0)
            stopped.set()
            while thread.is_alive():
                await anyio.sleep(0)
            thread.join()

    run(main)
    assert errors == []
    assert failures == []


def test_calls_that_come_with_their_resets_wait_for_handlers_to_end_and_are_not_refused(
    engine: EngineName, loop: LoopName
) -> None:
    """As they are read after a stall: in one piece, more than may be open at a time."""

    async def main() -> None:
        with world() as outside:
            config = wire.ServerConfig(
                engine=engine, http2=wire.Http2Config(max_concurrent_streams=400, max_turn_s=1.0)
            )
            async with wire.Server([_Slow()], config=config) as server:
                server.serve(no_socket())
                end = outside.connect()
                fields, body = frames.block(request("Unary")), message()
                calls = [
                    frames.headers(each, fields) + frames.data(each, body, end=True) + frames.rst_stream(each)
                    for each in range(1, 4001, 2)
                ]
                end.receive(*calls)
                (connection,) = server.connections
                while end.reading is False or connection.running:
                    assert len(connection.running) <= 400
                    await anyio.lowlevel.checkpoint()
                assert end.frames_of(FrameType.RST_STREAM) == []
                assert connection.engine.streams_opened == 2000
                end.lose()
                await outside.settle()

    run(main, loop=loop)


@pytest.mark.parametrize("handlers_end", [True, False])
def test_streams_of_requests_that_are_reset_in_a_later_read_are_bounded_by_their_handlers(
    engine: EngineName, loop: LoopName, handlers_end: bool
) -> None:
    """They cost no budget, so this must (CVE-2023-44487)."""

    async def main() -> None:
        with world() as outside:
            http2 = wire.Http2Config(max_concurrent_streams=100, reset_burst=10, resets_per_s=0)
            async with wire.Server([_Slow()], config=wire.ServerConfig(engine=engine, http2=http2)) as server:
                server.serve(no_socket())
                end = outside.connect()
                (connection,) = server.connections
                fields = frames.block(request("ClientStream"))
                for first in range(1, 5000, 100):
                    ids = range(first, first + 100, 2)
                    end.receive(*[frames.headers(each, fields) for each in ids])
                    if handlers_end:
                        await outside.settle()
                    assert len(connection.running) <= 100
                    outside.clock.advance(0.001)  # a later read
                    end.receive(*[frames.rst_stream(each) for each in ids])
                    if handlers_end:
                        await outside.settle()
                assert (end.frames_of(FrameType.GOAWAY) == []) is handlers_end
                end.lose()
                await outside.settle()
                assert not connection.running

    run(main, loop=loop)
