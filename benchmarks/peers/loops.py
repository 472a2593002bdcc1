"""The load that every asyncio client puts on its stack, the same few lines for each. Imports no stack."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class EchoStream:
    """One open bidi stream: `send` sends the message once more, `replies` are what comes back, `end` ends our side."""

    send: Callable[[], Awaitable[Any]]
    replies: AsyncIterator[Any]
    end: Callable[[], Awaitable[Any]]


class Client(Protocol):
    """A stack's client, connected to one server over one connection."""

    def unary(self, payload: bytes) -> Callable[[], Awaitable[Any]]:
        """What makes one call of Echo and awaits the reply. The request is built once."""

    def stream(self, payload: bytes) -> AbstractAsyncContextManager[EchoStream]: ...


Answer = dict[str, float]
"""`count` of calls or messages in `seconds`, with `cpu_s` of this process; `p50_us` of unary calls."""


async def call_unary(client: Client, payload_bytes: int, in_flight: int, seconds: float) -> Answer:
    """`in_flight` tasks, each awaiting one call after the other, until `seconds` have passed."""
    call = client.unary(bytes(payload_bytes))
    clock = time.perf_counter
    latencies: list[float] = []
    started, cpu_s = clock(), time.process_time()
    until = started + seconds

    async def caller() -> None:
        now = clock()
        while now < until:
            await call()
            before, now = now, clock()
            latencies.append(now - before)

    await asyncio.gather(*[caller() for _ in range(in_flight)])
    return {
        "count": len(latencies),
        "seconds": clock() - started,
        "cpu_s": time.process_time() - cpu_s,
        "p50_us": statistics.median(latencies) * 1e6,
    }


async def call_stream(client: Client, payload_bytes: int, seconds: float, count: int | None = None) -> Answer:
    """One stream, written to as fast as it takes messages for `seconds`, or `count` of them, and read beside it."""
    clock = time.perf_counter
    received = 0
    started, cpu_s = clock(), time.process_time()

    async def write(stream: EchoStream) -> None:
        sent, until, send = 0, clock() + seconds, stream.send
        while clock() < until if count is None else sent < count:
            await send()
            sent += 1
        await stream.end()

    async with client.stream(bytes(payload_bytes)) as stream:
        writer = asyncio.create_task(write(stream))
        async for _ in stream.replies:
            received += 1
        await writer
    return {"count": received, "seconds": clock() - started, "cpu_s": time.process_time() - cpu_s}


def run_fastest(main: Coroutine[Any, Any, None]) -> None:
    """Run under uvloop where it is installed, as `wire.run` does."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
