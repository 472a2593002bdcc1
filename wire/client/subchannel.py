"""One share of a channel's addresses: an address in round_robin, all of them in pick_first; and its connections.

It keeps as many connections as it is told while they are needed, makes each by a `Dial`, and pauses after a failed one
for longer and longer (connection-backoff.md). A connection that is lost after it worked is replaced without a pause,
and so, a few times, is one that a server took and ended before it could be used: a server that stops does that. Whoever
owns it, the pool, is told of every change. Imports `dialing`, `health` and what is below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wire.client.backoff import Backoff
from wire.client.connectivity import ConnectivityState
from wire.client.dialing import ClientConnection, Dial, HungUpError, NewConnection
from wire.client.health import HealthWatch
from wire.client.preparation import Preparation
from wire.config import ChannelConfig, KeepaliveConfig
from wire.errors import TransportError
from wire.live import SubchannelState, next_number
from wire.transport.contract import Candidate, Runtime, Task, Timer
from wire.transport.tls import ClientTls

SURPLUS_S = 30.0  # how often it is looked whether connections beyond the number to keep are idle


class Keeper(Protocol):
    """What a subchannel needs of its owner."""

    keepalive: KeepaliveConfig

    def needed(self, subchannel: Subchannel) -> bool:
        """Whether somebody waits for a connection, or would miss one."""

    def changed(self, subchannel: Subchannel) -> None:
        """Its state, or the connections that are ready, are others than before."""

    def connect_failed(self, subchannel: Subchannel) -> None:
        """An attempt has failed, after `changed`."""

    def dispatch(self) -> None:
        """There may be room for calls."""

    def room_wanted(self) -> None:
        """Call `dispatch` soon, if calls wait."""

    def made(self, connection: ClientConnection) -> None:
        """There is a transport, which is to be closed in the end."""

    def lost(self, connection: ClientConnection) -> None:
        """The transport is gone."""

    def dial_ended(self) -> None:
        """An attempt is over, however."""

    def pings_refused(self) -> None:
        """The server says that it is pinged too often."""


class Subchannel:
    """See the module's text. `ready`: connections that calls may go to. `failure`: why the last attempt failed, until
    the pause after it is over. The owner of its connections (`dialing.Owner`)."""

    def __init__(
        self,
        keeper: Keeper,
        runtime: Runtime,
        tls: ClientTls | None,
        config: ChannelConfig,
        preparation: Preparation,
        candidates: Sequence[Candidate],
        connections: int,
    ) -> None:
        self.number = next_number()
        self._keeper = keeper
        self._runtime = runtime
        self._tls = tls
        self._config = config
        self._preparation = preparation
        self._health_service = config.health_check_service
        self._candidates = list(candidates)
        self.connections = connections
        """How many to keep."""
        self._connected: dict[ClientConnection, HealthWatch | None] = {}  # that take calls, or would if healthy
        self._dials: dict[Dial, Task | None] = {}
        self._tries = 0  # candidates that are tried, also for dials that are over
        self._backoff = Backoff(config)
        self._pause: Timer | None = None
        self._surplus: Timer | None = None
        self._idle: set[ClientConnection] = set()  # of them, those that were so when last looked at
        self._dropped = False
        self.new_connection: NewConnection = ClientConnection
        self.ready: list[ClientConnection] = []
        self.failure: str | None = None

    @property
    def address(self) -> str:
        """Of the first candidate, for logs."""
        return str(self._candidates[0].address)

    @property
    def failures(self) -> int:
        """Attempts in a row that have failed."""
        return self._backoff.failures

    @property
    def dialing(self) -> bool:
        """Attempts go on, or what they began has not ended."""
        return bool(self._dials) or self._tries > 0

    @property
    def keepalive(self) -> KeepaliveConfig:
        """How often connections made from now on are pinged."""
        return self._keeper.keepalive

    @property
    def state(self) -> ConnectivityState:
        if self.ready:
            return ConnectivityState.READY
        if self.failure is not None:
            return ConnectivityState.TRANSIENT_FAILURE
        for watch in list(self._connected.values()):
            if watch is not None and watch.reason is not None:
                return ConnectivityState.TRANSIENT_FAILURE
        if self._dials or self._connected:
            return ConnectivityState.CONNECTING
        return ConnectivityState.IDLE

    def live_state(self) -> SubchannelState:
        numbers = tuple(sorted(connection.number for connection in list(self._connected)))
        return SubchannelState(self.number, self.address, self.state.name, numbers)

    @property
    def reason(self) -> str | None:
        """Why it is in TRANSIENT_FAILURE."""
        if self.failure is not None:
            return self.failure
        return next((watch.reason for watch in self._connected.values() if watch is not None and watch.reason), None)

    # What the owner asks for.

    def connect(self) -> None:
        """Begin as many attempts as connections are missing, unless a failed one asks for a pause."""
        self._let_drained_go()
        self._dial(self.connections - len(self._connected) - len(self._dials))

    def grow(self) -> bool:
        """Begin an attempt for one more than there are, because these are full. False when there may be no more, or one
        is under way already."""
        most = max(self._config.max_connections, self.connections)
        if self._dials or self._pause is not None or not self._connected or len(self._connected) >= most:
            return False
        self._dial(1)
        if self._surplus is None:
            self._surplus = self._runtime.call_later(SURPLUS_S, self._check_surplus)
        return True

    def update(self, candidates: Sequence[Candidate], connections: int) -> None:
        """It has other addresses from now on. Connections to those that are gone end after their last call."""
        self.connections = connections
        if self._candidates == list(candidates):
            return
        self._candidates = list(candidates)
        for connection in list(self._connected):
            if connection.candidate not in self._candidates:
                self._let_go(connection)
        self._end_pause()  # it was about other addresses
        self._keeper.changed(self)
        if self._keeper.needed(self):
            self.connect()

    @property
    def watches(self) -> int:
        """Streams that watch the servers' health, and are no calls."""
        return sum(watch is not None for watch in self._connected.values())

    def rest(self) -> None:
        """Nobody makes calls: have no connections until `connect`."""
        self._end_pause()
        for connection in list(self._connected):
            self._let_go(connection)

    def drop(self) -> None:
        """Its address is no longer one of the channel's: connections end after their last call."""
        self._dropped = True
        self.stop_dialing()
        for connection in list(self._connected):
            self._let_go(connection)

    def stop_dialing(self) -> None:
        """No more attempts; those that go on are given up."""
        self._dropped = True
        self._end_pause()
        if self._surplus is not None:
            self._surplus.cancel()
            self._surplus = None
        for task in list(self._dials.values()):
            if task is not None:
                self._runtime.call_soon(task.cancel)  # not now: a task must begin before it can clean up

    # Connecting.

    def _dial(self, missing: int) -> None:
        if self._dropped or self._pause is not None:
            return
        for _ in range(missing):
            dial = Dial(self, self._runtime, self._tls, self._config)
            self._dials[dial] = None
            task = self._runtime.spawn(self._connect(dial))
            if dial in self._dials:  # an eager task may have ended already
                self._dials[dial] = task
        if missing > 0:
            self._keeper.changed(self)

    async def _connect(self, dial: Dial) -> None:
        retries = self._config.connect_retries
        try:
            for attempt in range(1 + retries):
                try:
                    connection = await dial.run(self._candidates)
                    break
                except HungUpError:
                    if attempt == retries:
                        raise
        except TransportError as error:
            del self._dials[dial]
            self._failed(str(error))
            return
        except BaseException:
            del self._dials[dial]
            raise
        finally:
            self._keeper.dial_ended()
        del self._dials[dial]
        self._backoff.reset()
        self.failure = None
        if self._dropped:  # meanwhile
            connection.retire()
            return
        if self._health_service is None:
            self._connected[connection] = None
            self._take(connection)
        else:
            watch = HealthWatch(
                self._runtime,
                self._config,
                self._preparation,
                connection,
                self._health_service,
                self._health_changed,
            )
            self._connected[connection] = watch
            watch.start()
            self._keeper.changed(self)

    def _take(self, connection: ClientConnection) -> None:
        self.ready.append(connection)
        self._keeper.changed(self)
        self._keeper.dispatch()

    def _health_changed(self, connection: ClientConnection, healthy: bool) -> None:
        if healthy and connection not in self.ready:
            self._take(connection)
        elif not healthy and connection in self.ready:
            self.ready.remove(connection)
            self._keeper.changed(self)
        else:
            self._keeper.changed(self)

    def _failed(self, reason: str) -> None:
        pause_s = self._backoff.next_s()
        self.failure = reason
        if self._pause is None and not self._dropped:
            self._pause = self._runtime.call_later(pause_s, self._retry)
        self._keeper.changed(self)
        self._keeper.connect_failed(self)

    def _retry(self) -> None:
        self._end_pause()
        if self._keeper.needed(self):
            self.connect()
        self._keeper.changed(self)

    def _end_pause(self) -> None:
        self.failure = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    # Letting connections go.

    def _let_drained_go(self) -> None:
        for connection in [each for each in self._connected if each.engine.drained]:
            self._let_go(connection)

    def _let_go(self, connection: ClientConnection) -> None:
        """It takes no more calls, and closes after its last one."""
        self._forget(connection)
        connection.retire()

    def _forget(self, connection: ClientConnection) -> bool:
        """It takes no more calls. False when that was known."""
        if connection not in self._connected:
            return False
        watch = self._connected.pop(connection)
        if watch is not None:
            watch.stop()
        if connection in self.ready:
            self.ready.remove(connection)
        self._keeper.changed(self)
        return True

    def _check_surplus(self) -> None:
        """Close what is idle for the second time, of the connections beyond the number to keep."""
        self._surplus = None
        surplus = len(self._connected) - self.connections
        unused = {each for each in self._connected if len(each.engine.streams) <= (self._connected[each] is not None)}
        for connection in [each for each in self._connected if each in unused and each in self._idle][
            : max(surplus, 0)
        ]:
            self._let_go(connection)
            surplus -= 1
        self._idle = unused
        if surplus > 0:
            self._surplus = self._runtime.call_later(SURPLUS_S, self._check_surplus)

    # What connections tell (`dialing.Owner`).

    def in_use(self, candidate: Candidate) -> int:
        """Connections to that candidate, those on their way included."""
        there = sum(connection.candidate == candidate for connection in self._connected)
        return there + sum(dial.first == candidate for dial in self._dials)

    def began(self) -> None:
        self._tries += 1

    def ended(self) -> None:
        self._tries -= 1
        self._keeper.dial_ended()

    def made(self, connection: ClientConnection) -> None:
        self._keeper.made(connection)

    def dispatch(self) -> None:
        self._keeper.dispatch()

    def retired(self, connection: ClientConnection) -> None:
        """The connection takes no more calls. The last one is replaced when that is needed, others in any case."""
        if self._forget(connection) and not self._dropped and (self._connected or self._keeper.needed(self)):
            self._runtime.call_soon(self.connect)
        self._keeper.room_wanted()

    def pings_refused(self) -> None:
        self._keeper.pings_refused()

    def lost(self, connection: ClientConnection) -> None:
        self._idle.discard(connection)
        self._keeper.lost(connection)
