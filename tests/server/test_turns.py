"""How connections share the turns of the event loop: `wire.server.turns`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import anyio
import pytest

import wire
from tests.http2 import frames
from tests.memory import no_socket, world
from tests.peers import request
from tests.support import LOOPS, Pair, Probe, on_pair, run, turns
from wire.config import EngineName
from wire.rpc.framing import frame as framed
from wire.server import turns as turns_module
from wire.server.turns import Turns
from wire.transport.runtime import LoopName

TURN_S = 0.002


class Loop:
    """Callbacks that run when a turn is played, and a clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.ready: deque[Callable[[], Any]] = deque()
        monkeypatch.setattr(turns_module, "perf_counter", lambda: self.now)
        self.turns = Turns(self.call_soon, TURN_S)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self.ready.append(partial(callback, *args))

    def turn(self) -> None:
        for _ in range(len(self.ready)):
            self.ready.popleft()()

    def burst(self, connection: object, count: int, task: Callable[[], Any]) -> None:
        """So many tasks are to begin now."""
        for _ in range(count):
            if self.turns.free:
                self.turns.free -= 1
                task()
            elif self.turns.let_go():
                task()
            else:
                self.turns.add(connection, task, tasks=1)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


def test_a_few_tasks_begin_at_once(loop: Loop) -> None:
    begun: list[int] = []
    loop.burst("one", 8, lambda: begun.append(1))
    assert len(begun) == 8
    assert not loop.ready


def test_of_many_some_begin_in_each_turn_and_all_do(loop: Loop) -> None:
    begun: list[int] = []
    loop.burst("one", 300, lambda: begun.append(1))
    counts = [len(begun)]
    while loop.ready:
        loop.turn()
        counts.append(len(begun))
    assert counts[-1] == 300
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= 128


def test_the_longer_turns_take_the_fewer_begin_in_one(loop: Loop) -> None:
    counts: list[int] = []

    def slow() -> None:
        counts[-1] += 1
        loop.now += TURN_S  # each takes all of a turn's time

    counts.append(0)
    loop.burst("one", 100, slow)
    while loop.ready:
        counts.append(0)
        loop.turn()
    assert sum(counts) == 100
    assert counts[0] <= 16
    assert max(counts[2:]) == 1


def test_connections_take_turns_each_in_order(loop: Loop) -> None:
    order: list[tuple[str, int]] = []
    for number in range(3):
        for connection in ("one", "two"):
            loop.turns.add(connection, partial(order.append, (connection, number)))
    while loop.ready:
        loop.turn()
    assert order == [(connection, number) for number in range(3) for connection in ("one", "two")]


def test_what_is_added_by_a_callback_waits_for_the_next_turn(loop: Loop) -> None:
    calls: list[int] = []

    def again() -> None:
        calls.append(1)
        loop.turns.add("one", again)

    loop.turns.add("one", again)
    for count in range(1, 5):
        loop.turn()
        assert len(calls) == count


def test_what_raises_keeps_nobody_waiting(loop: Loop) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    begun: list[int] = []
    loop.turns.add("one", fail)
    loop.turns.add("two", lambda: begun.append(1))
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert begun == [1]


def test_tasks_that_come_one_by_one_never_wait(loop: Loop) -> None:
    for _ in range(500):
        begun: list[int] = []
        loop.burst("one", 1, lambda begun=begun: begun.append(1))  # type: ignore[misc]
        assert begun
        loop.turn()
        loop.now += TURN_S / 10


def test_tasks_of_one_connection_begin_in_a_row_so_that_their_replies_leave_together(loop: Loop) -> None:
    begun: list[str] = []
    loop.burst("other", 8, lambda: begun.append("-"))  # which leaves nothing free
    loop.burst("other", 1, lambda: begun.append("-"))  # and with this nothing is let go without a turn
    for _ in range(5):
        for connection in "abc":
            loop.turns.add(connection, partial(begun.append, connection), tasks=1)
    begun.clear()
    while loop.ready:
        loop.turn()
    assert "".join(begun) == "aaaaabbbbbccccc"


def test_a_row_that_time_ends_is_not_before_the_others_in_the_next_turn(loop: Loop) -> None:
    begun: list[str] = []

    def slow(connection: str) -> None:
        begun.append(connection)
        loop.now += TURN_S

    loop.burst("other", 9, lambda: None)
    for _ in range(2):
        for connection in "ab":
            loop.turns.add(connection, partial(slow, connection), tasks=1)
    while loop.ready:
        loop.turn()
    assert "".join(begun) == "abab"


def test_handlers_that_end_at_once_take_no_share_of_a_turn() -> None:
    async def unary(request: bytes, context: wire.ServerContext) -> bytes:
        (connection,) = servers[0].connections
        seen.add(connection.turns.free)
        return request

    async def test(pair: Pair) -> None:
        servers.append(pair.server)
        await collected(pair)  # the first one has a task
        await anyio.wait_all_tasks_blocked()
        seen.clear()
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(collected, pair)

    async def collected(pair: Pair) -> None:
        assert await pair.stub.unary(b"x") == b"x"

    servers: list[wire.Server] = []
    seen: set[int] = set()
    on_pair(test, Probe(Unary=unary))
    assert len(seen) == 1


def test_tasks_that_end_quickly_do_not_let_more_begin(loop: Loop) -> None:
    begun: list[int] = []
    for _ in range(300):
        loop.turns.add("one", lambda: None, tasks=1, ending=True)
    while loop.ready:
        loop.turn()
    loop.burst("one", 300, lambda: begun.append(1))
    assert len(begun) <= 16


class Counting(Probe):
    """`seen`: messages that its handler has taken."""

    seen = 0

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for _ in requests:
            self.seen += 1
        yield b""


class CountingEach(Counting):
    @wire.per_message
    def bidi(self, request: bytes, context: wire.ServerContext) -> None:
        self.seen += 1


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("kind", [Counting, CountingEach])
def test_messages_that_came_at_once_are_taken_in_many_turns(
    kind: type[Counting], loop_name: LoopName, engine: EngineName
) -> None:
    """As the clock says that each turn is over as soon as it has begun."""
    service = kind()

    async def main() -> None:
        with world() as outside, patch("wire.connection.perf_counter", lambda: float("inf")):
            async with wire.Server([service], config=wire.ServerConfig(engine=engine)) as server:
                server.serve(no_socket())
                end = outside.connect()
                end.receive(frames.headers(1, request("Bidi")))
                await outside.settle()
                taken = [0]
                end.receive(frames.data(1, bytes(16_000)) * 3)
                while service.seen < 9600:
                    taken.append(service.seen)
                    await turns(1)
                end.lose()
                await outside.settle()
        assert max(after - before for before, after in pairwise([*taken, service.seen])) < 5000

    run(main, loop=loop_name)


def test_handlers_that_wait_for_messages_go_on_in_several_turns(engine: EngineName) -> None:
    """Of trio, where they cannot go on within the read."""
    service = Counting()

    async def main() -> None:
        config = wire.ServerConfig(engine=engine, http2=wire.Http2Config(max_turn_s=10))
        with world() as outside:
            async with wire.Server([service], config=config) as server:
                server.serve(no_socket())
                end = outside.connect()
                ids = range(1, 1801, 2)
                end.receive(*(frames.headers(each, request("Bidi")) for each in ids))
                await outside.settle()
                taken = [0]
                end.receive(*(frames.data(each, framed(b"x")) for each in ids))
                while service.seen < len(ids):
                    taken.append(service.seen)
                    await turns(1)
                end.lose()
                await outside.settle()
        assert max(after - before for before, after in pairwise([*taken, service.seen])) < 250

    run(main, loop="trio")
