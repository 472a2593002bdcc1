"""The tasks of `async def` handlers, of which one that ends without having waited has none of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import wire
from tests.http2 import frames
from tests.peers import REQUEST, RawPeer, ask
from tests.support import Probe
from wire import ServerContext
from wire.rpc.framing import frame as framed


def _handlers_tasks(count: int, handler: Callable[..., Any]) -> tuple[list[Any], list[bytes]]:
    """In which tasks so many calls of the handler ran, one after the other, and what they answered."""
    tasks: list[Any] = []
    answers: list[bytes] = []

    async def unary(request: bytes, context: ServerContext) -> bytes:
        tasks.append(asyncio.current_task())
        return bytes(await handler(request))

    async def test(peer: RawPeer, server: wire.Server) -> None:
        for stream_id in range(1, 2 * count, 2):
            await peer.call(stream_id, framed(b"%d" % stream_id))
            answers.append((await peer.answer(stream_id)).data)

    ask(test, Probe(unary=unary))
    return tasks, answers


async def _at_once(request: bytes) -> bytes:
    return request


async def _a_turn_later(request: bytes) -> bytes:
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
    return request


@pytest.mark.parametrize("handler", [_at_once, _a_turn_later])
def test_handlers_know_their_task_whether_they_wait_or_not(handler: Callable[..., Any]) -> None:
    tasks, answers = _handlers_tasks(5, handler)
    assert answers == [framed(b"%d" % each) for each in (1, 3, 5, 7, 9)]
    assert None not in tasks
    assert len(set(map(id, tasks))) == 5  # each is remembered here: so no other has it


def test_a_reply_leaves_in_the_turn_in_which_the_only_handler_ends() -> None:
    release = asyncio.Event()

    async def unary(request: bytes, context: ServerContext) -> bytes:
        await release.wait()
        return request

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1)
        await peer.barrier()
        connection = next(each for each in server.connections if each.running)
        written = connection.turn
        release.set()
        while connection.running:
            await asyncio.sleep(0)
        assert connection.turn == written + 1
        assert (await peer.answer(1)).data == framed(b"hello")
        assert connection.turn == written + 1

    ask(test, Probe(unary=unary))


def test_handlers_that_take_long_without_waiting_share_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    ended = 0
    most = 0
    monkeypatch.setattr("wire.server.request_calls.perf_counter", lambda: clock)

    async def unary(request: bytes, context: ServerContext) -> bytes:
        nonlocal clock, ended
        clock += 0.001
        ended += 1
        return request

    async def test(peer: RawPeer, server: wire.Server) -> None:
        nonlocal most
        for stream_id in (1, 3):  # the first has a task, as there is no other yet
            await peer.call(stream_id)
            await peer.answer(stream_id)
        requests = [
            (frames.headers(each, REQUEST), frames.data(each, framed(b""), end=True)) for each in range(5, 125, 2)
        ]
        await peer.send(*(frame for pair in requests for frame in pair))
        seen = ended
        while ended < 62:
            await asyncio.sleep(0)
            most = max(most, ended - seen)
            seen = ended
        await peer.barrier()

    ask(test, Probe(unary=unary))
    assert 0 < most < 40
