"""What one peer may make us do: the budgets that both engines charge, so that their verdicts agree.

In: "one more", with the engine's time. Out: whether that is still within `Http2Config`; a peer that passes a limit gets
ENHANCE_YOUR_CALM on the connection (RFC 9113 §10.5). The principle: what our own HEADERS, DATA, resets and pings
explain is free, the budgets are for the rest. Imports only `wire.config`. What counts as what:

- A reset (CVE-2023-44487, CVE-2025-8671): every RST_STREAM that a peer's frame made us send (a stream error, a refused
  stream); at a server also every RST_STREAM received for an open stream that had brought no handler a request, for
  those cost us a stream and nobody waits for them. Streams that had are bounded by the handlers that may run; so are
  streams of requests whose reset comes in a later read than their headers, with a message or without. Not
  `Engine.reset`, nor NO_ERROR after a complete response, nor what a client receives: it opened those streams itself.
- A control: SETTINGS, and each entry of one past `FREE_SETTINGS`; PRIORITY, GOAWAY, frames of unknown type; an
  informational response; DATA that is `tiny`, on streams of any state; and where nothing explains them:
  - a PING: it is explained by a HEADERS or DATA frame of ours since the PING before it. So a peer may probe the
    bandwidth once a round trip while we send, as grpc-go does;
  - a WINDOW_UPDATE: two are, its stream's and the connection's, by each HEADERS or DATA frame of ours; not by DATA of
    less than `EXPLAINING_BYTES` that left more in its stream's queue. A peer that dribbles its window (CVE-2019-9511)
    so explains nothing;
  - acknowledgements, by our PINGs and our SETTINGS;
  - a RST_STREAM on a closed stream: one is for each stream that was opened, as both ends may end one at once;
  - DATA and HEADERS on a closed stream, by what our reset left of its window and of its sections (`reset_memory`).
- WINDOW_UPDATEs and tiny DATA that could have been explained and did not come go on being so up to a number
  (`MAX_UPDATES_AHEAD`), so that a long life of good behaviour buys no flood. What may come late for streams has no such
  end: a peer whose event loop was blocked has as many of them to answer as were opened, and each cost more than that.
"""

from __future__ import annotations

from typing import Final

from wire.config import Http2Config

EXPLAINING_BYTES: Final = 1024
"""Least DATA in a frame that explains WINDOW_UPDATEs although its stream has more queued."""

WINDOWS_AT_ONCE: Final = 100
"""Windows of streams that one SETTINGS frame may change like any other frame: so many more are charged as one frame
more, and nothing else is handled in that slice. A thousand take 0.2 ms, and by h2 1 ms."""

LEAST_DATA_BYTES: Final = 5
"""DATA of less, not ending its stream, is less than the prefix of a gRPC message, and so carries none."""

BYTES_FOR_TINY: Final = 1024
"""DATA that explains one tiny frame: tonic shares the connection's window out among its streams, and sends what is left
for one, be it a byte."""

FREE_SETTINGS: Final = 16
"""Entries of one SETTINGS frame that cost nothing: more than twice as many as RFC 9113 defines."""

HARD_HEADER_FACTOR: Final = 4
"""A field section past `max_header_list_bytes` or `max_header_fields` costs its stream. One past this many times
`max_header_list_bytes`, encoded or decoded, costs the connection: decoding stops there, and with it the HPACK state."""

MAX_UPDATES_AHEAD: Final = 10_000
"""WINDOW_UPDATEs that may be free at once: what was sent and explains them is forgotten past that."""

MAX_TABLE_UPDATES: Final = 2
"""Dynamic table size updates in front of a field block: the smallest size since the last block, and the one that holds
now (RFC 7541 §4.2)."""

LEAST_STALL_S: Final = 0.02
"""Time between two reads that is taken for a stall of ours. It may be a peer's that had nothing to say."""

MAX_STALL_S: Final = 5.0
"""A stall of at most so long fills a budget past its burst; see `Budget`."""


def tiny(frame_bytes: int, data_bytes: int) -> bool:
    """Whether DATA that does not end its stream carries next to nothing, or no more than padding (its length octet
    counts as padding). `frame_bytes` is the frame's length, of which `data_bytes` are not padding."""
    return data_bytes < LEAST_DATA_BYTES or frame_bytes >= 2 * data_bytes


class Budget:
    """A token bucket: `burst` at once, refilled by `per_s` a second.

    After a stall of ours it holds what came late as well: what the stall's time refills past the burst. That counts for
    as long again as the stall lasted.
    """

    __slots__ = ("_at", "_burst", "_late", "_left", "_per_s")

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left = self._burst
        self._late = 0.0  # beside what is left
        self._at: float | None = None

    def charge(self, now: float, count: int = 1) -> bool:
        """Take `count`; False when there are not so many left. `now`: seconds of any monotonic clock."""
        if now != self._at:
            self._refill(now)
        if self._left + self._late < count:
            return False
        late = min(self._late, count)
        self._late -= late
        self._left -= count - late
        return True

    def stalled(self, since: float, now: float) -> None:
        """Nothing was read between these times: what is read now may have been sent at any time between them."""
        self._refill(since)
        late = self._left + min(now - since, MAX_STALL_S) * self._per_s - self._burst
        self._refill(now)
        self._late = max(self._late, late)

    def _refill(self, now: float) -> None:
        if self._at is not None:
            refill = (now - self._at) * self._per_s
            self._left = min(self._burst, self._left + refill)
            self._late = max(0.0, self._late - refill)
        self._at = now


class Limits:
    """One connection's budgets, and what explains a peer's frames.

    `written`: HEADERS and DATA frames that we framed, ever. `dribbled`: those that explain no WINDOW_UPDATE. `awaited`:
    acknowledgements of our PINGs that have not come.

    Budgets refill by the time that frames took to come, not by that of one read: a peer that sent on while our event
    loop was blocked has done nothing wrong.
    """

    __slots__ = (
        "_resets",
        "_tiny",
        "_updates",
        "_written_at_ping",
        "awaited",
        "controls",
        "dribbled",
        "resets",
        "written",
    )

    def __init__(self, config: Http2Config) -> None:
        self.controls = Budget(config.control_burst, config.controls_per_s)
        self.resets = Budget(config.reset_burst, config.resets_per_s)
        self.written = 0
        self.dribbled = 0
        self.awaited = 0
        self._written_at_ping = 0
        self._updates = 0  # WINDOW_UPDATEs explained so far
        self._resets = 0  # RST_STREAMs explained so far
        self._tiny = 0  # tiny DATA frames explained so far

    def stalled(self, since: float, now: float) -> None:
        """The first read comes after `LEAST_STALL_S` or more."""
        self.controls.stalled(since, now)
        self.resets.stalled(since, now)

    def explains_window_update(self) -> bool:
        ahead = 2 * (self.written - self.dribbled) - self._updates
        if ahead <= 0:
            return False
        self._updates += 1 + max(0, ahead - MAX_UPDATES_AHEAD)
        return True

    def explains_tiny(self, received_bytes: int) -> bool:
        """`received_bytes`: DATA that has come on this connection so far."""
        ahead = received_bytes // BYTES_FOR_TINY - self._tiny
        if ahead <= 0:
            return False
        self._tiny += 1 + max(0, ahead - MAX_UPDATES_AHEAD)
        return True

    def explains_ping(self) -> bool:
        explained = self.written != self._written_at_ping
        self._written_at_ping = self.written
        return explained

    def explains_ping_ack(self) -> bool:
        if not self.awaited:
            return False
        self.awaited -= 1
        return True

    def explains_reset(self, opened: int) -> bool:
        """`opened`: streams that the client has opened on this connection so far."""
        if opened <= self._resets:
            return False
        self._resets += 1
        return True
