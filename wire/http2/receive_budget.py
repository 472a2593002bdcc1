"""How much the peer may send on each stream of a connection: all of receiving's flow control but the connection's own
window, for both engines (RFC 9113 §5.2, §6.9).

In: what the layer above has consumed, and what it waits for. Out: WINDOW_UPDATEs, as (stream id, increment). Pure
arithmetic; imports nothing.

A stream begins with the window that SETTINGS announced, and what is consumed is granted again. That is little, so that
a thousand streams that nobody reads hold little. What streams get beyond it comes out of one budget for the connection:

- A message that somebody waits for, and that is longer than its stream's window, has what is missing reserved, and
  granted at once. Where the budget does not reach, it waits for its turn, in order. Every message admitted can so be
  completed, and gives back what it had when it is consumed: nobody waits for ever. One that is over the whole budget
  is admitted when it is the only one.
- A stream that is read has its window doubled each time half of it was consumed, and keeps that until it is closed. All
  of these have half of the budget, and each takes at most half of what is left of it: those that come later get some,
  and messages always do.

So held and under way together are never more than the streams' first windows, the budget, and one message at most
where messages can be longer than half the budget.
"""

from __future__ import annotations

from typing import Final, Protocol

Grants = list[tuple[int, int]] | tuple[()]
_NONE: Final = ()


class ReceivingStream(Protocol):
    """`receive_window`: what its peer may send. `credit_bytes`: consumed, and not granted again yet."""

    id: int
    receive_window: int
    credit_bytes: int


class _Share:
    """What one stream has of the budget."""

    __slots__ = ("message_bytes", "widened_bytes")

    def __init__(self) -> None:
        self.message_bytes = 0
        self.widened_bytes = 0


class ReceiveBudget:
    """See the module. `shares`: of streams that have some of the budget or wait for it, by id; `forget` these."""

    __slots__ = (
        "_budget_bytes",
        "_max_window_bytes",
        "_message_bytes",
        "_waiting",
        "_widened_bytes",
        "_window",
        "shares",
    )

    def __init__(self, window_bytes: int, max_window_bytes: int, budget_bytes: int) -> None:
        """`window_bytes`: of a new stream, which is widened up to `max_window_bytes`."""
        self._window = window_bytes
        self._max_window_bytes = max_window_bytes
        self._budget_bytes = budget_bytes
        self._message_bytes = 0  # of all shares
        self._widened_bytes = 0
        self._waiting: dict[
            int, tuple[ReceivingStream, int]
        ] = {}  # what each lacks; no DATA that comes meanwhile changes it
        self.shares: dict[int, _Share] = {}

    @property
    def reserved_bytes(self) -> int:
        """All that is taken out of the budget."""
        return self._message_bytes + self._widened_bytes

    def consumed(self, stream: ReceivingStream, size: int) -> Grants:
        """`size` bytes are held no longer."""
        window = self._window
        grants: list[tuple[int, int]] = []
        if self.shares:
            share = self.shares.get(stream.id)
            if share is not None:
                window += share.widened_bytes
                repaid = min(share.message_bytes, size)
                if repaid:
                    size -= repaid
                    share.message_bytes -= repaid
                    self._message_bytes -= repaid
                    self._admit(grants)
        stream.credit_bytes += size
        if stream.credit_bytes < window // 2:
            return grants
        increment = stream.credit_bytes + self._widen(stream, window)
        stream.credit_bytes = 0
        stream.receive_window += increment
        grants.append((stream.id, increment))
        return grants

    def expect(self, stream: ReceivingStream, size: int) -> Grants:
        """Somebody waits for a message that lacks `size` more bytes; may be said again as they come."""
        shortage = size - stream.receive_window
        if shortage <= 0 or stream.id in self._waiting:
            return _NONE
        grants: list[tuple[int, int]] = []
        if shortage <= stream.credit_bytes:
            self._grant(stream, 0, grants)
        else:
            self._share(stream)
            self._waiting[stream.id] = (stream, shortage - stream.credit_bytes)
            self._admit(grants)
        return grants

    def forget(self, stream_id: int) -> Grants:
        """A stream that has a share is closed."""
        self._waiting.pop(stream_id, None)
        share = self.shares.pop(stream_id, None)
        if share is not None:
            self._message_bytes -= share.message_bytes
            self._widened_bytes -= share.widened_bytes
        grants: list[tuple[int, int]] = []
        self._admit(grants)
        return grants

    def _admit(self, grants: list[tuple[int, int]]) -> None:
        """Messages get what they wait for, the first one first, as far as the budget reaches."""
        waiting = self._waiting
        while waiting:
            stream, lacking = next(iter(waiting.values()))
            if self._message_bytes and self._message_bytes + self._widened_bytes + lacking > self._budget_bytes:
                return
            del waiting[stream.id]
            self._message_bytes += lacking
            self._share(stream).message_bytes += lacking
            self._grant(stream, lacking, grants)

    def _widen(self, stream: ReceivingStream, window: int) -> int:
        """What to add to the window of a stream that is read."""
        extra = min(window, self._max_window_bytes - window)
        left_bytes = min((self._budget_bytes // 2 - self._widened_bytes) // 2, self._budget_bytes - self.reserved_bytes)
        if extra <= 0 or extra > left_bytes:
            return 0
        self._widened_bytes += extra
        self._share(stream).widened_bytes += extra
        return extra

    def _share(self, stream: ReceivingStream) -> _Share:
        return self.shares.setdefault(stream.id, _Share())

    @staticmethod
    def _grant(stream: ReceivingStream, extra: int, grants: list[tuple[int, int]]) -> None:
        increment = extra + stream.credit_bytes
        stream.credit_bytes = 0
        stream.receive_window += increment
        grants.append((stream.id, increment))
