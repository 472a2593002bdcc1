"""Every way a call can end × everything that can wait for it, on a server: no handler, call or stream is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.http2 import frames as f
from tests.memory import message, world
from tests.server.waiters import (
    KEEPALIVE,
    LIMIT_BYTES,
    QUEUED,
    SCENES,
    STREAMS_REQUESTS,
    Rig,
    Scene,
    Servicer,
    rig,
    the_rest_of_a_request,
    the_rest_of_a_unary_request,
)
from tests.support import run
from wire.config import EngineName
from wire.http2.codes import ErrorCode
from wire.status import StatusCode
from wire.transport.runtime import LoopName


@dataclass(frozen=True, slots=True)
class Ending:
    """`end` brings it about. Then the peer has been told `code`, as a status or by RST_STREAM; None: it is not told."""

    name: str
    code: StatusCode | ErrorCode | None
    end: Callable[[Rig], Awaitable[Any] | None]
    stops: bool = False
    """It stops the server, which ends once all is gone."""
    all_calls: bool = False
    """All of its calls end."""


def sends(name: str, code: StatusCode | ErrorCode | None, make: Callable[[int], bytes]) -> Ending:
    """The peer sends what `make` makes for the stream."""
    return Ending(name, code, lambda rig: rig.end.receive(make(rig.stream_id)))


def breaks(name: str, end: Callable[[Rig], Awaitable[Any] | None]) -> Ending:
    return Ending(name, None, end, all_calls=True)


def _stop(rig: Rig, grace_s: float) -> None:
    async def stop() -> None:
        await rig.server.stop(grace_s)
        rig.stopped = True

    rig.tasks.start_soon(stop)


async def _stop_after_grace(rig: Rig) -> None:
    _stop(rig, 3.0)
    await rig.world.settle()
    assert not rig.stopped
    assert rig.end.streams
    rig.world.clock.advance(3.0)


async def _stop_and_lose(rig: Rig) -> None:
    _stop(rig, 3.0)
    await rig.world.settle()
    rig.end.lose()


async def _miss_ping(rig: Rig) -> None:
    """Of a peer whose call has no deadline in time."""
    rig.world.clock.advance(KEEPALIVE.time_s or 0)
    await rig.world.settle()
    rig.world.clock.advance(KEEPALIVE.timeout_s)


async def _stop_reading(rig: Rig) -> None:
    if not rig.end.unsent:
        rig.end.pause()
    rig.world.clock.advance(KEEPALIVE.timeout_s)


async def _goaway_and_lose(rig: Rig) -> None:
    begun = rig.servicer.running
    rig.end.receive(f.goaway(0))
    await rig.world.settle()
    assert rig.servicer.running == begun, "a client's GOAWAY ends no call"
    rig.end.lose()


ENDINGS = [
    *[
        sends(f"RST_STREAM {code}", None, lambda each, code=code: f.rst_stream(each, code))  # type: ignore[misc]
        for code in (*ErrorCode, 0xABCD)
    ],
    Ending("deadline", StatusCode.DEADLINE_EXCEEDED, lambda rig: rig.world.clock.advance(5), all_calls=True),
    sends("window of 2 GiB", ErrorCode.FLOW_CONTROL_ERROR, lambda each: f.window_update(each, 2**31 - 1) * 2),
    sends("WINDOW_UPDATE of 0", ErrorCode.PROTOCOL_ERROR, lambda each: f.window_update(each, 0)),
    breaks("lost", lambda rig: rig.end.lose()),
    breaks("broken", lambda rig: rig.end.lose(OSError("connection reset"))),
    breaks("end of file", lambda rig: rig.end.eof()),
    breaks("GOAWAY, then lost", _goaway_and_lose),
    breaks("DATA on stream 0", lambda rig: rig.end.receive(f.data(0, b"x"))),
    breaks("PING of 7 bytes", lambda rig: rig.end.receive(f.ping(bytes(7)))),
    breaks("too many pings", lambda rig: rig.end.receive(*[f.ping()] * 5)),
    breaks("no answer to a ping", _miss_ping),
    breaks("nothing is read", _stop_reading),
    Ending("stop", StatusCode.UNAVAILABLE, lambda rig: _stop(rig, 0), stops=True, all_calls=True),
    Ending("stop after grace", StatusCode.UNAVAILABLE, _stop_after_grace, stops=True, all_calls=True),
    Ending("stop, then lost", None, _stop_and_lose, stops=True, all_calls=True),
]

SECOND_HEADERS = sends("second headers", ErrorCode.PROTOCOL_ERROR, f.headers)

OF_REQUESTS = [
    SECOND_HEADERS,
    sends("flag of 7", StatusCode.INTERNAL, lambda each: f.data(each, b"\7" + bytes(99))),
    sends("compressed without a name", StatusCode.INTERNAL, lambda each: f.data(each, b"\1" + bytes(99))),
    sends("too long", StatusCode.RESOURCE_EXHAUSTED, lambda each: f.data(each, b"\0" + (LIMIT_BYTES + 1).to_bytes(4))),
    sends("half a message", StatusCode.INTERNAL, lambda each: f.data(each, message(9)[:7], end=True)),
]

AFTER_THE_END = [sends("DATA after the end", ErrorCode.STREAM_CLOSED, lambda each: f.data(each, b"late"))]
MIDDLE = [
    SECOND_HEADERS,
    sends("the end in the middle", StatusCode.INTERNAL, lambda each: f.data(each, b"x", end=True)),
]


def _endings(scene: Scene) -> list[Ending]:
    if scene in STREAMS_REQUESTS:
        return ENDINGS + OF_REQUESTS
    if scene in (the_rest_of_a_request, the_rest_of_a_unary_request):
        return ENDINGS + MIDDLE
    return ENDINGS + AFTER_THE_END


async def _found(engine: EngineName, scene: Scene, servicer: Servicer, ending: Ending) -> str:
    """What is wrong with how it ends; "" when nothing is."""
    with world() as outside:
        waiting = servicer()
        async with rig(outside, engine, waiting) as here:
            await scene(here)
            await outside.settle()
            here.end.read()
            before = here.end.streams
            told = here.end.status(here.stream_id)
            ended = ending.end(here)
            if ended is not None:
                await ended
            await outside.settle()
            if scene in QUEUED and isinstance(ending.code, StatusCode):  # the status waits behind what is queued
                outside.clock.advance(5)  # until the deadline
                await outside.settle()
            wrong = []
            if here.end.streams != (0 if ending.all_calls else before - 1):
                wrong.append("the stream is left")
            if waiting.running:
                wrong.append("the handler goes on")
            if any(connection.running for connection in here.server.connections):
                wrong.append("the call is kept")
            if ending.stops and not here.stopped:
                wrong.append("the server does not stop")
            status, resets = here.end.status(here.stream_id), here.end.resets(here.stream_id)
            if told is not None or ending.code is None:
                pass
            elif scene in QUEUED:  # there, a reset may stand for the status
                if status is None and not resets and not here.end.lost:
                    wrong.append("the peer is not told")
            elif isinstance(ending.code, ErrorCode):
                if resets != [ending.code] and not here.end.lost:
                    wrong.append(f"the peer got {resets}")
            elif status != ending.code:
                wrong.append(f"the peer got status {status}, {resets}")
            begun = waiting.begun
            here.end.receive(f.window_update(1, 1 << 20))  # and there is room for what waited
            outside.clock.advance(4)
            await outside.settle()
            if waiting.begun > begun:
                wrong.append("a handler began afterwards")
            return ", ".join(wrong)


@pytest.mark.parametrize(
    ("scene", "servicer"),
    SCENES,
    ids=lambda each: each.__name__,
)
def test_each_way_that_a_call_ends_leaves_nothing_that_waits(
    engine: EngineName, loop: LoopName, scene: Scene, servicer: Servicer
) -> None:
    async def main() -> None:
        found = {ending.name: await _found(engine, scene, servicer, ending) for ending in _endings(scene)}
        assert {name: wrong for name, wrong in found.items() if wrong} == {}

    run(main, loop=loop)
