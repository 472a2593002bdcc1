"""Warnings that peers can cause at will: of each kind three lines, then one a second that counts those left out.

In: a logger, kinds of warnings and their texts. Out: some of them, logged. Imports nothing of wire.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

_BURST: Final = 3.0
_PER_S: Final = 1.0
_MOST_KINDS: Final = 64


class Throttle:
    """A bucket of lines for each kind of warning. Beyond 64 kinds, those that are new share one."""

    __slots__ = ("_kinds", "_logger", "_now")

    def __init__(self, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._kinds: dict[str, tuple[float, float, int]] = {}  # as of when, lines that may be logged, lines left out

    def warning(self, kind: str, text: str, *args: object) -> None:
        """Log `text % args`, or count it for the next line of its kind."""
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = ""
        now = self._now()
        before, lines, left_out = self._kinds.get(kind, (now, _BURST, 0))
        lines = min(_BURST, lines + (now - before) * _PER_S)
        if lines < 1:
            self._kinds[kind] = now, lines, left_out + 1
            return
        self._kinds[kind] = now, lines - 1, 0
        if left_out:
            self._logger.warning(f"{text} (and %d more like it before)", *args, left_out)
        else:
            self._logger.warning(text, *args)
