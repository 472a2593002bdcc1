"""Looks at what a process's main thread does, so many times a second: samples of its stack.

In: nothing but a process that runs. Out: `Samples`. Nothing stands in the way of a call, so that a process can be
looked at from any moment on, whatever its event loop is, and costs nothing before and after.

A timer (`ITIMER_REAL`) sends SIGALRM. Its handler runs where the interpreter next looks for signals: when a function
begins, when a call of C returns, when a loop goes round. What is sampled at the beginning of a function was its
caller's time, and is counted so; the last few bytecodes of a function, behind its last call, count as its caller's. The
timers of CPU time are no good for this: they go on with the kernel's ticks, which a process that sleeps and wakes often
meets seldom. Neither is `faulthandler`, whose handler sees the stack at once, but now and then one that is half made.
Imports `errors` alone.
"""

from __future__ import annotations

import atexit
import dis
import os
import signal
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Final, NamedTuple

from wire.errors import ConfigurationError

if TYPE_CHECKING:
    import resource  # not on Windows

_INTERVAL_S: Final = 0.004_03  # no whole number of a second's parts, so that it keeps no step with what is measured
_LATE_S: Final = 0.000_2
_CALIBRATIONS: Final = 50
_RESUME: Final = dis.opmap.get("RESUME", -1)


class StackFrame(NamedTuple):
    """A line of a function that was running."""

    file: str
    line: int
    function: str


Stack = tuple[StackFrame, ...]
"""The function that ran first, those that called it behind it."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What was seen of the main thread in `wall_s` seconds: how often each stack, every `interval_s`, asleep or not.

    In these it ran for `cpu_s`, `system_s` of them in the kernel (which counts roughly), and `own_s` for the samples,
    and waited for `delayed_s` while others had the CPU (0 where the system does not say). Other threads ran for
    `other_threads_s`. Samples that were due while others had the CPU are not among these.
    """

    stacks: Counter[Stack]
    interval_s: float
    wall_s: float
    cpu_s: float
    own_s: float
    system_s: float
    delayed_s: float
    other_threads_s: float


def unsupported() -> str | None:
    """Why this process cannot be looked at, as a sentence; None when it can."""
    if sys.implementation.name != "cpython":
        return f"layer costs need CPython, and this is {sys.implementation.name}"
    if not hasattr(signal, "setitimer"):
        return "layer costs need a timer that sends signals, which this system does not have"
    return None


class Sampler:
    """Takes samples of this process from `start` to `stop`, both called in its main thread; it takes SIGALRM for that.

    One at a time in a process. `start` raises `ConfigurationError` where that is not possible.
    """

    __slots__ = (
        "_around_s",
        "_began",
        "_codes",
        "_counts",
        "_last_cpu_s",
        "_last_s",
        "_own_s",
        "_preempted",
        "_taken",
        "_timer_s",
        "_wakeups",
    )

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._counts = Counter[tuple[int, ...]]()
        """By code object and place in it, for each frame."""
        self._codes: dict[int, CodeType] = {}
        self._taken = 0
        self._own_s = 0.0
        self._timer_s = self._last_s = perf_counter()
        self._last_cpu_s = thread_time()
        self._preempted = _usage().ru_nivcsw

    def start(self) -> None:
        if reason := unsupported():
            raise ConfigurationError(reason)
        if threading.current_thread() is not threading.main_thread():
            raise ConfigurationError("layer costs are those of the main thread, and are begun there")
        if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, _nothing) or any(
            signal.getitimer(signal.ITIMER_REAL)
        ):
            raise ConfigurationError("SIGALRM, which layer costs need, is in use: by a measurement, or something else")
        signal.signal(signal.SIGALRM, self._on_signal)
        self._wakeups = _Wakeups() if "uvloop" not in sys.modules else None
        self._calibrate()
        self._began = _Clocks.read()
        self._forget()
        atexit.register(_stop_timer)  # a process that ends has no handlers at last
        signal.setitimer(signal.ITIMER_REAL, _INTERVAL_S, _INTERVAL_S)

    def stop(self) -> Samples:
        _stop_timer()
        atexit.unregister(_stop_timer)
        began, ended = self._began, _Clocks.read()
        if self._wakeups is not None:
            self._wakeups.close()
        signal.signal(signal.SIGALRM, _nothing)  # for one that is on its way; it would end the process otherwise
        cpu_s = ended.thread_s - began.thread_s
        stacks = Counter[Stack]()
        for places, count in self._counts.items():
            stacks[tuple(self._frames(places))] += count
        return Samples(
            stacks=stacks,
            interval_s=_INTERVAL_S,
            wall_s=ended.wall_s - began.wall_s,
            cpu_s=cpu_s,
            own_s=self._own_s + self._taken * self._around_s,
            system_s=ended.system_s - began.system_s,
            delayed_s=ended.delayed_s - began.delayed_s,
            other_threads_s=max(0.0, ended.process_s - began.process_s - cpu_s),
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        cpu_s, now_s = thread_time(), perf_counter()
        if frame is not None and not self._came_late(now_s, cpu_s):
            # What ran was the way to this function; if that is this handler itself, to the one that it interrupted.
            while frame.f_back is not None and frame.f_code.co_code[frame.f_lasti] == _RESUME:
                frame = frame.f_back
            self._count(frame)
        if self._wakeups is not None:
            self._wakeups.pass_on()
        self._last_s, self._last_cpu_s = now_s, cpu_s
        self._taken += 1
        self._own_s += thread_time() - cpu_s

    def _came_late(self, now_s: float, cpu_s: float) -> bool:
        """Whether others had the CPU when this sample was due: it would show where that began."""
        turns = (self._last_s - self._timer_s) // _INTERVAL_S + 1
        late_s = now_s - self._timer_s - turns * _INTERVAL_S
        off_s = now_s - self._last_s - (cpu_s - self._last_cpu_s)
        if late_s < _LATE_S or off_s < late_s:
            return False
        before, self._preempted = self._preempted, _usage().ru_nivcsw
        return self._preempted > before

    def _count(self, frame: FrameType | None) -> None:
        places: list[int] = []
        codes = self._codes
        while frame is not None:
            code = frame.f_code
            which = id(code)
            codes[which] = code  # which keeps it, so that no other gets its identity
            places += (which, frame.f_lasti)
            frame = frame.f_back
        self._counts[tuple(places)] += 1

    def _frames(self, places: tuple[int, ...]) -> Iterator[StackFrame]:
        for which, at in zip(places[::2], places[1::2], strict=True):
            code = self._codes[which]
            line = next((line for start, end, line in code.co_lines() if start <= at < end), None)
            yield StackFrame(code.co_filename, line or code.co_firstlineno, code.co_name)

    def _calibrate(self) -> None:
        """Measure what a sample costs beside what its handler measures itself."""
        around_s = []
        for _ in range(_CALIBRATIONS):
            self._own_s, before_s = 0.0, thread_time()
            signal.raise_signal(signal.SIGALRM)
            around_s.append(thread_time() - before_s - self._own_s)
        self._around_s = max(0.0, median(around_s))


class _Wakeups:
    """Keeps samples from waking an event loop, which has a turn for each signal's byte, if it handles signals at all.

    The bytes come here instead, and those of other signals are passed on with the next sample. Not for uvloop, which
    has the interpreter look for signals only at such a byte.
    """

    __slots__ = ("_fd", "_loops_fd", "_reader", "_writer")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._fd = self._writer.fileno()
        self._loops_fd = signal.set_wakeup_fd(self._fd, warn_on_full_buffer=False)

    def pass_on(self) -> None:
        try:
            others = self._reader.recv(4096).replace(bytes([signal.SIGALRM]), b"")
        except BlockingIOError:
            return
        if others and self._loops_fd >= 0 and self._is_set(self._fd):
            with suppress(BlockingIOError):  # it has enough to wake up for
                os.write(self._loops_fd, others)

    def close(self) -> None:
        self.pass_on()
        self._is_set(self._loops_fd)
        self._reader.close()
        self._writer.close()

    def _is_set(self, fd: int) -> bool:
        """Set it where ours was; false where a loop has ended, or begun, since."""
        before = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        if before != self._fd:
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        return before == self._fd


def _stop_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The handler that is left behind."""


def _usage() -> resource.struct_rusage:
    """Of this thread, or of the process where that is all that is known."""
    import resource

    return resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))


@dataclass(frozen=True, slots=True)
class _Clocks:
    """Seconds until now: of this thread, of them in the kernel, waiting for a CPU; of the process."""

    wall_s: float
    thread_s: float
    system_s: float
    delayed_s: float
    process_s: float

    @classmethod
    def read(cls) -> _Clocks:
        try:
            delayed_s = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
        except OSError:
            delayed_s = 0.0
        return cls(perf_counter(), thread_time(), _usage().ru_stime, delayed_s, process_time())
