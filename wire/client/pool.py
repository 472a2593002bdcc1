"""A channel's connections to its target: which call goes where, and which connections there are.

Calls come by `submit`; each is started on a connection with room (`balancer.choose`), or waits in `queue` until there
is one. Everything is driven by calls from below (an address found, a connection made or lost, a stream ended), so a
waiting call costs no task. The `resolver` says which addresses there are; a `Subchannel` has the connections to one of
them (round_robin) or to all (pick_first). Imports these and what is below them.

Calls that do not wait for readiness fail once there is no connection and no attempt to make one goes on
(wait-for-ready.md). When servers' limits of concurrent streams make calls wait, subchannels get further connections.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import ref

from wire.client.balancer import aggregate, choose, may_eject, share
from wire.client.connectivity import ConnectivityState, StateTracker
from wire.client.dialing import ClientConnection
from wire.client.exchange import Exchange
from wire.client.outliers import Outlier, counted
from wire.client.preparation import Preparation
from wire.client.resolver import Resolver
from wire.client.subchannel import Subchannel
from wire.config import ChannelConfig
from wire.errors import ConnectError, UsageError
from wire.http2.codes import ErrorCode
from wire.live import ChannelState
from wire.status import StatusCode
from wire.transport.address import Address
from wire.transport.contract import Candidate, Future, Runtime, Task, Timer
from wire.transport.tls import ClientTls

_GOODBYE_S = 1.0  # a server that does not read must not hold up a channel that closes

_CLOSED = "the channel was closed"

_LOOKS = 4  # in the time that makes a channel idle; it is noticed at most a quarter late


class Pool:
    """See the module's text. `queue`: calls that wait for a connection, in order.

    The owner of a `Resolver`, and the keeper of `Subchannel`s."""

    def __init__(
        self,
        runtime: Runtime,
        address: Address,
        tls: ClientTls | None,
        config: ChannelConfig,
        preparation: Preparation,
    ) -> None:
        self._runtime = runtime
        self._tls = tls
        self._config = config
        self._preparation = preparation
        self._resolver = Resolver(runtime, address, config, self)
        self._all_in_one = config.load_balancing == "pick_first"
        self._subchannels: dict[Candidate | None, Subchannel] = {}
        self._outliers: dict[Subchannel, Outlier] = {}
        self._ready: list[ClientConnection] = []  # all those that calls may go to
        self._only: ClientConnection | None = None  # where there is one
        self._groups: list[list[ClientConnection]] = []  # the same, by what has a share of the calls
        self._turn = 0
        self._all: set[ClientConnection] = set()  # also those that only finish what they have
        self._failure: str | None = None  # why there is no connection, while that is so and nothing is done about it
        self._last_failure: str | None = None  # the same, for good
        self._begun = False  # a connection was asked for
        self._idle_timer: Timer | None = None
        self._idle_looks = 0  # in a row, that found no calls
        self._seen = 0  # what had been opened at the last one
        self._draining = False  # no new calls: those that there are may end
        self._closed = False
        self._all_gone: Future[None] | None = None
        self._past_calls = [0, 0]  # started and failed, of connections that are gone
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

    def live_state(self, number: int, target: str) -> ChannelState:
        """What the channel is doing now (`wire.live`)."""
        connections = [
            each.state(transport.peer) for each in list(self._all) if (transport := each.transport) is not None
        ]
        started, failed = self._past_calls
        return ChannelState(
            number,
            target,
            self.connectivity.state.name,
            started + sum(each.streams_opened for each in connections),
            failed + sum(each.streams_failed for each in connections),
            sum(each.streams_open for each in connections),
            len(self.queue) + len(self.held),
            tuple(each.live_state() for each in list(self._subchannels.values())),
            tuple(sorted(connections, key=lambda each: each.number)),
        )

    # Calls.

    def submit(self, call: Exchange[Any]) -> None:
        """Start the call, queue it, or fail it."""
        connection = self._only
        if connection is not None and connection.engine.can_open and not self.queue:
            call.start(connection)
        else:
            self._submit(call)

    def _submit(self, call: Exchange[Any]) -> None:
        connection = self._pick()
        if connection is not None and not self.queue:
            call.start(connection)
        elif self._closed:
            call.fail(StatusCode.CANCELLED, _CLOSED)
        elif self._failure is not None and not call.wait_for_ready:
            call.fail(StatusCode.UNAVAILABLE, self._failure)
        else:
            call.queued = True
            self.queue[call] = None
            self.connect()

    def dispatch(self) -> None:
        """There may be room: start what waits."""
        queue = self.queue
        while queue:
            connection = self._pick()
            if connection is None:
                self.connect()
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

    def _pick(self) -> ClientConnection | None:
        """Where the next call goes."""
        if self._only is not None:
            return self._only if self._only.engine.can_open else None
        self._turn += 1
        return choose(self._groups, self._turn)

    # Connecting.

    def connect(self) -> None:
        """Have the connections that are missing made, and one more where all of an address are full and calls wait."""
        if self._closed:
            return
        self._begun = True
        if self._idle_timer is None:
            self._look_later()
        if self._resolver.candidates is None:
            self._resolver.refresh()
            self._update()
            return
        for subchannel in list(self._subchannels.values()):
            subchannel.connect()
        if self.queue and self._ready:
            for subchannel in self._subchannels.values():
                if subchannel.grow():
                    break

    def _look_later(self) -> None:
        if self._config.idle_timeout_s is not None:
            self._idle_timer = self._runtime.call_later(self._config.idle_timeout_s / _LOOKS, self._look)

    def _look(self) -> None:
        """Close the connections when there were no calls for long enough."""
        self._idle_timer = None
        engines = [connection.engine for connection in self._all if connection.transport is not None]
        watches = sum(each.watches for each in self._subchannels.values())
        opened = sum(engine.streams_opened for engine in engines)
        busy = self.queue or self.held or self._wanted or sum(len(engine.streams) for engine in engines) > watches
        self._idle_looks = 0 if busy or opened != self._seen else self._idle_looks + 1
        self._seen = opened
        if self._idle_looks < _LOOKS:
            self._look_later()
            return
        self._idle_looks = 0
        self._begun = False
        for subchannel in self._subchannels.values():
            subchannel.rest()
        self._update()

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
                    raise UsageError(_CLOSED)
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

    def _update(self) -> None:
        """Work out anew where calls may go, and the channel's state, after something below has changed."""
        subchannels = self._subchannels.values()
        outliers = self._outliers
        usable = [each for each in subchannels if each.ready and not (outliers and outliers[each].ejected)]
        if self._all_in_one:
            self._groups = [[connection] for each in usable for connection in each.ready]
        else:
            self._groups = [each.ready for each in usable]
        self._ready = [connection for each in usable for connection in each.ready]
        self._only = self._ready[0] if len(self._ready) == 1 else None
        if self._closed:
            state = ConnectivityState.SHUTDOWN
        elif self._ready:
            state = ConnectivityState.READY
        elif self._resolver.candidates is not None:
            state = aggregate([each.state for each in subchannels])
        elif self._resolver.failure is not None:
            state = ConnectivityState.TRANSIENT_FAILURE
        else:
            state = ConnectivityState.CONNECTING if self._resolver.running else ConnectivityState.IDLE
        failure = None
        if state is ConnectivityState.TRANSIENT_FAILURE:
            reasons = dict.fromkeys(each.reason for each in subchannels if each.reason is not None)
            failure = "; ".join(reasons) or self._resolver.failure or "every address is left out"
            self._last_failure = failure
        self._failure = failure
        self.connectivity.set(state)
        if failure is not None and self.queue:
            for call in [call for call in self.queue if not call.wait_for_ready]:
                if call in self.queue:  # else the failure of another has brought about this one's
                    del self.queue[call]  # one that is to be tried again waits elsewhere
                    call.fail(StatusCode.UNAVAILABLE, failure)

    # What the resolver tells.

    def resolved(self, candidates: list[Candidate]) -> None:
        """These are the target's addresses from now on."""
        if self._all_in_one:
            wanted: dict[Candidate | None, list[Candidate]] = {None: candidates}
        else:
            wanted = {candidate: [candidate] for candidate in candidates}
        connections = self._config.connections if self._all_in_one else share(self._config.connections, len(wanted))
        for key in [key for key in self._subchannels if key not in wanted]:
            self._drop(self._subchannels.pop(key))
        for key, addresses in wanted.items():
            subchannel = self._subchannels.get(key)
            if subchannel is None:
                self._subchannels[key] = self._new_subchannel(addresses, connections)
            else:
                subchannel.update(addresses, connections)
        self._update()
        if self._begun:
            self.connect()

    def _new_subchannel(self, candidates: list[Candidate], connections: int) -> Subchannel:
        config = self._config
        subchannel = Subchannel(self, self._runtime, self._tls, config, self._preparation, candidates, connections)
        if config.outliers is not None and not self._all_in_one:
            outlier = Outlier(self._runtime, config.outliers, self._may_eject, self._update)
            subchannel.new_connection = counted(outlier.count)
            self._outliers[subchannel] = outlier
        return subchannel

    def _may_eject(self) -> bool:
        assert self._config.outliers is not None
        ejected = sum(outlier.ejected for outlier in self._outliers.values())
        return may_eject(ejected, len(self._subchannels), self._config.outliers.max_ejected)

    def _drop(self, subchannel: Subchannel) -> None:
        outlier = self._outliers.pop(subchannel, None)
        if outlier is not None:
            outlier.close()
        subchannel.drop()

    def look_up_failed(self, reason: str) -> None:
        self._update()

    def look_up_due(self) -> None:
        if self._resolver.candidates is not None or self.queue or self._wanted:
            self._resolver.refresh()
        self._update()

    def look_up_ended(self) -> None:
        self._check_gone()

    # What the subchannels tell.

    def needed(self, subchannel: Subchannel) -> bool:
        """In round_robin every address is to have its connections."""
        if self._closed or self._draining:
            return bool(self.queue) and not self._closed
        return (not self._all_in_one and self._begun) or bool(self.queue) or self._wanted > 0

    def changed(self, subchannel: Subchannel) -> None:
        self._update()

    def connect_failed(self, subchannel: Subchannel) -> None:
        self._resolver.refresh()

    def room_wanted(self) -> None:
        if self.queue:
            self._runtime.call_soon(self.dispatch)

    def made(self, connection: ClientConnection) -> None:
        """There is a transport, which is to be closed in the end."""
        self._all.add(connection)
        if self._closed:
            self._runtime.call_soon(connection.abandon)

    def lost(self, connection: ClientConnection) -> None:
        if connection in self._all:
            self._all.discard(connection)
            self._past_calls[0] += connection.engine.streams_opened
            self._past_calls[1] += connection.calls_failed
        self._resolver.refresh()
        self._check_gone()

    def dial_ended(self) -> None:
        self._check_gone()

    def pings_refused(self) -> None:
        """Ping half as often from now on (gRPC proposal A8)."""
        time_s = self.keepalive.time_s
        if time_s is not None:
            self.keepalive = replace(self.keepalive, time_s=min(2 * time_s, 1e9))

    # Closing.

    async def close(self, grace_s: float = 0.0) -> None:
        """Let open calls end within `grace_s`, cancel the rest, and close every connection; returns when that is done.
        To be called once."""
        if grace_s > 0 and self._calls_open():
            self._draining = True
            self.submit = partial(_submit_drained, ref(self))  # type: ignore[method-assign]
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
        self._update()
        self._stop_connecting()
        for call in [*self.queue, *self.held]:
            call.fail(StatusCode.CANCELLED, _CLOSED)
        for connection in list(self._all):
            if connection.transport is None:  # not yet, and then its task is cancelled
                continue
            for stream in list(connection.engine.streams.values()):
                if stream.call is not None:
                    stream.call.cancel()
            connection.break_off(ErrorCode.NO_ERROR, _CLOSED)
        self._check_gone()

    def _calls_open(self) -> bool:
        if self.queue or self.held:
            return True
        return any(connection.engine.streams for connection in self._all if connection.transport is not None)

    def _go_away(self) -> None:
        """The channel closes. Once no call needs another connection, each closes after the last one it has."""
        if self.queue or self.held:
            return
        self._stop_connecting()
        for subchannel in self._subchannels.values():
            subchannel.drop()
        for connection in list(self._all):
            connection.retire()
        self._check_gone()

    def _stop_connecting(self) -> None:
        self._resolver.close()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for outlier in self._outliers.values():
            outlier.close()
        for subchannel in self._subchannels.values():
            subchannel.stop_dialing()

    def _gone(self) -> bool:
        dialing = self._resolver.running or any(each.dialing for each in self._subchannels.values())
        return not (self._all or dialing or self.queue or self.held)

    def _check_gone(self) -> None:
        if not self._gone():
            return
        if self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)
        if self._closed:  # they know each other: without this they would wait for the collector
            self._subchannels.clear()
            self._outliers.clear()
            self._resolver.let_go()

    def _abort_all(self) -> None:
        for connection in list(self._all):
            if connection.transport is not None:
                connection.transport.abort()


def _submit_drained(pool: ref[Pool], call: Exchange[Any]) -> None:
    """In place of `Pool.submit` while the channel closes: what is sent once more belongs to the calls that may end."""
    here = pool()
    if here is not None and (call.queued or call.attempts):
        Pool.submit(here, call)
        here._runtime.call_soon(here.dispatch)  # perhaps it was the last that needed a connection
    else:
        call.fail(StatusCode.CANCELLED, _CLOSED)
