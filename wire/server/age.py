"""When a connection has been open, or without calls, for long enough (gRPC proposal A9).

Timers of their own: connections of servers without these knobs have none. Imports `config` and `connection`'s layer.
"""

from __future__ import annotations

import random
from typing import Any, Protocol

from wire.config import KeepaliveConfig
from wire.transport.contract import Runtime, Timer

_JITTER = 0.1  # A9: so that connections that began together do not end together
_LOOKS = 4  # in the time that makes a connection idle; it is noticed at most a quarter late


class Aging(Protocol):
    """What is needed of a connection."""

    @property
    def engine(self) -> Any: ...

    def drain(self) -> None:
        """Ask the client to go elsewhere; open calls go on."""

    def end(self, reason: str) -> None:
        """Fail what is still open, and close."""


class ConnectionAge:
    """Ends one connection when it is time for that; `close` when it is lost."""

    __slots__ = ("_config", "_connection", "_idle_looks", "_runtime", "_seen", "_timers")

    def __init__(self, runtime: Runtime, config: KeepaliveConfig, connection: Aging) -> None:
        self._runtime = runtime
        self._config = config
        self._connection = connection
        self._idle_looks = 0
        self._seen = 0
        self._timers: dict[str, Timer] = {}
        if config.max_connection_age_s is not None:
            age_s = config.max_connection_age_s * random.uniform(1 - _JITTER, 1 + _JITTER)
            self._timers["age"] = runtime.call_later(age_s, self._old)
        self._look_later()

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_later(self) -> None:
        if self._config.max_connection_idle_s is not None:
            pause_s = self._config.max_connection_idle_s / _LOOKS
            self._timers["idle"] = self._runtime.call_later(pause_s, self._look)

    def _look(self) -> None:
        engine = self._connection.engine
        if engine.streams or engine.streams_opened != self._seen:
            self._idle_looks = 0
        self._seen = engine.streams_opened
        if not engine.streams:
            self._idle_looks += 1
        if self._idle_looks > _LOOKS:
            self._connection.drain()
        else:
            self._look_later()

    def _old(self) -> None:
        self._connection.drain()
        grace_s = self._config.max_connection_age_grace_s
        if grace_s is not None:
            self._timers["age"] = self._runtime.call_later(grace_s, self._too_old)

    def _too_old(self) -> None:
        self._connection.end("the connection has reached its greatest age")
