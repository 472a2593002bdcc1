"""From a target's name to the addresses behind it, again and again: look-ups in the background.

A name that the system looks up may change its addresses, so it is looked up anew when a connection fails and every so
often; whoever owns the resolver is told. Literal addresses and sockets are resolved once. Imports `backoff` and
`transport`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from wire.client.backoff import Backoff
from wire.config import ChannelConfig
from wire.errors import TransportError
from wire.transport.address import Address, DiscoveredAddress, ProxiedAddress, TcpAddress
from wire.transport.contract import Candidate, Runtime, Task, Timer


class Owner(Protocol):
    """Who wants to know what a name stands for."""

    def resolved(self, candidates: list[Candidate]) -> None:
        """That has changed. Never empty."""

    def look_up_failed(self, reason: str) -> None:
        """What was known is still the last that is."""

    def look_up_due(self) -> None:
        """The pause after a failure is over: `refresh`, if it is still wanted."""

    def look_up_ended(self) -> None:
        """Well, badly or cancelled, before the others are told."""


class Resolver:
    """Looks up one target, and tells its owner.

    `candidates`: what the last look-up that worked has found; None before. `running`: one goes on. `failure`: why the
    last one failed; None once the pause after it is over.
    """

    def __init__(self, runtime: Runtime, address: Address, config: ChannelConfig, owner: Owner) -> None:
        self._runtime = runtime
        self._address = address
        self._config = config
        self._owner = owner
        looked_up = address.proxy if isinstance(address, ProxiedAddress) else address
        named = isinstance(looked_up, TcpAddress) and looked_up.family == "any"
        self._changes = named or isinstance(looked_up, DiscoveredAddress)
        self._backoff = Backoff(config)
        self._task: Task | None = None
        self._timer: Timer | None = None
        self._last_at = -inf
        self._closed = False
        self.running = False
        self.candidates: list[Candidate] | None = None
        self.failure: str | None = None

    def refresh(self) -> None:
        """Look the name up, once it is time for that: not while it is being done, and not too often."""
        if self._closed or self.running or self.failure is not None:
            return
        if self.candidates is not None:
            if not self._changes:
                return
            pause_s = self._last_at + self._config.resolve_min_interval_s - self._runtime.now()
            if pause_s > 0:
                self._in(pause_s, self._look_up)
                return
        self._look_up()

    def close(self) -> None:
        """No more look-ups; one that goes on is given up."""
        self._closed = True
        self._cancel_timer()
        if self._task is not None:
            self._runtime.call_soon(self._task.cancel)  # not now: a task must begin before it can clean up

    def let_go(self) -> None:
        """It is closed, and nothing goes on: the owner is told nothing more."""
        del self._owner

    def _in(self, pause_s: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        if not self._closed:
            self._timer = self._runtime.call_later(pause_s, callback)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_up(self) -> None:
        self._cancel_timer()
        if not self.running:
            self.running = True
            task = self._runtime.spawn(self._run())
            if self.running:  # an eager task may have ended already
                self._task = task

    async def _run(self) -> None:
        try:
            found = await self._runtime.resolve(self._address, self._config.transport.connect_timeout_s)
        except TransportError as error:
            self.failure = str(error)
            self._in(self._backoff.next_s(), self._retry)
            self._ended()
            if not self._closed:
                self._owner.look_up_failed(str(error))
            return
        except BaseException:
            self._ended()
            raise
        self._ended()
        self._backoff.reset()
        self._last_at = self._runtime.now()
        if self._changes and self._config.resolve_interval_s is not None:
            self._in(self._config.resolve_interval_s, self._look_up)
        candidates = list(dict.fromkeys(found))
        if candidates != self.candidates and not self._closed:
            self.candidates = candidates
            self._owner.resolved(candidates)

    def _ended(self) -> None:
        self.running = False
        self._task = None
        self._owner.look_up_ended()

    def _retry(self) -> None:
        self.failure = None
        self._timer = None
        self._owner.look_up_due()
