"""Work between an event loop's thread and a pool's: jobs go there, what they have the loop do comes back.

A hand-over between threads costs more than most handlers. So jobs wait in a queue that as many of the pool's threads go
over as are needed, each until it is empty; and what they send back is done by the loop in one go. A thread more is
asked for when the loop has its turn and jobs still wait: with handlers that compute, it has none before the queue is
empty, because one thread of Python runs at a time; with handlers that block, it has it at once.

Imports nothing of this package.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

_log = logging.getLogger("grpc._server")

_IN_A_ROW = 64
"""Jobs that one turn of a thread does, so that others who use the pool have theirs."""


class Pump:
    """Jobs for a pool."""

    def __init__(self, pool: Executor, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._threads = getattr(pool, "_max_workers", 1 << 20)
        self._jobs: deque[Callable[[], Any]] = deque()
        self._lock = threading.Lock()
        self._running = 0
        self._kick_due = False

    def submit(self, job: Callable[[], Any]) -> None:
        """Have `job` called by a thread of the pool. In the loop's thread."""
        self._jobs.append(job)
        if not self._kick_due:
            self._kick_due = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kick_due = False
        with self._lock:
            if not self._jobs or self._running >= self._threads:
                return
            self._running += 1
        try:
            self._pool.submit(self._run)
        except RuntimeError as error:  # the pool was shut down
            with self._lock:
                self._running -= 1
            _log.error("calls cannot be handled: %s", error)
            return
        if self._jobs:
            self._kick_due = True
            self._loop.call_soon(self._kick)

    def _run(self) -> None:
        jobs = self._jobs
        for _ in range(_IN_A_ROW):
            try:
                job = jobs.popleft()
            except IndexError:
                break
            job()
        with self._lock:
            self._running -= 1
            if not jobs:
                return
            self._running += 1
        try:
            self._pool.submit(self._run)
        except RuntimeError:
            with self._lock:
                self._running -= 1


class Returns:
    """What threads have the loop do, in the order in which they said so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._scheduled = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have the loop call a function, from any thread."""
        self._due.append((function, arguments))
        if not self._scheduled:
            self._scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed, and with it every call
                pass

    def _run(self) -> None:
        self._scheduled = False  # before anything is taken: what comes later schedules anew
        due = self._due
        while due:
            function, arguments = due.popleft()
            try:
                function(*arguments)
            except Exception:
                _log.exception("Exception calling callback!")
