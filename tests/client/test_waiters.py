"""Every way a call can end × everything that can wait for it, on a client: each waiter wakes, with the right status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.client.waiters import (
    BEGUN,
    IN_A_MESSAGE,
    KEEPALIVE,
    KEPT,
    LIMIT_BYTES,
    ONE_RESPONSE,
    QUEUED,
    STARTED,
    Rig,
    Scene,
    a_connection,
    all_of_a_bidi_call,
    rig,
)
from tests.http2 import frames as f
from tests.http2.frames import Fields
from tests.memory import message, world
from tests.support import run
from wire.config import EngineName
from wire.http2.codes import ErrorCode, Setting
from wire.status import StatusCode
from wire.transport.runtime import LoopName

_TIMEOUT_S = 5.0

_HTML = (b"content-type", b"text/html")
NOT_FOUND: Fields = ((b"grpc-status", b"5"), (b"grpc-message", b"nothing here"))


# How it ends.


@dataclass(frozen=True, slots=True)
class Ending:
    """`end` brings it about. `code`: the status that the call then has."""

    name: str
    code: StatusCode
    end: Callable[[Rig], Awaitable[Any] | None]
    timeout: float | None = None
    after_head: bool = False
    """It begins with a response's headers."""
    unseen: bool = False
    """The server did not see the call, which is sent again: what was being sent is kept for that."""

    def expected(self, waiter: str, scene: Scene) -> StatusCode:
        if waiter in {"pump", "end", "close"} or (waiter == "initial" and self.after_head):
            return StatusCode.OK
        if waiter.startswith("send") and self.unseen and scene in KEPT:
            return StatusCode.OK
        if self.code is StatusCode.OK and scene in IN_A_MESSAGE:
            return StatusCode.INTERNAL
        if self.code is StatusCode.OK and scene in ONE_RESPONSE:
            return StatusCode.UNIMPLEMENTED  # there was none
        return self.code


def sends(name: str, code: StatusCode, make: Callable[[int], bytes], *, after_head: bool = False) -> Ending:
    """The peer sends what `make` makes for the stream."""

    def end(rig: Rig) -> None:
        stream_id = rig.stream_id
        if after_head:
            rig.begin_response()
        rig.end.receive(make(stream_id))

    return Ending(name, code, end, after_head=after_head)


def ends(name: str, code: StatusCode, fields: Fields, *, reset: bool = False) -> Ending:
    """The server ends the call with these fields: as trailers, or alone where the response has not begun."""

    def end(rig: Rig) -> None:
        stream_id = rig.stream_id
        section = fields if rig.head else f.RESPONSE + fields
        rig.end.receive(f.headers(stream_id, section, end=True), f.rst_stream(stream_id, 0) if reset else b"")

    return Ending(name, code, end)


def resets(code: int, status: StatusCode) -> Ending:
    """The server resets the stream, and those of further attempts."""

    async def end(rig: Rig) -> None:
        done: set[int] = set()
        while more := set(rig.end.opened()) - done:
            done |= more
            rig.end.receive(*[f.rst_stream(each, code) for each in more])
            await rig.world.settle()

    return Ending(f"RST_STREAM {code}", status, end, unseen=code == ErrorCode.REFUSED_STREAM)


async def _goaway_and_lose(rig: Rig, code: ErrorCode) -> None:
    rig.end.receive(f.goaway(2**31 - 1, code))
    await rig.world.settle()
    rig.end.lose()


async def _miss_ping(rig: Rig) -> None:
    rig.world.clock.advance(KEEPALIVE.time_s or 0)
    await rig.world.settle()
    rig.world.clock.advance(KEEPALIVE.timeout_s)


async def _stop_reading(rig: Rig) -> None:
    if not rig.end.unsent:
        rig.end.pause()
    rig.world.clock.advance(KEEPALIVE.timeout_s)


async def _close(rig: Rig) -> None:
    rig.wait("close", rig.channel.pool.close())
    await rig.world.settle()
    rig.world.clock.advance(2)


_OF_THE_CALL = [
    Ending("deadline", StatusCode.DEADLINE_EXCEEDED, lambda rig: rig.world.clock.advance(_TIMEOUT_S + 1), _TIMEOUT_S),
    Ending("cancel", StatusCode.CANCELLED, lambda rig: rig.call.cancel()),
    Ending("channel closed", StatusCode.CANCELLED, _close),
]

_OF_THE_CONNECTION = [
    Ending("lost", StatusCode.UNAVAILABLE, lambda rig: rig.end.lose()),
    Ending("broken", StatusCode.UNAVAILABLE, lambda rig: rig.end.lose(OSError("connection reset"))),
    Ending("end of file", StatusCode.UNAVAILABLE, lambda rig: rig.end.eof()),
    Ending("GOAWAY", StatusCode.UNAVAILABLE, lambda rig: rig.end.receive(f.goaway(0)), unseen=True),
    Ending("GOAWAY, then lost", StatusCode.UNAVAILABLE, lambda rig: _goaway_and_lose(rig, ErrorCode.NO_ERROR)),
    Ending("be calm", StatusCode.UNAVAILABLE, lambda rig: _goaway_and_lose(rig, ErrorCode.ENHANCE_YOUR_CALM)),
    Ending("DATA on stream 0", StatusCode.UNAVAILABLE, lambda rig: rig.end.receive(f.data(0, b"x"))),
    Ending(
        "frame too long", StatusCode.UNAVAILABLE, lambda rig: rig.end.receive(f.frame(0, 0, 1, b"", length=2**24 - 1))
    ),
    Ending(
        "bad SETTINGS", StatusCode.UNAVAILABLE, lambda rig: rig.end.receive(f.settings({Setting.MAX_FRAME_SIZE: 1}))
    ),
    Ending("PING of 7 bytes", StatusCode.UNAVAILABLE, lambda rig: rig.end.receive(f.ping(bytes(7)))),
    Ending("no answer to a ping", StatusCode.UNAVAILABLE, _miss_ping),
    Ending("nothing is read", StatusCode.UNAVAILABLE, _stop_reading),
]

_OF_THE_STREAM = [
    ends("OK", StatusCode.OK, f.TRAILERS),
    ends("OK and a reset", StatusCode.OK, f.TRAILERS, reset=True),
    ends("NOT_FOUND", StatusCode.NOT_FOUND, NOT_FOUND),
    ends("NOT_FOUND and a reset", StatusCode.NOT_FOUND, NOT_FOUND, reset=True),
    ends("no status", StatusCode.UNKNOWN, ((b"x", b"y"),)),
    sends("no trailers", StatusCode.UNKNOWN, lambda each: f.data(each, end=True), after_head=True),
    sends(
        "trailers after a head",
        StatusCode.NOT_FOUND,
        lambda each: f.headers(each, NOT_FOUND, end=True),
        after_head=True,
    ),
    sends("window of 2 GiB", StatusCode.INTERNAL, lambda each: f.window_update(each, 2**31 - 1) * 2),
    sends("WINDOW_UPDATE of 0", StatusCode.INTERNAL, lambda each: f.window_update(each, 0)),
    *[
        resets(code, StatusCode.INTERNAL)
        for code in (
            ErrorCode.NO_ERROR,
            ErrorCode.PROTOCOL_ERROR,
            ErrorCode.INTERNAL_ERROR,
            ErrorCode.FLOW_CONTROL_ERROR,
            ErrorCode.SETTINGS_TIMEOUT,
            ErrorCode.FRAME_SIZE_ERROR,
            ErrorCode.COMPRESSION_ERROR,
            ErrorCode.CONNECT_ERROR,
        )
    ],
    resets(ErrorCode.REFUSED_STREAM, StatusCode.UNAVAILABLE),
    resets(ErrorCode.CANCEL, StatusCode.CANCELLED),
    resets(ErrorCode.ENHANCE_YOUR_CALM, StatusCode.RESOURCE_EXHAUSTED),
    resets(ErrorCode.INADEQUATE_SECURITY, StatusCode.PERMISSION_DENIED),
    resets(0xABCD, StatusCode.UNKNOWN),
]

_OF_A_HEAD = [  # where the response has not begun
    sends("HTTP 503", StatusCode.UNAVAILABLE, lambda each: f.headers(each, ((b":status", b"503"),), end=True)),
    sends("HTTP 404", StatusCode.UNIMPLEMENTED, lambda each: f.headers(each, ((b":status", b"404"), _HTML))),
    sends("no gRPC", StatusCode.UNKNOWN, lambda each: f.headers(each, ((b":status", b"200"), _HTML))),
    sends("upper case", StatusCode.INTERNAL, lambda each: f.headers(each, (*f.RESPONSE, (b"X", b"y")))),
    sends(
        "long metadata",
        StatusCode.RESOURCE_EXHAUSTED,
        lambda each: f.headers(each, (*f.RESPONSE, (b"x", b"y" * 17_000))),
    ),
]

_OF_A_MESSAGE = [  # where none has begun
    sends("flag of 7", StatusCode.INTERNAL, lambda each: f.data(each, b"\7" + bytes(99)), after_head=True),
    sends(
        "compressed without a name", StatusCode.INTERNAL, lambda each: f.data(each, b"\1" + bytes(99)), after_head=True
    ),
    sends(
        "message too long",
        StatusCode.RESOURCE_EXHAUSTED,
        lambda each: f.data(each, b"\0" + (LIMIT_BYTES + 1).to_bytes(4)),
        after_head=True,
    ),
    sends(
        "half a message",
        StatusCode.INTERNAL,
        lambda each: f.data(each, message(9)[:7]) + f.headers(each, f.TRAILERS, end=True),
        after_head=True,
    ),
]


def _endings(scene: Scene) -> list[Ending]:
    if scene is a_connection:
        return _OF_THE_CALL
    if scene in QUEUED:
        return [*_OF_THE_CALL, *_OF_THE_CONNECTION]
    endings = [*_OF_THE_CALL, *_OF_THE_CONNECTION, *_OF_THE_STREAM]
    return endings + ([] if scene in BEGUN else _OF_A_HEAD) + ([] if scene in IN_A_MESSAGE else _OF_A_MESSAGE)


async def _found(engine: EngineName, scene: Scene, ending: Ending) -> str:
    """What is wrong with how the scene's waiters end; "" when nothing is."""
    with world() as outside:
        async with rig(outside, engine) as here:
            here.timeout = ending.timeout
            await scene(here)
            await outside.settle()
            if here.outcomes:
                return f"did not wait: {here.outcomes}"
            outside.refusing = True
            ended = ending.end(here)
            if ended is not None:
                await ended
            await outside.settle()
            wrong = [
                f"{waiter} {'still waits' if got is None else f'got {got.name}'}"
                for waiter in here.waiters
                if (got := here.outcomes.get(waiter)) is not ending.expected(waiter, scene)
            ]
            if here.call.code is None:
                wrong.append("the call goes on")
            if here.channel.pool.queue or any(end.streams for end in outside.ends):
                wrong.append("something is left of it")
            return ", ".join(wrong)


@pytest.mark.parametrize("scene", [*STARTED, *QUEUED, a_connection], ids=lambda scene: scene.__name__)
def test_each_way_that_a_call_ends_wakes_what_waits(engine: EngineName, loop: LoopName, scene: Scene) -> None:
    async def main() -> None:
        found = {ending.name: await _found(engine, scene, ending) for ending in _endings(scene)}
        assert {name: wrong for name, wrong in found.items() if wrong} == {}

    run(main, loop=loop)


@pytest.mark.parametrize("victim", ["next", "initial", "send", "send again"])
def test_the_cancellation_of_one_waiter_ends_the_call_for_the_others(
    engine: EngineName, loop: LoopName, victim: str
) -> None:
    async def main() -> None:
        with world() as outside:
            async with rig(outside, engine) as here:
                await all_of_a_bidi_call(here)
                await outside.settle()
                here.scopes[victim].cancel()
                await outside.settle()
                assert here.call.code is StatusCode.CANCELLED
                assert here.outcomes == {each: StatusCode.CANCELLED for each in here.waiters if each != victim}
                assert here.end.resets(1) == [ErrorCode.CANCEL]

    run(main, loop=loop)
