"""What one peer may make us do: the budgets that both engines spend, so that their verdicts agree.

In: "one more", with the engine's time. Out: whether that is still within `Http2Config`; a peer that passes a limit gets
ENHANCE_YOUR_CALM on the connection (RFC 9113 §10.5). Imports only `wire.config`. What counts as what:

- A reset (CVE-2023-44487, CVE-2025-8671): every RST_STREAM that a peer's frame made us send (a stream error, a refused
  stream); at a server also every RST_STREAM received that ends an open stream. Not `Engine.reset`, nor NO_ERROR after
  a complete response, nor what a client receives: it opened those streams itself.
- A control: SETTINGS, PING, their acknowledgements, PRIORITY, GOAWAY, frames of unknown type; a RST_STREAM received on
  a closed stream; HEADERS and DATA on a closed stream; DATA without END_STREAM that has no more data than padding, the
  padding's length octet included (so, empty DATA); an informational response; a WINDOW_UPDATE that nothing explains.
- A DATA frame of ours explains two WINDOW_UPDATEs, its stream's and the connection's, when it empties its stream's
  queue or carries `EXPLAINING_BYTES`. A peer that dribbles its window (CVE-2019-9511) so explains nothing.
"""

from __future__ import annotations

from typing import Final

from wire.config import Http2Config

EXPLAINING_BYTES: Final = 1024
"""Least DATA in a frame that explains WINDOW_UPDATEs although its stream has more queued."""

HARD_HEADER_FACTOR: Final = 4
"""A field section past `max_header_list_bytes` or `max_header_fields` costs its stream. One past this many times
`max_header_list_bytes`, encoded or decoded, costs the connection: decoding stops there, and with it the HPACK state."""


class Budget:
    """A token bucket: `burst` at once, refilled by `per_s` a second."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left = self._burst
        self._at = 0.0

    def spend(self, now: float) -> bool:
        """Take one; False when none is left. `now`: seconds of any monotonic clock."""
        left = min(self._left + (now - self._at) * self._per_s, self._burst)
        self._at = now
        if left < 1.0:
            self._left = left
            return False
        self._left = left - 1.0
        return True


class Limits:
    """One connection's budgets. `explained`: WINDOW_UPDATEs that are free, 2 more for each DATA frame that explains."""

    __slots__ = ("controls", "explained", "resets")

    def __init__(self, config: Http2Config) -> None:
        self.controls = Budget(config.control_burst, config.controls_per_s)
        self.resets = Budget(config.reset_burst, config.resets_per_s)
        self.explained = 0

    def window_update(self, now: float) -> bool:
        """One WINDOW_UPDATE came; False when it is one too many."""
        if self.explained:
            self.explained -= 1
            return True
        return self.controls.spend(now)
