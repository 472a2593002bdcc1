"""A clock set by hand: for servers and channels on a running loop, and for connections on none at all."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import pytest

from tests.http2 import frames
from tests.http2.frames import Frame
from wire.transport.contract import Peer, Runtime, SocketCounters
from wire.transport.runtime import open_runtime


class ManualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], Any] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time and timers of runtimes, which stand still until `advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> ManualTimer:
        timer = ManualTimer(lambda: callback(*args))
        heapq.heappush(self._timers, (self._now + delay_s, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Run what falls due on the way, each at its time."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if timer.callback is not None:
                timer.callback()
        self._now = end

    @property
    def pending(self) -> list[float]:
        """In how many seconds the timers fall due that were not cancelled."""
        return sorted(due - self._now for due, _, timer in self._timers if timer.callback is not None)

    @asynccontextmanager
    async def open_runtime(self) -> AsyncIterator[Runtime]:
        """The running loop's runtime on this clock. What is due at once is run at once."""
        async with open_runtime() as runtime:

            def call_later(delay_s: float, callback: Callable[..., Any], *args: Any) -> ManualTimer:
                if delay_s > 0:
                    return self.call_later(delay_s, callback, *args)
                timer = ManualTimer(lambda: callback(*args))
                runtime.call_soon(lambda: timer.callback and timer.callback())
                return timer

            stopped = cast(Any, runtime)
            stopped.now, stopped.call_later = self.now, call_later
            yield runtime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock of all servers and channels that the test opens."""
    clock = ManualClock()
    monkeypatch.setattr("wire.server.server.open_runtime", clock.open_runtime)
    monkeypatch.setattr("wire.client.channel.open_runtime", clock.open_runtime)
    return clock


class ManualRuntime:
    """Time and callbacks for connections on their own: no event loop, no tasks."""

    name = "manual"

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.now
        self.call_later = self.clock.call_later
        self._ready: list[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._ready.append(lambda: callback(*args))

    call_soon_threadsafe = call_soon

    def turn(self) -> None:
        """One turn of the loop."""
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()


class MemoryTransport:
    """A `Transport` that writes into a list, and says what was done to it."""

    def __init__(self) -> None:
        self.peer = Peer("memory:")
        self.written: list[bytes] = []
        self.in_pieces: list[list[int]] = []  # the lengths of what each `writelines` was given
        self.closed = False
        self.aborted = False
        self.reading = True
        self.unsent = 0

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written.append(data)

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.in_pieces.append(list(map(len, pieces)))
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return None

    def local_address(self) -> str | None:
        return None

    def unsent_bytes(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def sent(self) -> list[Frame]:
        """The frames written since the last time."""
        written, self.written = b"".join(self.written), []
        return frames.parse(written)
