"""Finds what waits for the garbage collector: objects of ours, or kept by ours, that only hold each other."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

COUNTED = pytest.mark.skipif(sys.implementation.name != "cpython", reason="this interpreter does not count references")


@contextmanager
def gone() -> Iterator[None]:
    """What the block lets go of is gone behind it: where references are not counted, the collector is called."""
    yield
    if sys.implementation.name != "cpython":
        for _ in range(3):  # what a finalizer lets go of has one of its own
            gc.collect()


_OURS = ("wire", "h2", "hpack", "ssl", "_ssl", "uvloop")
_TRANSPORTS = ("_SelectorSocketTransport", "TimerHandle", "_asyncio.Task")


def _is_ours(found: Any) -> bool:
    kind = type(found)
    if kind.__module__.partition(".")[0] in _OURS or kind.__name__ in _TRANSPORTS:
        return True
    frame = getattr(found, "cr_frame", None) or getattr(found, "ag_frame", None)  # a coroutine's or generator's
    return frame is not None and frame.f_globals.get("__name__", "").startswith("wire.")


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """The collector is off in the block. Afterwards the counter holds what it then had to free, by type's name; nothing
    where references are not counted."""
    found: Counter[str] = Counter()
    if sys.implementation.name != "cpython":
        yield found
        return
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(type(each).__qualname__ for each in gc.garbage if _is_ours(each))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
