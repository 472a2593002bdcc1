"""Making one usable connection to a target: its candidates race until one of them has sent SETTINGS.

In come a target's candidates, out comes a `ClientConnection` that calls may start on, or a `TransportError` that
names what failed. Whoever owns the connections hears of what becomes of them. Imports `connection`'s layer and below.

A socket that is connected proves little: it may wait in the queue of a server that has stopped, or end at a proxy with
nothing behind it. So an address is good once its SETTINGS came (RFC 9113 §3.4), and until then the next one is tried
in its turn (`transport.racing`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wire.client.exchange import Answer
from wire.config import ChannelConfig, KeepaliveConfig
from wire.connection import Connection
from wire.errors import ConnectError, TransportError
from wire.http2.codes import ErrorCode, FrameType, error_name
from wire.http2.engine import HeaderList, Stream
from wire.rpc.headers import Outcome, ResponseHead
from wire.status import StatusCode
from wire.transport.address import printable
from wire.transport.contract import Candidate, Future, Runtime, Task, Transport
from wire.transport.racing import Race, preferred
from wire.transport.tls import ClientTls

_MAX_DEBUG_BYTES = 200  # of what a GOAWAY says, in the errors of the calls that it ends
_MAX_REASONS = 3  # of the addresses that failed, in the error for all of them
_FRAME_HEADER_BYTES = 9  # RFC 9113 §4.1
# Calls made in one turn that leave at once: the server works on them while the turn makes more. With 50 calls that wait
# for each other, and a core for each side, that is twice as many a second; on one core it is 1 to 5 % fewer.
_CALLS_TOGETHER = 24


class Owner(Protocol):
    """Who keeps the connections, and is told what becomes of them."""

    new_connection: NewConnection

    @property
    def keepalive(self) -> KeepaliveConfig:
        """How often connections made from now on are pinged."""

    def in_use(self, candidate: Candidate) -> int:
        """Connections to that candidate, those on their way included."""

    def dispatch(self) -> None:
        """A connection may have room for calls."""

    def began(self) -> None:
        """A candidate is tried: what comes of it is told before `ended`."""

    def ended(self) -> None:
        """It is no longer tried. A dial that is over, or was cancelled, leaves what it began to end by itself."""

    def made(self, connection: ClientConnection) -> None:
        """There is a transport, which is to be closed in the end."""

    def retired(self, connection: ClientConnection) -> None:
        """The connection takes no more calls."""

    def pings_refused(self) -> None:
        """The server says that it is pinged too often."""

    def lost(self, connection: ClientConnection) -> None:
        """The transport is gone."""


class HungUpError(ConnectError):
    """A server took the connection and ended it before it could be used: one that stops does, so that it is worth
    trying again at once."""


class ClientConnection(Connection):
    """One connection to a server. See `Connection`; what is added here is telling the owner."""

    __slots__ = ("_alone", "_owner", "_settings_waiter", "_unsent", "candidate")

    def __init__(self, owner: Owner, runtime: Runtime, config: ChannelConfig, candidate: Candidate) -> None:
        super().__init__(
            runtime,
            client=True,
            engine=config.engine,
            http2=config.http2,
            calls=config.calls,
            keepalive=owner.keepalive,
        )
        self._owner = owner
        self._alone = False  # the last turn in which a call began was for that one alone
        self.candidate = candidate
        self._settings_waiter: Future[None] | None = runtime.future()
        self._unsent: set[int] = set()  # streams whose requests were not written when the transport was lost

    async def ready(self, timeout_s: float) -> None:
        """Wait for the server's SETTINGS: until then it is only a socket. Raises `ConnectError`."""
        if self._settings_waiter is not None:
            timer = self.runtime.call_later(timeout_s, self._give_up)
            try:
                await self._settings_waiter
            finally:
                timer.cancel()
        self.check()

    def check(self) -> None:
        """Raises `ConnectError` when the connection cannot be used, `HungUpError` when the server gave no reason."""
        prefix = f"cannot connect to {self.candidate.address}"
        if self.error is not None:
            raise ConnectError(f"{prefix}: {self.error}")
        if self.lost or self.engine.drained:
            raise HungUpError(f"{prefix}: the peer closed the connection before it could be used", errno.ECONNRESET)

    def _give_up(self) -> None:
        self.error = "the peer did not speak HTTP/2 in time"
        self.abandon()

    def retire(self) -> None:
        """Take no more calls, and close after the last one."""
        if self.transport is not None and not self.closing:
            self.engine.goaway()
            self.closing = True
            self.wake()

    def abandon(self) -> None:
        """Close now; nothing runs on it."""
        if self.transport is not None:
            self.transport.abort()

    def call_started(self, call: Any) -> None:
        """A call has begun on a stream. As `wake`; of many in one turn every so many leave at once, and so does one
        without others, where the last one had none either: a turn of the loop less."""
        self._turn_calls = calls = self._turn_calls + 1
        if calls == _CALLS_TOGETHER:
            self._write()
        if not self._flush_due:
            if self._alone and len(self.engine.streams) == 1:
                self.flush()
            else:
                self.wake()

    def _planned_flush(self) -> None:
        self._alone = self._turn_calls == 1 and len(self.engine.streams) == 1
        super()._planned_flush()

    # What the transport calls.

    def connection_made(self, transport: Transport) -> None:
        self._owner.made(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        # Before SETTINGS the words of a transport that broke are the reason, such as a TLS alert's; but that it was
        # reset says no more than that the peer closed it.
        if self._settings_waiter is not None and isinstance(error, TransportError) and error.errno is None:
            self.error = self.error or error.message
        self._unsent = _streams_opened_in(self.engine.take())
        super().connection_lost(error)

    def on_lost(self, reason: str, calls: list[Any]) -> None:
        self._settled()
        self._owner.retired(self)
        for call in calls:
            if not (call.stream.id in self._unsent and call.start_again()):
                call.fail(StatusCode.UNAVAILABLE, reason)
        self._owner.lost(self)

    # What the engine calls.

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        stream.call.on_headers(headers, end_stream)

    def whole_answer(self, headers: HeaderList, trailers: HeaderList) -> Answer | None:
        head, outcome = headers.parsed, trailers.parsed
        if not (isinstance(head, ResponseHead) and head.plain and isinstance(outcome, Outcome)):
            return None
        return (head.fields, outcome.fields, outcome.message) if outcome.code is StatusCode.OK else None

    def on_settings(self) -> None:
        self._settled()
        self._owner.dispatch()

    def _settled(self) -> None:
        waiter, self._settings_waiter = self._settings_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        super().on_connection_error(code, reason)
        self._settled()

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        if code != ErrorCode.NO_ERROR:
            text = printable(debug[:_MAX_DEBUG_BYTES].decode("ascii", "backslashreplace"))
            self.error = f"the server closed the connection with {error_name(code)}" + (f": {text}" if text else "")
            if code == ErrorCode.ENHANCE_YOUR_CALM and debug == b"too_many_pings":
                self._owner.pings_refused()
        self.closing = True
        self._owner.retired(self)


NewConnection = Callable[[Owner, Runtime, ChannelConfig, Candidate], ClientConnection]
"""`ClientConnection`, or a subclass of it."""


class Dial:
    """One attempt to get one connection."""

    __slots__ = (
        "_changed",
        "_config",
        "_errors",
        "_hung_up",
        "_owner",
        "_runtime",
        "_tasks",
        "_tls",
        "first",
        "winner",
    )

    def __init__(self, owner: Owner, runtime: Runtime, tls: ClientTls | None, config: ChannelConfig) -> None:
        self._owner = owner
        self._runtime = runtime
        self._tls = tls
        self._config = config
        self._changed: Future[None] | None = None
        self._errors: list[tuple[str, int | None]] = []
        self._hung_up = False
        self._tasks: dict[Candidate, Task | None] = {}
        self.first: Candidate | None = None
        """What is tried first, once it is known."""
        self.winner: ClientConnection | None = None

    async def run(self, candidates: Sequence[Candidate]) -> ClientConnection:
        """The first connection that can be used. Raises `TransportError` when there is none, `HungUpError` when it is
        worth trying again at once. Whatever else it began is closed."""
        runtime = self._runtime
        self.winner = None
        self._errors.clear()
        self._hung_up = False
        candidates = preferred(candidates, self._owner.in_use)
        self.first = candidates[0]
        race = Race(candidates, self._config.connect_stagger_s)
        try:
            while self.winner is None:
                while (candidate := race.begin(runtime.now())) is not None:
                    self._tasks[candidate] = None
                    self._owner.began()
                    task = runtime.spawn(self._try(race, candidate))
                    if candidate in self._tasks:  # an eager task may have ended already
                        self._tasks[candidate] = task
                if self.winner is None:
                    if race.lost:
                        raise self._failure()
                    await self._change(race.pause_s(runtime.now()))
        except BaseException:
            if self.winner is not None:  # cancelled meanwhile
                self.winner.abandon()
            raise
        finally:
            for other in self._tasks.values():
                if other is not None:
                    runtime.call_soon(other.cancel)  # not now: a task must begin before it can clean up
        self.winner.check()  # it may have ended while its task was on its way here
        return self.winner

    async def _try(self, race: Race, candidate: Candidate) -> None:
        runtime = self._runtime
        config = self._config.transport
        end = runtime.now() + config.connect_timeout_s
        connection = self._owner.new_connection(self._owner, runtime, self._config, candidate)
        try:
            await runtime.connect(candidate, connection, tls=self._tls, config=config)
            await connection.ready(max(end - runtime.now(), 0.001))
        except TransportError as error:
            connection.abandon()
            self._errors.append((error.message, error.errno))  # not the error itself, whose traceback holds this frame
            self._hung_up |= _hung_up(error)
            race.failed(candidate)
        except BaseException:
            connection.abandon()
            raise
        else:
            if self.winner is None:
                self.winner = connection
            else:
                connection.abandon()
        finally:
            del self._tasks[candidate]
            self._notify()
            self._owner.ended()

    async def _change(self, timeout_s: float | None) -> None:
        """Wait for an attempt to end, or for so long."""
        self._changed = changed = self._runtime.future()
        timer = None if timeout_s is None else self._runtime.call_later(timeout_s, self._notify)
        try:
            await changed
        finally:
            if timer is not None:
                timer.cancel()

    def _notify(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def _failure(self) -> TransportError:
        """One error for all that failed."""
        reasons = list(dict.fromkeys(reason for reason, _ in self._errors))
        text = "; ".join(reasons[:_MAX_REASONS])
        if len(reasons) > _MAX_REASONS:
            text += f"; and {len(reasons) - _MAX_REASONS} other addresses failed"
        return HungUpError(text, errno.ECONNRESET) if self._hung_up else ConnectError(text, self._errors[0][1])


def _hung_up(error: TransportError) -> bool:
    """Whether a server took the connection and ended it; `Runtime.connect` says so of a TLS handshake by ECONNRESET."""
    in_handshake = not isinstance(error, ConnectError) and error.errno == errno.ECONNRESET
    return in_handshake or isinstance(error, HungUpError)


def _streams_opened_in(data: bytes) -> set[int]:
    """The streams whose HEADERS are among frames that were never written."""
    opened = set()
    at = 0
    while at + _FRAME_HEADER_BYTES <= len(data):
        if data[at + 3] == FrameType.HEADERS:
            opened.add(int.from_bytes(data[at + 5 : at + 9], "big"))
        at += _FRAME_HEADER_BYTES + int.from_bytes(data[at : at + 3], "big")
    return opened
