"""Unary answers that come in one read behind others of their kind end calls as those do that come frame by frame."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.http2 import frames as f
from tests.memory import End, World, world
from tests.support import run
from wire import StatusCode
from wire.client.unary_exchange import UnaryExchange
from wire.config import EngineName
from wire.http2.codes import Setting
from wire.metadata import Fields
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

MESSAGE = b"\n\5hello"  # EchoResponse(payload=b"hello")
BEHIND = 3  # calls, after which an engine knows what an answer looks like

_CALLS = wire.CallConfig(max_receive_message_bytes=1000)
_POLICIES = {
    "retried": {"retryPolicy": {
        "maxAttempts": 2,
        "initialBackoff": "1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }},
    "hedged": {"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "9s"}},
}  # fmt: skip


def answer(
    stream_id: int, data: bytes = framed(MESSAGE), response: Fields = f.RESPONSE, trailers: Fields = f.TRAILERS
) -> list[bytes]:
    return [f.headers(stream_id, response), f.data(stream_id, data), f.headers(stream_id, trailers, end=True)]


@asynccontextmanager
async def settled(
    outside: World, engine: EngineName, response: Fields = f.RESPONSE, **options: Any
) -> AsyncIterator[tuple[Any, End]]:
    """What makes calls, and their peer, behind calls that were answered."""
    config = wire.ChannelConfig(engine=engine, calls=_CALLS)
    async with wire.Channel("127.0.0.1:1", config=config, **options) as channel:
        echo = channel.unary_unary("/echo.v1.EchoService/Echo", EchoRequest, EchoResponse)
        calls = [echo(EchoRequest()) for _ in range(BEHIND)]
        await outside.settle()
        end = outside.ends[0]
        end.receive(f.settings())
        for call in calls:
            await outside.settle()
            end.receive(*answer(end.opened()[calls.index(call)], response=response))
            assert await call == EchoResponse(payload=b"hello")
        yield echo, end


async def ended(call: Any) -> list[Any]:
    try:
        result = [await call]
    except wire.RpcError as error:
        result = [error.code, error.message, error.initial_metadata, error.trailing_metadata]
    return [*result, call.code, call.message, call.initial_metadata, call.trailing_metadata]


@pytest.mark.parametrize(
    "data",
    [
        framed(MESSAGE),
        framed(b""),
        framed(b"\n\5cut"),
        framed(bytes(1001)),
        framed(MESSAGE) + framed(MESSAGE),
        framed(MESSAGE)[:-1],
        framed(MESSAGE) + b"\0",
        framed(gzip.compress(MESSAGE))[:0] + b"\1" + framed(MESSAGE)[1:],
        b"\7" + framed(MESSAGE)[1:],
    ],
    ids=["whole", "empty", "undecodable", "too long", "two", "cut", "and more", "compressed", "flag"],
)
@pytest.mark.parametrize(
    "response", [f.RESPONSE, (*f.RESPONSE, (b"grpc-encoding", b"gzip"), (b"k", b"v"))], ids=["plain", "gzip"]
)
def test_an_answer_in_one_read_is_what_it_is_in_three(response: Fields, data: bytes) -> None:
    async def found(together: bool) -> list[Any]:
        with world() as outside:
            async with settled(outside, "tuned", response) as (echo, end):
                call = echo(EchoRequest())
                await outside.settle()
                parts = answer(end.opened()[-1], data, response)
                for part in [b"".join(parts)] if together else parts:
                    end.receive(part)
                result = await ended(call)
                await outside.settle()
                assert not end.streams
                return result

    async def main() -> None:
        assert await found(together=True) == await found(together=False)

    run(main)


@pytest.mark.parametrize("engine", ["tuned"])
@pytest.mark.parametrize("policy", [None, *_POLICIES])
def test_calls_that_others_watch_are_told_of_whole_answers(
    loop: LoopName, engine: EngineName, policy: str | None
) -> None:
    async def main() -> None:
        told: list[Any] = []
        options: dict[str, Any] = {}
        if policy is not None:
            options["service_config"] = {"methodConfig": [{"name": [{}], **_POLICIES[policy]}]}
        with world() as outside:
            async with settled(outside, engine, **options) as (echo, end):
                calls = [echo(EchoRequest()) for _ in range(3)]
                for call in calls:
                    call.add_done_callback(told.append)
                await outside.settle()
                end.receive(*(part for each in end.opened()[-3:] for part in answer(each)))
                assert [call.code for call in calls] == [StatusCode.OK] * 3
                await outside.settle()
                assert told == calls

    run(main, loop=loop)


def test_a_call_that_waits_for_room_starts_when_a_whole_answer_has_come() -> None:
    async def main() -> None:
        with world() as outside:
            async with settled(outside, "tuned") as (echo, end):
                end.receive(f.settings({Setting.MAX_CONCURRENT_STREAMS: 1}))
                first, second = echo(EchoRequest()), echo(EchoRequest(), timeout=5)
                await outside.settle()
                behind = end.opened()
                end.receive(*answer(behind[-1]))
                assert first.code is StatusCode.OK
                await outside.settle()
                assert len(end.opened()) == len(behind) + 1
                end.receive(*answer(end.opened()[-1]))
                assert (await second).payload == b"hello"

    run(main)


def test_answers_in_one_read_are_taken_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the tests above are of what they say."""
    taken: list[bool] = []
    plain = UnaryExchange.on_response

    def on_response(*args: Any) -> bool:
        taken.append(plain(*args))
        return taken[-1]

    monkeypatch.setattr(UnaryExchange, "on_response", on_response)

    async def main() -> None:
        with world() as outside:
            async with settled(outside, "tuned") as (echo, end):
                calls = [echo(EchoRequest()) for _ in range(3)]
                await outside.settle()
                end.receive(*(part for each in end.opened()[-3:] for part in answer(each)))
                assert [(await call).payload for call in calls] == [b"hello"] * 3

    run(main)
    assert taken == [True] * 4  # and the last one of those before
