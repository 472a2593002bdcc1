"""Memory that connections have freed goes back to the kernel.

glibc keeps what was freed in holes between what is in use, until it is asked for them; after a peer that made a server
hold 100 MiB, half of that stays. So a second after a connection has ended, a thread looks at how much is free, and has
it given back where that is much: not again for some seconds, as a busy server uses what it has freed. Nothing of this
is on the way of a call. Imports `process` and transport's contract.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from wire.process import FreedMemory
from wire.transport.contract import Runtime, Timer

_AFTER_S: Final = 1.0  # those that end together are one occasion
_AGAIN_AFTER_S: Final = 10.0


class Freed(Protocol):
    """`process.FreedMemory` is one."""

    def size_bytes(self) -> int: ...

    def give_back(self) -> None: ...


class Trimming:
    """For one server. `most_bytes`: what may stay."""

    __slots__ = ("_closed", "_freed", "_most_bytes", "_next_at", "_runtime", "_timer")

    def __init__(self, runtime: Runtime, most_bytes: int, freed: Freed) -> None:
        self._runtime = runtime
        self._most_bytes = most_bytes
        self._freed = freed
        self._next_at = runtime.now()
        self._timer: Timer | None = None
        self._closed = False

    @classmethod
    def make(cls, runtime: Runtime, most_bytes: int | None) -> Trimming | None:
        """None where it is not wanted, or there is nothing to be had by it."""
        freed = FreedMemory.find()
        return None if most_bytes is None or freed is None else cls(runtime, most_bytes, freed)

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
        try:
            threading.Thread(target=self._work, args=(self._runtime.now(),), name="wire-trim", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            pass

    def _work(self, now: float) -> None:
        """In a thread of its own."""
        if self._freed.size_bytes() > self._most_bytes:
            self._next_at = now + _AGAIN_AFTER_S
            self._freed.give_back()
