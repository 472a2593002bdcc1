"""The thread that looks after what no other thread waits for: one for each channel, asleep while calls are made.

A connection without calls has its pings answered and its end noticed; timers run; calls that were only started end, and
their callbacks are run. Imports its siblings.
"""

from __future__ import annotations

import logging
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from threading import Thread

from wire.blocking.futures import ThreadFuture
from wire.blocking.runtime import ThreadRuntime

logger = logging.getLogger("wire.blocking")

_PAUSE_S = 0.1
"""Between two looks at whether threads still make calls: at worst a ping waits so long for its answer, and twenty looks
cost a busy channel 0.1 % of a core."""


class Attendant:
    """Its methods are for whoever holds the runtime's lock, but for `end`."""

    def __init__(self, runtime: ThreadRuntime) -> None:
        self._runtime = runtime
        self._signal = allocate_lock()
        self._signal.acquire()
        self._thread: Thread | None = None
        self._ended = False
        self._open = 0
        self._callbacks: deque[Callable[[], object]] = deque()
        self._waits_for: ThreadFuture | None = None
        runtime.on_attach = self.begin

    def begin(self) -> None:
        """There is something to look after, from now on."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="wire-blocking", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """There is not any more. Any thread, in the middle of anything."""
        self._ended = True
        self._stir()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of its thread, where it has one."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def call_started(self) -> None:
        """A call goes on that no thread may be waiting for."""
        self._open += 1
        self.begin()
        self._stir()

    def call_ended(self, *callbacks: Callable[[], object]) -> None:
        """One of them has ended. `callbacks` are run in the attendant's thread, without the lock."""
        self._open -= 1
        self.run_soon(*callbacks)

    def run_soon(self, *callbacks: Callable[[], object]) -> None:
        self._callbacks += callbacks
        if (self._callbacks or not self._open) and self._waits_for is not None and not self._waits_for.finished:
            self._waits_for.set_result(None)
        elif callbacks:
            self.begin()
            self._stir()

    def _stir(self) -> None:
        try:
            self._signal.release()
        except RuntimeError:  # it was released already
            pass
        self._runtime.wake()

    def _run(self) -> None:
        runtime = self._runtime
        seen = -1
        while not self._ended:
            alone = False
            runtime.enter()
            try:
                if self._open and not self._callbacks:
                    self._waits_for = ThreadFuture(runtime)
                    runtime.wait(self._waits_for)
                    self._waits_for = None
                elif runtime.leader is None and runtime.turns == seen:
                    alone = runtime.idle()
                seen = runtime.turns
            finally:
                runtime.leave()
            while self._callbacks:
                _call(self._callbacks.popleft())
            if not alone and not self._open:
                self._signal.acquire(timeout=_PAUSE_S)
        runtime.enter()
        try:
            runtime.close()
        finally:
            runtime.leave()


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("a callback raised")
