"""Whether files have changed since they were last read: looked at when somebody asks, and not too often."""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import monotonic

Stamp = tuple[int, int, int, int] | None
"""Device, inode, time of the last change in ns, and bytes; None for a file that is not there."""


class FileWatch:
    """Nothing runs in the background. A file that another takes the place of has changed, too, as have the targets of
    symbolic links (Kubernetes renews what it mounts so)."""

    __slots__ = ("_due", "_interval_s", "_paths", "_stamps")

    def __init__(self, paths: Iterable[str | os.PathLike[str]], interval_s: float) -> None:
        self._paths = tuple(paths)
        self._interval_s = interval_s
        self._stamps = self._look()
        self._due = monotonic() + interval_s

    def changed(self) -> bool:
        """Whether there is something new since the last time that this said so. False within `interval_s` of it."""
        now = monotonic()
        if now < self._due:
            return False
        self._due = now + self._interval_s
        before, self._stamps = self._stamps, self._look()
        return self._stamps != before

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str | os.PathLike[str]) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
