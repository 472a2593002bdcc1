"""The state of a channel, and waiting for another one (gRPC's connectivity-semantics-and-api.md).

Imports nothing but `transport.contract`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from wire.transport.contract import Future


class ConnectivityState(Enum):
    """What a channel is doing about its connections."""

    IDLE = "idle"
    """It has no connection and needs none: it connects when a call is made."""

    CONNECTING = "connecting"
    READY = "ready"
    """Calls can start."""

    TRANSIENT_FAILURE = "transient failure"
    """It could not connect, and tries again after a pause. Calls that do not wait for readiness fail."""

    SHUTDOWN = "shutdown"
    """It was closed."""

    def __str__(self) -> str:
        return self.name


class StateTracker:
    """A state, and those who wait for it to change."""

    __slots__ = ("_new_future", "_waiters", "state")

    def __init__(self, new_future: Callable[[], Future[None]]) -> None:
        self._new_future = new_future
        self._waiters: list[Future[None]] = []
        self.state = ConnectivityState.IDLE

    def set(self, state: ConnectivityState) -> None:
        """Wakes who waits, when it is another one than before."""
        if state is not self.state:
            self.state = state
            self.wake()

    def wake(self) -> None:
        """Have everybody who waits look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        """Until the next `set` to another state, or `wake`."""
        waiter = self._new_future()
        self._waiters.append(waiter)
        await waiter
