"""What servers and channels of this process are doing now, as plain data: for channelz, dashboards and debuggers.

Every `Server` and `Channel` enters itself here when it is made and is gone when it is closed, or nobody holds it any
more. A state is
put together when it is asked for, from what is there anyway, so that nothing is counted on a call's way. Any thread may
ask: what it is told of another thread's server or channel is what was so at some moment of its asking, each figure by
itself. Imports nothing of wire but `transport`'s contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Protocol
from weakref import WeakSet

from wire.transport.contract import Peer, SocketCounters

_numbers = count(1)


def next_number() -> int:
    """One that nothing else in this process has."""
    return next(_numbers)


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """One HTTP/2 connection. Windows are the connection's own (RFC 9113 §6.9), in bytes."""

    number: int
    peer: Peer
    streams_opened: int
    """By the client, ever."""
    streams_failed: int
    """Of these, those whose calls ended with a status other than OK."""
    streams_open: int
    send_window: int
    """What we may send."""
    receive_window: int
    """What the peer may send."""
    held_bytes: int
    """DATA that waits for a window, or for the socket."""
    idle_s: float
    """Seconds since the peer last sent something."""
    local: str | None = None
    """This end's address, where the peer's is `peer.address`; None once it is lost."""
    counters: SocketCounters | None = None
    """The system's, of bytes and the round trip, where it keeps them."""


@dataclass(frozen=True, slots=True)
class ListenerState:
    """One address that a server accepts connections on."""

    number: int
    address: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server. Calls are those of its connections that are gone, too."""

    number: int
    services: tuple[str, ...]
    listeners: tuple[ListenerState, ...]
    calls_started: int
    calls_failed: int
    calls_open: int
    connections: tuple[ConnectionState, ...]


@dataclass(frozen=True, slots=True)
class SubchannelState:
    """One share of a channel's addresses. `connections`: their numbers."""

    number: int
    address: str
    connectivity: str
    connections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelState:
    """One channel. Calls are streams: one that is sent again counts again, and one that never got a connection not."""

    number: int
    target: str
    connectivity: str
    """"IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE" or "SHUTDOWN"."""
    calls_started: int
    calls_failed: int
    calls_open: int
    calls_waiting: int
    """For a connection."""
    subchannels: tuple[SubchannelState, ...]
    connections: tuple[ConnectionState, ...]


class LiveServer(Protocol):
    def live_state(self) -> ServerState: ...


class LiveChannel(Protocol):
    def live_state(self) -> ChannelState: ...


_lock = Lock()  # a set that another thread adds to cannot be gone over
_servers: WeakSet[LiveServer] = WeakSet()
_channels: WeakSet[LiveChannel] = WeakSet()
_hidden: WeakSet[LiveServer | LiveChannel] = WeakSet()


def enter_server(server: LiveServer) -> None:
    """A server was made."""
    with _lock:
        _servers.add(server)


def enter_channel(channel: LiveChannel) -> None:
    """A channel was made."""
    with _lock:
        _channels.add(channel)


def leave(entry: LiveServer | LiveChannel) -> None:
    """A server or channel is closed."""
    with _lock:
        _servers.discard(entry)  # type: ignore[arg-type]
        _channels.discard(entry)  # type: ignore[arg-type]


def hide(entry: LiveServer | LiveChannel) -> None:
    """Never tell of this server or channel, as of one that only serves who looks at the others."""
    with _lock:
        _hidden.add(entry)


def servers() -> list[ServerState]:
    """Every server of this process, in the order in which they were made."""
    with _lock:
        shown = [server for server in _servers if server not in _hidden]
    return sorted((server.live_state() for server in shown), key=lambda state: state.number)


def channels() -> list[ChannelState]:
    """Every channel of this process, in the order in which they were made."""
    with _lock:
        shown = [channel for channel in _channels if channel not in _hidden]
    return sorted((channel.live_state() for channel in shown), key=lambda state: state.number)
