"""Calls, waiters and a peer in any order (a state machine): nobody goes on waiting for a call that has ended.

`test_waiters` plays each ending against each waiter by itself; this finds the orders that nobody thought of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import wire
from tests.http2 import frames as f
from tests.memory import End, World, message, world
from tests.support import ProbeStub, start
from wire.config import EngineName
from wire.http2.codes import ErrorCode, Setting
from wire.status import StatusCode

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]
INDEX = st.integers(0, 30)  # of a call, a stream or a waiter, round those that there are

_CALLS = wire.CallConfig(send_buffer_bytes=10, retry_buffer_bytes=100)


@dataclass(slots=True)
class Waiter:
    """Somebody who waits for a call. `code`: how that ended, once it has."""

    kind: str
    task: asyncio.Task[None] | None = None
    code: StatusCode | None = None


@dataclass(slots=True)
class Made:
    """A call, and who waits for it."""

    method: str
    call: Any
    waiters: list[Waiter] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """A channel whose peer does whatever comes to hypothesis' mind."""

    engine: ClassVar[EngineName] = "tuned"

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.exits = ExitStack()
        self.world: World = self.exits.enter_context(world())
        self.calls: list[Made] = []
        self.greeted: list[End] = []

    @initialize(window=st.sampled_from([0, 20, 65_535]), silent=st.sampled_from([False, False, False, True]))
    def open(self, window: int, silent: bool) -> None:
        """`window`: of each stream, as the peer's first SETTINGS say. `silent`: it sends none by itself."""
        self.window = window
        self.silent = silent
        config = wire.ChannelConfig(engine=self.engine, calls=_CALLS)
        self.channel = wire.Channel("127.0.0.1:1", config=config)
        self.loop.run_until_complete(self.channel.__aenter__())

    def teardown(self) -> None:
        self.loop.run_until_complete(self._end())
        self.loop.close()
        self.exits.close()

    async def _end(self) -> None:
        closing = asyncio.create_task(self.channel.pool.close())
        await self.world.settle()
        self.world.clock.advance(2)
        await self.world.settle()
        assert closing.done()
        await self.channel.__aexit__(None, None, None)
        assert [made.method for made in self.calls if made.call.code is None] == []
        self.nobody_waits_for_what_has_ended()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def settle(self) -> None:
        self.loop.run_until_complete(self.world.settle())
        for end in self.world.ends:
            if not self.silent and end not in self.greeted:
                self.greeted.append(end)
                end.receive(f.settings({Setting.INITIAL_WINDOW_SIZE: self.window}))
            end.read()
        self.loop.run_until_complete(self.world.settle())

    async def _watch(self, waiter: Waiter, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
            waiter.code = StatusCode.OK
        except (StopAsyncIteration, wire.UsageError):
            waiter.code = StatusCode.OK
        except wire.RpcError as error:
            waiter.code = error.code
        except asyncio.CancelledError:
            waiter.code = StatusCode.CANCELLED

    def _wait(self, made: Made, kind: str, awaitable: Awaitable[Any]) -> None:
        waiter = Waiter(kind)
        waiter.task = self.loop.create_task(self._watch(waiter, awaitable))
        made.waiters.append(waiter)

    # What the program does.

    @rule(method=st.sampled_from(METHODS), pumped=st.booleans(), timeout=st.sampled_from([None, 3.0]))
    def make(self, method: str, pumped: bool, timeout: float | None) -> None:
        stub = ProbeStub(self.channel)

        async def begin() -> Any:
            if method in {"Unary", "ServerStream"} or pumped:
                return start(stub, method, timeout=timeout)
            return (stub.client_stream if method == "ClientStream" else stub.bidi)(timeout=timeout)

        made = Made(method, self.loop.run_until_complete(begin()))
        self.calls.append(made)
        if method in {"Unary", "ClientStream"}:
            self._wait(made, "response", made.call)
        self.settle()

    @precondition(lambda self: self.calls)
    @rule(index=INDEX, kind=st.sampled_from(["next", "initial", "send", "end"]), size=st.sampled_from([1, 50, 70_000]))
    def wait(self, index: int, kind: str, size: int) -> None:
        made = self.calls[index % len(self.calls)]
        call = made.call
        if kind == "next" and made.method in {"ServerStream", "Bidi"}:
            if not any(each.kind == "next" and each.code is None for each in made.waiters):  # one at a time
                self._wait(made, kind, anext(call))
        elif kind == "initial" and made.method != "Unary":
            self._wait(made, kind, call.read_initial_metadata())
        elif kind in {"send", "end"} and made.method in {"ClientStream", "Bidi"}:
            self._wait(made, kind, call.send(bytes(size)) if kind == "send" else call.end())
        self.settle()

    @precondition(lambda self: self.calls)
    @rule(index=INDEX)
    def cancel(self, index: int) -> None:
        self.calls[index % len(self.calls)].call.cancel()
        self.settle()

    @precondition(lambda self: self.calls)
    @rule(index=INDEX)
    def cancel_a_waiter(self, index: int) -> None:
        waiters = [each for made in self.calls for each in made.waiters if each.code is None]
        if waiters:
            task = waiters[index % len(waiters)].task
            assert task is not None
            self.loop.call_soon(task.cancel)
            self.settle()

    @rule(seconds=st.sampled_from([1.0, 4.0, 25.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.settle()

    # What the peer does.

    def _end_of(self, index: int) -> End | None:
        """A connection that is open."""
        ends = [end for end in self.world.ends if not end.lost]
        return ends[index % len(ends)] if ends else None

    @rule(
        streams=st.sampled_from([None, 0, 1, 2]),
        window=st.sampled_from([None, 0, 20, 1 << 20]),
        index=INDEX,
    )
    def settings(self, streams: int | None, window: int | None, index: int) -> None:
        end = self._end_of(index)
        if end is not None:
            values = {Setting.MAX_CONCURRENT_STREAMS: streams, Setting.INITIAL_WINDOW_SIZE: window}
            end.receive(f.settings({key: value for key, value in values.items() if value is not None}))
        self.settle()

    @rule(
        kind=st.sampled_from(
            ["head", "message", "half", "trailers", "error", "reset", "refuse", "no_error", "window", "data_end", "bad"]
        ),
        index=INDEX,
        stream=INDEX,
        reset=st.booleans(),
    )
    def frame(self, kind: str, index: int, stream: int, reset: bool) -> None:
        end = self._end_of(index)
        if end is None or not (opened := end.opened()):
            return
        stream_id = opened[stream % len(opened)]
        begun = stream_id in end.begun
        head = b"" if begun else f.headers(stream_id, f.RESPONSE)
        error = ((b"grpc-status", b"5"),)
        frames = {
            "head": head,
            "message": head + f.data(stream_id, message(9)),
            "half": head + f.data(stream_id, message(9)[:7]),
            "trailers": head + f.headers(stream_id, f.TRAILERS, end=True),
            "error": f.headers(stream_id, error if begun else f.RESPONSE + error, end=True),
            "reset": f.rst_stream(stream_id),
            "refuse": f.rst_stream(stream_id, ErrorCode.REFUSED_STREAM),
            "no_error": f.rst_stream(stream_id, ErrorCode.NO_ERROR),
            "window": f.window_update(stream_id, 100) + f.window_update(0, 100),
            "data_end": head + f.data(stream_id, end=True),
            "bad": head + f.data(stream_id, b"\7" + bytes(9)),
        }[kind]
        if kind in {"head", "message", "half", "data_end", "bad"}:
            end.begun.add(stream_id)
        if kind in {"trailers", "error"} and reset:
            frames += f.rst_stream(stream_id, ErrorCode.NO_ERROR)
        end.receive(frames)
        self.settle()

    @rule(
        kind=st.sampled_from(["goaway", "goaway_all", "lose", "break", "eof", "malformed", "pause", "resume"]),
        index=INDEX,
    )
    def connection(self, kind: str, index: int) -> None:
        end = self._end_of(index)
        if end is None:
            return
        if kind == "goaway":
            end.receive(f.goaway(0))
        elif kind == "goaway_all":
            end.receive(f.goaway(2**31 - 1))
        elif kind == "lose":
            end.lose()
        elif kind == "break":
            end.lose(OSError("reset"))
        elif kind == "eof":
            end.eof()
        elif kind == "malformed":
            end.receive(f.data(0, b"x"))
        elif kind == "pause" and not end.unsent:
            end.pause()
        elif kind == "resume" and end.unsent:
            end.resume()
        self.settle()

    @rule(refusing=st.booleans())
    def listen(self, refusing: bool) -> None:
        self.world.refusing = refusing

    # What must hold.

    @invariant()
    def nobody_waits_for_what_has_ended(self) -> None:
        for made in self.calls:
            if made.call.code is not None:
                waiting = [each.kind for each in made.waiters if each.code is None]
                assert not waiting, f"{waiting} wait for a {made.method} call that ended with {made.call.code}"

    @invariant()
    def whoever_got_an_error_got_the_calls(self) -> None:
        for made in self.calls:
            for waiter in made.waiters:
                assert waiter.code in (None, StatusCode.OK, StatusCode.CANCELLED, made.call.code)

    @invariant()
    def nothing_of_an_ended_call_is_open(self) -> None:
        going_on = sum(made.call.code is None for made in self.calls)
        assert sum(end.streams for end in self.world.ends) <= going_on


@pytest.mark.parametrize("engine", ["tuned", "h2"])
def test_nobody_goes_on_waiting_for_a_call_that_has_ended(engine: EngineName) -> None:
    machine = type("Machine", (Machine,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
