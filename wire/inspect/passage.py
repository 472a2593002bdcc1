"""One connection through a tap: two transports, and what comes from one written to the other.

Each `Side` is the protocol of one transport. Bytes wait in it only until the target is connected; a `SlowSide` holds
them for a delay or a throttle, too, bounded. Imports `errors`, `transport` and its siblings.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from wire.config import TransportConfig
from wire.errors import TransportError
from wire.inspect.reader import ConnectionReader
from wire.inspect.records import To
from wire.inspect.trace import Trace
from wire.transport.address import Address
from wire.transport.contract import Runtime, Task, Timer, Transport
from wire.transport.tls import ClientTls

_log = logging.getLogger("wire.inspect")

_HELD_BYTES: Final = 1 << 18  # on the way to one side, by a delay or a throttle
_PIECE_S: Final = 0.02  # a throttle lets through what passes in so long, at a time
_CUT_S: Final = 1.0  # how long the last bytes before a cut may take to leave
_CUT_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What a tap does to each connection beyond passing bytes on."""

    delay_s: float = 0.0
    """How long each piece is held, in each direction."""

    bytes_per_s: float | None = None
    """How fast bytes pass, in each direction."""

    cut_after_bytes: int | None = None
    """After so many bytes, those of both directions counted, the connection is broken off on both sides."""

    @property
    def slows(self) -> bool:
        return self.delay_s > 0 or self.bytes_per_s is not None


class Owner(Protocol):
    """What a passage knows of its tap."""

    runtime: Runtime
    target: Address
    target_tls: ClientTls | None
    trace: Trace | None
    disturbance: Disturbance
    config: TransportConfig
    passages: set[Passage]
    on_unreachable: Callable[[TransportError], None]


class Passage:
    """A client's connection and the one to the target that is made for it."""

    __slots__ = ("_connecting", "_left_bytes", "_reader", "_tap", "client", "cut", "now", "runtime", "server")

    def __init__(self, tap: Owner) -> None:
        self._tap = tap
        self.runtime = tap.runtime
        self.now: Callable[[], float] = tap.runtime.now if tap.trace is None else tap.trace.now
        self._reader: ConnectionReader | None = None
        self._connecting: Task | None = None
        self._left_bytes = tap.disturbance.cut_after_bytes
        self.cut = False
        self.client: Side
        self.server: Side
        if tap.disturbance.slows:
            self.client = SlowSide(self, To.CLIENT, tap.disturbance)
            self.server = SlowSide(self, To.SERVER, tap.disturbance)
        else:
            self.client, self.server = Side(self, To.CLIENT), Side(self, To.SERVER)
        self.client.other, self.server.other = self.server, self.client

    def arrived(self) -> None:
        """The client's transport was made."""
        self._tap.passages.add(self)
        self._connecting = self.runtime.spawn(self._connect())

    async def _connect(self) -> None:
        try:
            await self._connect_to_target()
        except TransportError as error:
            self._tap.on_unreachable(error)
            self.abort()
        else:
            if self.client.transport is None or self.server.transport is None:  # one went meanwhile
                self.abort()
            else:
                self._begin(self.client.transport, self.server.transport)
        finally:
            self._connecting = None

    async def _connect_to_target(self) -> None:
        """Try each of the target's addresses in turn. Raises `TransportError`, that of the last."""
        tap = self._tap
        candidates = await self.runtime.resolve(tap.target, tap.config.connect_timeout_s)
        for candidate in candidates:
            try:
                await self.runtime.connect(candidate, self.server, tls=tap.target_tls, config=tap.config)
                return
            except TransportError:
                if candidate is candidates[-1]:
                    raise

    def _begin(self, client: Transport, server: Transport) -> None:
        trace = self._tap.trace
        if trace is not None:
            self._reader = trace.connection()
            versions = [each.peer.tls_version for each in (client, server) if each.peer.tls_version]
            self._reader.made(
                self.now(),
                client=client.peer.address,
                server=str(self._tap.target),
                tls=" and ".join(dict.fromkeys(versions)),
            )
        self.client.begin()
        self.server.begin()

    def passing(self, to: To, data: bytes) -> bytes:
        """Bytes are about to be written to that side. Returns as many of them as may be."""
        if self._left_bytes is not None:
            data = data[: self._left_bytes]
            self._left_bytes -= len(data)
            if not self._left_bytes and not self.cut:
                self.cut = True
                self.runtime.call_soon(self._cut_off, self.runtime.now() + _CUT_S)
        if self._reader is not None and data:
            self._reader.feed(to, data, self.now())
        return data

    def _cut_off(self, latest: float) -> None:
        """Break off once the bytes before the cut have left."""
        transports = [side.transport for side in (self.client, self.server) if side.transport is not None]
        if any(transport.unsent_bytes() for transport in transports) and self.runtime.now() < latest:
            self.runtime.call_later(_CUT_POLL_S, self._cut_off, latest)
        else:
            self.abort()

    def lost(self, side: Side, error: Exception | None) -> None:
        """One side's transport is gone."""
        if self._connecting is not None:
            self._connecting.cancel()
        if error is not None and not self.cut:
            _log.info("%s", error)
        other = side.other
        if other.transport is None:
            self._tap.passages.discard(self)
            if self._reader is not None:
                self._reader.lost(self.now(), "cut by the tap" if self.cut else "" if error is None else str(error))
            del side.other, other.other  # which refer to each other
        elif error is not None:
            other.transport.abort()
        else:
            other.end()

    def abort(self) -> None:
        """Break both sides off."""
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.abort()


class Side:
    """One end of a passage: the protocol of its transport."""

    __slots__ = ("_at_eof", "_begun", "_congested", "_passage", "_pending", "_to", "other", "transport")

    def __init__(self, passage: Passage, to: To) -> None:
        self._passage = passage
        self._to = to
        self.other: Side
        self.transport: Transport | None = None
        """None before it is made, and once it is lost."""
        self._begun = False
        self._pending: list[bytes] = []  # what came before the other side was there
        self._at_eof = False
        self._congested = False

    # What its transport calls.

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        if self._to is To.CLIENT:
            self._passage.arrived()

    def data_received(self, data: bytes) -> None:
        if self._begun:
            self.other.send(data)
            return
        self._pending.append(data)
        if self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> None:
        self._at_eof = True
        if self._begun:
            self.other.end()
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._passage.lost(self, error)

    def pause_writing(self) -> None:
        self._congested = True
        self.other.update_reading()

    def resume_writing(self) -> None:
        self._congested = False
        self.other.update_reading()

    # What the passage and the other side call.

    def begin(self) -> None:
        """Both transports are there: pass on what came meanwhile."""
        self._begun = True
        pending, self._pending = self._pending, []
        for data in pending:
            self.other.send(data)
        self.update_reading()
        if self._at_eof:
            self.eof_received()

    def send(self, data: bytes) -> None:
        """Write to this side."""
        self._write(data)

    def end(self) -> None:
        """Close this side once all is written to it."""
        if self.transport is not None:
            self.transport.close()

    def _write(self, data: bytes) -> None:
        data = self._passage.passing(self._to, data)
        if data and self.transport is not None:
            self.transport.write(data)

    def is_full(self) -> bool:
        """More is on its way to this side than shall be held."""
        return self._congested

    def update_reading(self) -> None:
        """Read from this side while the other one takes what comes."""
        if self.transport is not None:
            if self.other.is_full():
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()


class SlowSide(Side):
    """A side that gets its bytes later, or slower, than they come."""

    __slots__ = ("_bytes_per_s", "_delay_s", "_ended", "_free_at", "_held_bytes", "_queue", "_timer")

    def __init__(self, passage: Passage, to: To, disturbance: Disturbance) -> None:
        super().__init__(passage, to)
        self._delay_s = disturbance.delay_s
        self._bytes_per_s = disturbance.bytes_per_s
        self._queue: deque[tuple[float, bytes]] = deque()  # with the time when each is due
        self._held_bytes = 0
        self._free_at = 0.0  # when the throttle lets more through
        self._timer: Timer | None = None
        self._ended = False

    def send(self, data: bytes) -> None:
        self._queue.append((self._passage.runtime.now() + self._delay_s, data))
        self._held_bytes += len(data)
        if self.is_full():
            self.other.update_reading()
        self._arm()

    def end(self) -> None:
        self._ended = True
        if not self._queue:
            super().end()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        super().connection_lost(error)

    def is_full(self) -> bool:
        return self._congested or self._held_bytes > _HELD_BYTES

    def _arm(self) -> None:
        if self._timer is None and self._queue:
            at = max(self._queue[0][0], self._free_at)
            self._timer = self._passage.runtime.call_later(max(at - self._passage.runtime.now(), 0), self._pass)

    def _pass(self) -> None:
        self._timer = None
        now = self._passage.runtime.now()
        while self._queue and self.transport is not None and max(self._queue[0][0], self._free_at) <= now:
            due, data = self._queue.popleft()
            if self._bytes_per_s is not None:
                size = max(int(self._bytes_per_s * _PIECE_S), 1)
                if len(data) > size:
                    self._queue.appendleft((due, data[size:]))
                    data = data[:size]
                self._free_at = max(self._free_at, now - _PIECE_S) + len(data) / self._bytes_per_s
            self._held_bytes -= len(data)
            self._write(data)
        if self.transport is None:
            return
        self.other.update_reading()
        self._arm()
        if self._ended and not self._queue:
            super().end()
