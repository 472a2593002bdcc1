"""A channel's connections to its target: which call goes where, when to connect, and how long not to.

Calls come by `submit`; each is started on a connection with room, round robin, or waits in `queue` until there is
one. Everything is driven by calls from below (connected, lost, a stream ended), so a waiting call costs no task.
Imports `dialing`, `exchange` and what is below them.

A failed attempt to connect fails the queued calls that do not wait for readiness, and those made before the back-off
has passed (connection-backoff.md; wait-for-ready.md). A connection that is lost after it worked is replaced without a
pause, and so, a few times, is one that a server took and ended before it could be used: a server that stops does that.
"""

from __future__ import annotations

import errno
import random
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from wire.client.connectivity import ConnectivityState, StateTracker
from wire.client.dialing import ClientConnection, Dial, HungUpError
from wire.client.exchange import Exchange
from wire.config import ChannelConfig
from wire.errors import ConnectError, TransportError, UsageError
from wire.http2.codes import ErrorCode
from wire.status import StatusCode
from wire.transport.address import Address
from wire.transport.contract import Candidate, Future, Runtime, Task, Timer
from wire.transport.tls import ClientTls

_GOODBYE_S = 1.0  # a server that does not read must not hold up a channel that closes


class Pool:
    """See the module's text. `queue`: calls that wait for a connection, in order."""

    def __init__(self, runtime: Runtime, address: Address, tls: ClientTls | None, config: ChannelConfig) -> None:
        self._runtime = runtime
        self._address = address
        self._tls = tls
        self._config = config
        self._ready: list[ClientConnection] = []
        self._next = 0  # where the round goes on
        self._all: set[ClientConnection] = set()  # also those that only finish what they have
        self._connecting: dict[Dial, Task | None] = {}
        self._failures = 0
        self._failure: str | None = None  # why the last attempt failed, until the back-off has passed
        self._last_failure: str | None = None  # the same, for good
        self._backoff: Timer | None = None
        self._draining = False  # no new calls: those that there are may end
        self._closed = False
        self._all_gone: Future[None] | None = None
        self._wanted = 0  # how many wait for a connection without a call
        self.connectivity = StateTracker(runtime.future)
        """The channel's state, and waiting for another one."""
        self.queue: OrderedDict[Exchange[Any], None] = OrderedDict()
        self.held: dict[Exchange[Any], Task | None] = {}
        """Calls that will come when what they wait for is there, such as their credentials."""
        self.keepalive = config.keepalive
        """How often connections made from now on are pinged."""

    def __repr__(self) -> str:
        calls = sum(len(connection.engine.streams) for connection in self._all if connection.transport is not None)
        return f"{len(self._ready)} connections ready, {calls} calls open, {len(self.queue)} waiting"

    def submit(self, call: Exchange[Any]) -> None:
        """Start the call, queue it, or fail it."""
        connection = self._pick()
        if connection is not None and not self.queue:
            call.start(connection)
        elif self._closed:
            call.fail(StatusCode.CANCELLED, "the channel was closed")
        elif self._failure is not None and not self._ready and not call.wait_for_ready:
            call.fail(StatusCode.UNAVAILABLE, self._failure)
        else:
            call.queued = True
            self.queue[call] = None
            self._connect_missing()

    def connect(self) -> None:
        """Have a connection, or at least try: as a call would."""
        if not self._ready:
            self._connect_missing()

    async def ready(self, timeout_s: float | None) -> None:
        """Until a call could start. Raises `ConnectError` when the time is over, `UsageError` once it is closed."""
        connectivity = self.connectivity
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            connectivity.wake()

        timer = None if timeout_s is None else self._runtime.call_later(timeout_s, expire)
        self._wanted += 1
        try:
            while connectivity.state is not ConnectivityState.READY:
                if self._closed:
                    raise UsageError("the channel was closed")
                if expired:
                    why = self._last_failure or "no connection has been made yet"
                    raise ConnectError(f"the channel was not ready within {timeout_s} s: {why}", errno.ETIMEDOUT)
                self.connect()
                if not self._ready:
                    await connectivity.changed()
        finally:
            self._wanted -= 1
            if timer is not None:
                timer.cancel()

    def _update_state(self) -> None:
        """Work the state out anew, after something has changed."""
        if self._closed:
            state = ConnectivityState.SHUTDOWN
        elif self._ready:
            state = ConnectivityState.READY
        elif self._failure is not None:
            state = ConnectivityState.TRANSIENT_FAILURE
        elif self._connecting:
            state = ConnectivityState.CONNECTING
        else:
            state = ConnectivityState.IDLE
        self.connectivity.set(state)

    def dispatch(self) -> None:
        """There may be room: start what waits."""
        queue = self.queue
        while queue:
            connection = self._pick()
            if connection is None:
                self._connect_missing()
                return
            call, _ = queue.popitem(last=False)
            call.start(connection)
        if self._draining:
            self._go_away()

    def call_ended(self, call: Exchange[Any]) -> None:
        """A call ended while some wait: it leaves the queue, or leaves room."""
        self.queue.pop(call, None)
        if call.stream is not None or self._draining:
            self._runtime.call_soon(self.dispatch)

    def retire(self, connection: ClientConnection) -> None:
        """The connection takes no more calls."""
        if connection in self._ready:
            self._ready.remove(connection)
            self._update_state()
            if (
                self._ready and not self._draining
            ):  # the others are in use, so this one is missed; the last is replaced when a call comes
                self._runtime.call_soon(self._connect_missing)
        if self.queue:
            self._runtime.call_soon(self.dispatch)

    def lost(self, connection: ClientConnection) -> None:
        """The connection is gone."""
        self._all.discard(connection)
        self._check_gone()

    def pings_refused(self) -> None:
        """Ping half as often from now on (gRPC proposal A8)."""
        time_s = self.keepalive.time_s
        if time_s is not None:
            self.keepalive = replace(self.keepalive, time_s=min(2 * time_s, 1e9))

    async def close(self, grace_s: float = 0.0) -> None:
        """Let open calls end within `grace_s`, cancel the rest, and close every connection; returns when that is done.
        To be called once."""
        if grace_s > 0 and self._calls_open():
            self._draining = True
            self.submit = self._submit_drained  # type: ignore[method-assign]
            self._go_away()
        else:
            self.abandon()
            grace_s = 0.0
        timers = [
            self._runtime.call_later(grace_s, self.abandon),
            self._runtime.call_later(grace_s + _GOODBYE_S, self._abort_all),
        ]
        try:
            if not self._gone():
                self._all_gone = self._runtime.future()
                await self._all_gone
        finally:
            for timer in timers:
                timer.cancel()
            self.abandon()

    def abandon(self) -> None:
        """Cancel every call and have every connection closed."""
        if self._closed:
            return
        self._closed = True
        self._update_state()
        if self._backoff is not None:
            self._backoff.cancel()
        self._stop_connecting()
        for call in [*self.queue, *self.held]:
            call.fail(StatusCode.CANCELLED, "the channel was closed")
        for connection in list(self._all):
            if connection.transport is None:  # not yet, and then its task is cancelled
                continue
            for stream in list(connection.engine.streams.values()):
                if stream.call is not None:
                    stream.call.cancel()
            connection.break_off(ErrorCode.NO_ERROR, "the channel was closed")

    def _calls_open(self) -> bool:
        if self.queue or self.held:
            return True
        return any(connection.engine.streams for connection in self._all if connection.transport is not None)

    def _submit_drained(self, call: Exchange[Any]) -> None:
        """In place of `submit` while the channel closes: what is sent once more belongs to the calls that may end."""
        if call.queued or call.attempts:
            Pool.submit(self, call)
        else:
            call.fail(StatusCode.CANCELLED, "the channel was closed")

    def _go_away(self) -> None:
        """The channel closes. Once no call needs another connection, each closes after the last one it has."""
        if self.queue or self.held:
            return
        self._stop_connecting()
        for connection in list(self._all):
            if connection.transport is not None and not connection.closing:
                connection.engine.goaway()
                connection.closing = True
                connection.wake()
                self.retire(connection)
        self._check_gone()

    def _stop_connecting(self) -> None:
        for task in list(self._connecting.values()):
            if task is not None:
                self._runtime.call_soon(task.cancel)  # not now: a task must begin before it can clean up

    def _gone(self) -> bool:
        return not (self._all or self._connecting or self.queue or self.held)

    def _check_gone(self) -> None:
        if self._all_gone is not None and not self._all_gone.done() and self._gone():
            self._all_gone.set_result(None)

    def _abort_all(self) -> None:
        for connection in list(self._all):
            if connection.transport is not None:
                connection.transport.abort()

    def _pick(self) -> ClientConnection | None:
        """The next connection, round robin, on which a stream may be opened."""
        ready = self._ready
        if len(ready) == 1:
            return ready[0] if ready[0].engine.can_open else None
        for _ in range(len(ready)):
            self._next = (self._next + 1) % len(ready)
            if ready[self._next].engine.can_open:
                return ready[self._next]
        return None

    # Connecting.

    def _connect_missing(self) -> None:
        """Begin as many attempts as connections are missing, unless a failed one asks for a pause."""
        if self._closed or self._backoff is not None:
            return
        for connection in [connection for connection in self._ready if connection.engine.drained]:
            connection.closing = True
            connection.wake()
            self._ready.remove(connection)
        for _ in range(self._config.connections - len(self._ready) - len(self._connecting)):
            dial = Dial(self, self._runtime, self._tls, self._config)
            self._connecting[dial] = None
            task = self._runtime.spawn(self._connect(dial))
            if dial in self._connecting:  # an eager task may have ended already
                self._connecting[dial] = task
        self._update_state()

    async def _connect(self, dial: Dial) -> None:
        retries = self._config.connect_retries
        try:
            for attempt in range(1 + retries):
                try:
                    connection = await dial.run(self._address)
                    break
                except HungUpError:
                    if attempt == retries:
                        raise
        except TransportError as error:
            del self._connecting[dial]
            self._failed(str(error))
            return
        except BaseException:
            del self._connecting[dial]
            raise
        finally:
            self._check_gone()
        del self._connecting[dial]
        self._failures = 0
        self._failure = None
        self._ready.append(connection)
        self._update_state()
        self.dispatch()

    def made(self, connection: ClientConnection) -> None:
        """There is a transport, which is to be closed in the end."""
        self._all.add(connection)
        if self._closed:
            self._runtime.call_soon(connection.abandon)

    def in_use(self, candidate: Candidate) -> int:
        """Connections to that candidate, those on their way included."""
        ready = sum(connection.candidate == candidate for connection in self._ready)
        return ready + sum(dial.first == candidate for dial in self._connecting)

    def _failed(self, reason: str) -> None:
        config = self._config
        pause_s = min(config.backoff_initial_s * config.backoff_multiplier**self._failures, config.backoff_max_s)
        pause_s *= random.uniform(1 - config.backoff_jitter, 1 + config.backoff_jitter)
        self._failures += 1
        self._failure = self._last_failure = reason
        self._update_state()
        if self._backoff is None and not self._closed:
            self._backoff = self._runtime.call_later(pause_s, self._retry)
        if not self._ready and not self._connecting:
            for call in [call for call in self.queue if not call.wait_for_ready]:
                call.fail(StatusCode.UNAVAILABLE, reason)

    def _retry(self) -> None:
        self._backoff = None
        self._failure = None
        if self.queue or self._ready or self._wanted:
            self._connect_missing()
        self._update_state()
