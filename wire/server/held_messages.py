"""How much the long messages take that one connection's handlers hold, and a bound on it.

A handler holds a message from when it is decoded until it has ended or, of a stream of requests, until the next one is
given to it. Their bytes travelled through windows that were granted again, so nothing else bounds them: a thousand
handlers that wait for a database hold a thousand messages, of which each may have been a kilobyte of gzip.

In: holders (any object), and what theirs takes. Out: whether there was room; where there was none, the call is to be
refused. One that waited would keep the room that its message had on its way, and those whom it waits for may need that
for their next one. Only messages longer than `CallConfig.inline_decode_bytes` are told here, so that short ones cost
nothing. Imports nothing of wire.
"""

from __future__ import annotations


class HeldMessages:
    """See the module. `sizes`: what each holder's message takes, in bytes."""

    __slots__ = ("_limit_bytes", "_total_bytes", "sizes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._total_bytes = 0
        self.sizes: dict[object, int] = {}

    def hold(self, holder: object, size_bytes: int) -> bool:
        """The holder is given a message, in place of what it held. False, and nothing is noted, when that is too much
        beside what the others hold."""
        others_bytes = self._total_bytes - self.sizes.get(holder, 0)
        if others_bytes and others_bytes + size_bytes > self._limit_bytes:
            return False
        self._total_bytes = others_bytes + size_bytes
        self.sizes[holder] = size_bytes
        return True

    def leave(self, holder: object) -> None:
        """The holder holds nothing any more."""
        self._total_bytes -= self.sizes.pop(holder, 0)

    @property
    def refusal(self) -> str:
        """What the caller is told."""
        return (
            f"the handlers of this connection hold messages of {self._total_bytes} bytes, "
            f"of {self._limit_bytes} that they may"
        )
