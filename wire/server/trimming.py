"""Memory that connections have freed goes back to the kernel.

glibc keeps what was freed in holes between what is in use, until it is asked for them; after a peer that made a server
hold 100 MiB, half of that stays. So a second after a connection has ended, the process looks at how much it holds, and
where that is much more than it was, has it handed back, in a thread: not again for some seconds, as a busy server uses
what it has freed. Nothing of this is on the way of a call. Imports `process` and transport's contract.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from wire.process import memory_trimmer, resident_bytes
from wire.transport.contract import Runtime, Timer

_AFTER_S: Final = 1.0  # those that end together are one occasion
_AGAIN_AFTER_S: Final = 10.0


class Trimming:
    """For one server. `more_bytes`: how much more than after the last time the process may hold."""

    __slots__ = (
        "_baseline_bytes",
        "_closed",
        "_more_bytes",
        "_next_at",
        "_resident_bytes",
        "_runtime",
        "_timer",
        "_trim",
    )

    def __init__(
        self,
        runtime: Runtime,
        more_bytes: int,
        trim: Callable[[], object],
        resident_bytes: Callable[[], int] = resident_bytes,
    ) -> None:
        self._runtime = runtime
        self._more_bytes = more_bytes
        self._trim = trim
        self._resident_bytes = resident_bytes
        self._baseline_bytes = resident_bytes()
        self._next_at = runtime.now()
        self._timer: Timer | None = None
        self._closed = False

    @classmethod
    def make(cls, runtime: Runtime, more_bytes: int | None) -> Trimming | None:
        """None where it is not wanted, or there is nothing to be had by it."""
        trim = memory_trimmer()
        return None if more_bytes is None or trim is None else cls(runtime, more_bytes, trim)

    def connection_ended(self) -> None:
        """A connection and all of its handlers are gone."""
        if self._timer is None and not self._closed:
            delay_s = max(_AFTER_S, self._next_at - self._runtime.now())
            self._timer = self._runtime.call_later(delay_s, self._look)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        held_bytes = self._resident_bytes()
        self._baseline_bytes = min(self._baseline_bytes, held_bytes)
        if held_bytes - self._baseline_bytes > self._more_bytes:
            self._next_at = self._runtime.now() + _AGAIN_AFTER_S
            try:
                threading.Thread(target=self._work, name="wire-trim", daemon=True).start()
            except RuntimeError:  # the system has no more threads
                pass

    def _work(self) -> None:
        """In a thread of its own."""
        self._trim()
        self._baseline_bytes = self._resident_bytes()
