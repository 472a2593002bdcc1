"""TCP segments → the bytes of each direction of each connection, in order (RFC 9293 §3.4).

Segments come in any order, twice, overlapping, or not at all: what is missing for good is told as a gap. Imports
`records`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wire.inspect.records import To

_MAX_HELD_BYTES: Final = 1 << 21  # behind a hole; more than that, and what fills it was not captured
_MAX_HELD_SEGMENTS: Final = 1000
_SEQUENCE: Final = 1 << 32

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

Endpoint = tuple[str, int]
"""An IP address as text, and a port."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment as it was captured. `at_s`: when, in seconds since 1970."""

    source: Endpoint
    target: Endpoint
    sequence: int
    flags: int
    data: bytes
    at_s: float


@dataclass(slots=True)
class _Half:
    """One direction: `next` is the sequence number that is due, None until it is known."""

    next: int | None = None
    held: dict[int, bytes] = field(default_factory=dict)
    finished: int | None = None
    """The sequence number of its FIN."""
    done: bool = False


class Stream:
    """One TCP connection. `whole`: its SYN was seen. Bytes go to `data`, what is missing to `gap`."""

    __slots__ = ("_begun", "_data", "_gap", "_halves", "client", "ended", "server", "whole")

    def __init__(
        self,
        client: Endpoint,
        server: Endpoint,
        *,
        whole: bool,
        data: Callable[[Stream, To, bytes, float], None],
        gap: Callable[[Stream, To, int, float], None],
    ) -> None:
        self.client = client
        self.server = server
        self.whole = whole
        self.ended = False
        """Both sides have closed, or one has reset it."""
        self._begun: int | None = None  # the sequence number of the client's SYN
        self._data = data
        self._gap = gap
        self._halves = {to: _Half() for to in To}

    def is_of_another(self, segment: Segment) -> bool:
        """Whether a segment begins a later connection between the same ports."""
        return segment.flags & (SYN | ACK) == SYN and (self.ended or segment.sequence != self._begun)

    def add(self, segment: Segment) -> None:
        to = To.SERVER if segment.source == self.client else To.CLIENT
        half = self._halves[to]
        sequence = segment.sequence
        if segment.flags & SYN:
            if to is To.SERVER:
                self._begun = sequence
            sequence = (sequence + 1) % _SEQUENCE
        if half.next is None:
            half.next = sequence
        if segment.flags & FIN:
            half.finished = (sequence + len(segment.data)) % _SEQUENCE
        if segment.data:
            held = half.held.get(sequence, b"")
            if len(segment.data) > len(held):
                half.held[sequence] = segment.data
            self._deliver(half, to, segment.at_s)
            if len(half.held) > _MAX_HELD_SEGMENTS or sum(map(len, half.held.values())) > _MAX_HELD_BYTES:
                self._skip(half, to, segment.at_s)
        half.done = half.finished is not None and half.next == half.finished
        if segment.flags & RST or all(each.done for each in self._halves.values()):
            self.finish(segment.at_s)

    def finish(self, at_s: float) -> None:
        """Nothing more comes: what is held behind a hole is told behind the gap."""
        for to, half in self._halves.items():
            while half.held:
                self._skip(half, to, at_s)
        self.ended = True

    def _deliver(self, half: _Half, to: To, at_s: float) -> None:
        """Hand on what is due."""
        while half.held:
            due = half.next or 0
            sequence = min(half.held, key=lambda each: _after(each, due))
            ahead = _after(sequence, due)
            if ahead > 0:
                return
            data = half.held.pop(sequence)[-ahead:]  # less what has been handed on, from an earlier segment
            if data:
                half.next = (due + len(data)) % _SEQUENCE
                self._data(self, to, data, at_s)

    def _skip(self, half: _Half, to: To, at_s: float) -> None:
        due = half.next or 0
        sequence = min(half.held, key=lambda each: _after(each, due))
        self._gap(self, to, _after(sequence, due), at_s)
        half.next = sequence
        self._deliver(half, to, at_s)


def _after(sequence: int, other: int) -> int:
    """How far a sequence number is ahead of another one; negative behind it."""
    ahead = (sequence - other) % _SEQUENCE
    return ahead - _SEQUENCE if ahead >= _SEQUENCE // 2 else ahead
