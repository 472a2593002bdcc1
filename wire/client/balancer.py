"""Which connection a call goes to, and what many states make together. Pure: state in, choice out.

Imports nothing but `connectivity`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeVar

from wire.client.connectivity import ConnectivityState


class Openable(Protocol):
    """What is chosen: a connection. Streams can be opened on it while its engine says so."""

    @property
    def engine(self) -> Any: ...


C = TypeVar("C", bound=Openable)

# The first of these that a part is in is the state of the whole (connectivity-semantics-and-api.md).
_PRECEDENCE = (
    ConnectivityState.READY,
    ConnectivityState.CONNECTING,
    ConnectivityState.IDLE,
    ConnectivityState.TRANSIENT_FAILURE,
)


def choose(groups: Sequence[Sequence[C]], turn: int) -> C | None:
    """The connection for the call number `turn`: groups in turn, and within a group its connections in turn; those on
    which no stream can be opened are passed over. None when there is no other.

    A group is what has a share of the calls: an address in round_robin, whatever number of connections it has.
    """
    count = len(groups)
    for offset in range(count):
        group = groups[(turn + offset) % count]
        first = turn // count
        for further in range(len(group)):
            connection = group[(first + further) % len(group)]
            if connection.engine.can_open:
                return connection
    return None


def aggregate(states: Collection[ConnectivityState]) -> ConnectivityState:
    """The state of a channel whose subchannels are in these states; IDLE when there are none."""
    return next((state for state in _PRECEDENCE if state in states), ConnectivityState.IDLE)


def share(connections: int, addresses: int) -> int:
    """How many of a channel's connections each of its addresses gets: at least one."""
    return max(1, -(-connections // addresses))


def may_eject(ejected: int, addresses: int, max_share: float) -> bool:
    """Whether one more address may be left out, `ejected` being left out already."""
    return ejected + 1 <= addresses * max_share
