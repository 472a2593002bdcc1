"""Happy Eyeballs (RFC 8305; gRPC proposal A61): in which order candidates are tried, and when the next one begins.

Pure: in come candidates, times and outcomes; out comes what to begin now, or how long to wait. Whoever asks does the
connecting. Imports nothing but `contract`'s `Candidate`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from math import inf

from wire.transport.contract import Candidate


def preferred(candidates: Iterable[Candidate], in_use: Callable[[Candidate], int]) -> list[Candidate]:
    """The order to try them in: families in turn, beginning with the first one's (RFC 8305 §4), and those first that
    fewest connections use, so that several connections spread over the addresses."""
    families: dict[int, list[Candidate]] = {}
    for candidate in dict.fromkeys(candidates):
        families.setdefault(candidate.family, []).append(candidate)
    interleaved = chain.from_iterable(zip_longest(*families.values()))
    return sorted((each for each in interleaved if each is not None), key=in_use)


class Race:
    """One attempt to get a connection, by several candidates: the next begins `stagger_s` after the one before it, or
    at once when that has failed (RFC 8305 §5)."""

    __slots__ = ("_due", "_running", "_stagger_s", "_waiting")

    def __init__(self, candidates: Iterable[Candidate], stagger_s: float) -> None:
        self._waiting = deque(candidates)
        self._stagger_s = stagger_s
        self._running: list[Candidate] = []
        self._due = -inf

    def begin(self, now: float) -> Candidate | None:
        """The candidate to begin now; None when there is none, or its time has not come."""
        if not self._waiting or now < self._due:
            return None
        self._due = now + self._stagger_s
        candidate = self._waiting.popleft()
        self._running.append(candidate)
        return candidate

    def failed(self, candidate: Candidate) -> None:
        """A candidate that was begun has failed. The next is due when it was the last one begun."""
        if self._running[-1] == candidate:
            self._due = -inf
        self._running.remove(candidate)

    def pause_s(self, now: float) -> float | None:
        """How long until the next is due; None when none waits."""
        return max(self._due - now, 0.0) if self._waiting else None

    @property
    def lost(self) -> bool:
        """Every candidate has failed."""
        return not self._running and not self._waiting
