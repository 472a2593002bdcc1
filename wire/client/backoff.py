"""How long to wait after each failure in a row (gRPC's connection-backoff.md). Imports `config`."""

from __future__ import annotations

import random

from wire.config import ChannelConfig


class Backoff:
    """Pauses that grow with each failure, up to a limit, each give or take a share of it."""

    __slots__ = ("_config", "failures")

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config
        self.failures = 0
        """In a row."""

    def reset(self) -> None:
        """It worked."""
        self.failures = 0

    def next_s(self) -> float:
        """It failed: how long to wait now."""
        config = self._config
        pause_s = min(config.backoff_initial_s * config.backoff_multiplier**self.failures, config.backoff_max_s)
        self.failures += 1
        return pause_s * random.uniform(1 - config.backoff_jitter, 1 + config.backoff_jitter)
