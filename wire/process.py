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

_M_TRIM_THRESHOLD = -1  # mallopt(3)
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD_BYTES = 1 << 25  # glibc refuses more


def tune_process(*, keep_free_bytes: int = 1 << 26, switch_interval_s: float | None = 0.001) -> None:
    """Call once, when the program has imported and set up what it needs, before it serves or calls.

    - The garbage collector stops looking at what exists by now (`gc.freeze`). Calls leave no cycles, so there is little
      else for it to find.
    - glibc's allocator keeps up to `keep_free_bytes` of freed memory, 64 MiB by default, instead of handing it back to
      the kernel. Otherwise every buffer of a large message is mapped, faulted in page by page and unmapped again: unary
      echoes of 1 MiB went four to five times as fast with this. Elsewhere than on glibc nothing is changed.
    - Threads take turns each millisecond, and not each 5 (`sys.setswitchinterval`; None: as it is). An event loop waits
      that long after each system call while another thread computes, as the one that decodes long messages does: calls
      beside such a thread waited 256 ms (p99), and 9 ms with this.
    """
    gc.collect()
    if hasattr(gc, "freeze"):  # PyPy's collector has nothing like it, nor the need
        gc.freeze()
    if switch_interval_s is not None:
        sys.setswitchinterval(switch_interval_s)
    if _has_glibc():
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, min(keep_free_bytes, _LARGEST_MMAP_THRESHOLD_BYTES))
        mallopt(_M_TRIM_THRESHOLD, min(keep_free_bytes, 2**31 - 1))


def memory_trimmer() -> Callable[[], object] | None:
    """What has glibc hand all that was freed back to the kernel (malloc_trim(3)), in some milliseconds for each 100 MiB
    of it; None elsewhere.

    By itself it does so with what lies at the end of its memory alone: a hundred megabytes that were freed below one
    small object stay. Other threads run on meanwhile, but for large allocations of theirs.
    """
    if not _has_glibc():
        return None
    malloc_trim = ctypes.CDLL(None).malloc_trim
    return lambda: malloc_trim(ctypes.c_size_t(0))


def resident_bytes() -> int:
    """What the process holds of the machine's memory; 0 where /proc does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


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
            mode = "w" if descriptor else "r"
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
