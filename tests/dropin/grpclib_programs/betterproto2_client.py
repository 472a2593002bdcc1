"""Programs that use betterproto2's generated stub: each says what it saw. Called as `client.py` is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from betterproto2_code.cafe.v1 import CafeStub, Order
from grpclib.client import Channel
from grpclib.metadata import Deadline
from speech import outcome, quiet, report, run_programs

PROGRAMS: dict[str, Any] = {}
Say = Callable[..., None]


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


async def orders(*payloads: bytes) -> AsyncIterator[Order]:
    for payload in payloads:
        yield Order(payload=payload)


async def collect(replies: AsyncIterator[Any]) -> list[bytes]:
    return [reply.payload async for reply in replies]


@program
async def all_kinds(say: Say, name: str, arguments: Any) -> None:
    async with Channel("127.0.0.1", arguments["plain"]) as channel:
        stub = CafeStub(channel)
        say(await stub.unary(Order(payload=b"hello")))
        say(await collect(stub.server_stream(Order(payload=b"x", count=3))))
        say(await collect(stub.server_stream(Order(payload=b"x"))))
        say(await stub.client_stream(orders(b"a", b"b")))
        say(await stub.client_stream([Order(payload=b"a"), Order(payload=b"b")]))
        say(await stub.client_stream([]))
        say(await collect(stub.bidi(orders(b"a", b"b"))))
        say(await collect(stub.bidi([])))


@program
async def errors(say: Say, name: str, arguments: Any) -> None:
    async with Channel("127.0.0.1", arguments["plain"]) as channel:
        stub = CafeStub(channel)
        say(await outcome(stub.unary(Order(payload=b"error"))))
        say(await outcome(stub.unary(Order(payload=b"crash"))))
        say(await outcome(collect(stub.server_stream(Order(payload=b"error", count=2)))))
        received = []
        try:
            async for reply in stub.server_stream(Order(payload=b"error", count=2)):
                received.append(reply.payload)
        except Exception as error:
            say(received, error)
    async with Channel("127.0.0.1", arguments["partial"]) as channel:
        say(await outcome(collect(CafeStub(channel).bidi([]))))


@program
async def options(say: Say, name: str, arguments: Any) -> None:
    async with Channel("127.0.0.1", arguments["plain"]) as channel:
        stub = CafeStub(channel, timeout=60, metadata={"of": "all calls"})
        say(await outcome(stub.unary(Order(payload=b"in time"))))
        try:
            await CafeStub(channel, timeout=0.1).unary(Order(payload=b"sleep"))
        except Exception as error:
            say("Deadline" in str(error) or "DEADLINE" in str(error))
        say(await outcome(stub.unary(Order(payload=b"x"), timeout=30, metadata=[("of", "this"), ("of", "call")])))
        say(await outcome(stub.unary(Order(payload=b"x"), deadline=Deadline.from_timeout(30))))
        say(await outcome(stub.unary(Order(payload=b"x"), timeout=0)))


@program
async def conversations(say: Say, name: str, arguments: Any) -> None:
    async with Channel("127.0.0.1", arguments["plain"]) as channel:
        stub = CafeStub(channel)
        answered = asyncio.Event()

        async def asking() -> AsyncIterator[Order]:
            yield Order(payload=b"first")
            await answered.wait()
            yield Order(payload=b"second")

        async for reply in stub.bidi(asking()):
            say(reply)
            answered.set()
        replies = stub.bidi(orders(b"a", b"b"))
        say(await anext(replies))
        await replies.aclose()
        say(await asyncio.gather(*[stub.unary(Order(payload=b"%d" % number)) for number in range(20)]))


if __name__ == "__main__":
    quiet()
    report(asyncio.run(run_programs(PROGRAMS, json.loads(sys.argv[1]))))
