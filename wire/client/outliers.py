"""Leaving out an address whose calls fail, for a while (as gRPC proposal A50, by failures in a row).

Connections of a class of their own count how their calls end; without that knob there are none. Imports `dialing` and
`observing`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.client.dialing import ClientConnection, NewConnection, Owner
from wire.client.exchange import Exchange
from wire.client.observing import observe
from wire.config import ChannelConfig, OutlierConfig
from wire.status import StatusCode
from wire.transport.contract import Candidate, Runtime, Timer

# How calls end when it is the server's fault, or may be.
FAILURES = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
        StatusCode.DATA_LOSS,
        StatusCode.DEADLINE_EXCEEDED,
    }
)


class _CountedConnection(ClientConnection):
    """Tells how each of its calls has ended."""

    __slots__ = ("_count",)

    _count: Callable[[StatusCode], None]

    def call_started(self, call: Any) -> None:
        super().call_started(call)
        observe(call, self._call_ended)

    def _call_ended(self, call: Exchange[Any]) -> None:
        if call.connection is self and call.code is not None:  # else it went on elsewhere
            self._count(call.code)


def counted(count: Callable[[StatusCode], None]) -> NewConnection:
    """Makes connections that tell `count` how their calls end."""

    def new_connection(
        owner: Owner, runtime: Runtime, config: ChannelConfig, candidate: Candidate
    ) -> _CountedConnection:
        connection = _CountedConnection(owner, runtime, config, candidate)
        connection._count = count
        return connection

    return new_connection


class Outlier:
    """How the calls of one address end, and whether it is left out because of that (`ejected`).

    `may_eject`: asked when it should be; `changed`: called when it is, and when it is no longer.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: OutlierConfig,
        may_eject: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._config = config
        self._may_eject = may_eject
        self._changed = changed
        self._failures = 0
        self._times = 0
        self._timer: Timer | None = None
        self.ejected = False

    def count(self, code: StatusCode) -> None:
        """A call has ended."""
        if code not in FAILURES:
            if code is not StatusCode.CANCELLED:  # which says nothing about the server
                self._failures = 0
                self._times = 0 if not self.ejected else self._times
            return
        self._failures += 1
        if self._failures >= self._config.consecutive_failures and not self.ejected and self._may_eject():
            self._times += 1
            self._failures = 0
            self.ejected = True
            pause_s = min(self._config.ejection_s * self._times, self._config.max_ejection_s)
            self._timer = self._runtime.call_later(pause_s, self._admit)
            self._changed()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _admit(self) -> None:
        self._timer = None
        self._failures = 0
        self.ejected = False
        self._changed()
