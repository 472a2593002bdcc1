"""Knobs of the whole process. A library must not turn them unasked; a program that serves or calls gains from them.

Imports nothing of wire.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Callable
from functools import cache

_YOUNG_OBJECTS = 10_000
_M_TRIM_THRESHOLD = -1  # mallopt(3)
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGEST_MMAP_THRESHOLD_BYTES = 1 << 25  # glibc refuses more
_MALLOC_INFO = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


def tune_process(*, keep_free_bytes: int = 1 << 26, switch_interval_s: float | None = 0.001) -> None:
    """Call once, when the program has imported and set up what it needs, before it serves or calls, or starts threads.

    - The garbage collector stops looking at what exists by now (`gc.freeze`), and looks for new cycles when there are
      10,000 new objects, and not 700 (`gc.set_threshold`; one that is already higher stays). Calls leave no cycles, so
      there is little for it to find; but a hundred `async def` handlers that run at a time are a thousand objects.
    - glibc's allocator keeps up to `keep_free_bytes` of freed memory, 64 MiB by default, instead of handing it back to
      the kernel. Otherwise every buffer of a large message is mapped, faulted in page by page and unmapped again: unary
      echoes of 1 MiB went four to five times as fast with this. Threads share one arena of it, which can be given back
      whole; with Python's lock they seldom allocate at a time. Elsewhere than on glibc nothing is changed.
    - Threads take turns each millisecond, and not each 5 (`sys.setswitchinterval`; None: as it is). An event loop waits
      that long after each system call while another thread computes, as the one that decodes long messages does: calls
      beside such a thread waited 256 ms (p99), and 9 ms with this.
    """
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy's collector has nothing like it, nor the need
        gc.freeze()
        youngest, *older = gc.get_threshold()
        if youngest:  # else it is switched off
            gc.set_threshold(max(youngest, _YOUNG_OBJECTS), *older)
    if switch_interval_s is not None:
        sys.setswitchinterval(switch_interval_s)
    if _has_glibc():
        mallopt = _libc().mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, min(keep_free_bytes, _LARGEST_MMAP_THRESHOLD_BYTES))
        mallopt(_M_TRIM_THRESHOLD, min(keep_free_bytes, 2**31 - 1))


class FreedMemory:
    """What glibc's allocator keeps of what was freed. By itself it gives back what lies at the end of its memory alone:
    a hundred megabytes that were freed below one small object stay. Other threads run on while it is asked, but for
    large allocations of theirs."""

    def __init__(self) -> None:
        libc = _libc()
        self._trim = libc.malloc_trim
        try:
            self._info: Callable[[], _MallocInfo2 | _MallocInfo] = libc.mallinfo2  # of glibc 2.33
            libc.mallinfo2.restype = _MallocInfo2
        except AttributeError:
            self._info = libc.mallinfo
            libc.mallinfo.restype = _MallocInfo

    @classmethod
    def find(cls) -> FreedMemory | None:
        """None with other C libraries."""
        return cls() if _has_glibc() else None

    def size_bytes(self) -> int:
        """How much it is, be it given back or not (mallinfo(3), fordblks)."""
        return self._info().fordblks

    def give_back(self) -> None:
        """To the kernel (malloc_trim(3)), in some milliseconds for each 100 MiB."""
        self._trim(ctypes.c_size_t(0))


class _MallocInfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint) for name in _MALLOC_INFO)
    fordblks: int


class _MallocInfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLOC_INFO)
    fordblks: int


@cache  # each that is loaded has a class of its own, which only the collector takes away
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def open_standard_descriptors() -> None:
    """Open /dev/null in place of whichever of the descriptors 0, 1 and 2 the process was started without.

    Otherwise a socket or an event loop gets one of these numbers: what is printed would be sent to a peer, and uvloop
    ends the process (SIGABRT). `wire.run` calls it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # how Python says that the descriptor was closed when it started
            # Not that number: a library may have taken it before (libffi, where ctypes is imported).
            file = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(file, "w" if descriptor else "r", encoding="utf-8", closefd=False))
