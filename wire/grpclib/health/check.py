"""`grpclib.health.check`: what the health of a service depends on, asked for or told."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Final

from wire.grpclib.utils import warn_of_loop

log = logging.getLogger("grpclib.health.check")  # where programs look for it

DEFAULT_CHECK_TTL: Final = 30
DEFAULT_CHECK_TIMEOUT: Final = 10

_Status = bool | None


class CheckBase(ABC):
    """One check. A status is True (healthy), False (not), or None (unknown)."""

    @abstractmethod
    def __status__(self) -> _Status:
        """What is known now."""

    @abstractmethod
    async def __check__(self) -> _Status:
        """Look, where what is known is too old."""

    @abstractmethod
    async def __subscribe__(self) -> asyncio.Event:
        """An event that is set at each change, until `__unsubscribe__`."""

    @abstractmethod
    async def __unsubscribe__(self, event: asyncio.Event) -> None: ...


class ServiceCheck(CheckBase):
    """A check that is made when it is asked for, and every so often while somebody watches.

    `func` returns an awaitable status; what it raises is logged and counts as False. `check_ttl`: seconds that a status
    is good for. `check_timeout`: seconds that `func` may take.
    """

    def __init__(
        self,
        func: Callable[[], Awaitable[_Status]],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        check_ttl: float = DEFAULT_CHECK_TTL,
        check_timeout: float = DEFAULT_CHECK_TIMEOUT,
    ) -> None:
        if loop is not None:
            warn_of_loop(2)
        self._func = func
        self._check_ttl = check_ttl
        self._check_timeout = check_timeout
        self._value: _Status = None
        self._last_check: float | None = None
        self._checking: asyncio.Event | None = None
        self._events: set[asyncio.Event] = set()
        self._poll_task: asyncio.Task[None] | None = None

    def __status__(self) -> _Status:
        return self._value

    async def __check__(self) -> _Status:
        if self._last_check is not None and time.monotonic() - self._last_check < self._check_ttl:
            return self._value
        if self._checking is not None:
            await self._checking.wait()
            return self._value
        before = self._value
        self._checking = asyncio.Event()
        try:
            self._value = await self._ask()
        finally:
            self._checking.set()
            self._checking = None
        self._last_check = time.monotonic()
        if self._value != before:
            level = logging.INFO if self._value else logging.WARNING
            log.log(level, "Health check %r status changed to %r", self._func, self._value)
            for event in self._events:
                event.set()
        return self._value

    async def _ask(self) -> _Status:
        try:
            async with asyncio.timeout(self._check_timeout):
                value = await self._func()
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"Invalid status type: {value!r}")
        except Exception:
            log.exception("Health check failed")
            return False
        return value

    async def _poll(self) -> None:
        while True:
            await self.__check__()
            await asyncio.sleep(self._check_ttl)

    async def __subscribe__(self) -> asyncio.Event:
        if self._poll_task is None:
            self._poll_task = asyncio.get_running_loop().create_task(self._poll())
        event = asyncio.Event()
        self._events.add(event)
        return event

    async def __unsubscribe__(self, event: asyncio.Event) -> None:
        self._events.discard(event)
        task = self._poll_task
        if not self._events and task is not None:
            self._poll_task = None
            task.cancel()
            await asyncio.wait([task])


class ServiceStatus(CheckBase):
    """A status that the program says."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        if loop is not None:
            warn_of_loop(2)
        self._value: _Status = None
        self._events: set[asyncio.Event] = set()

    def set(self, value: _Status) -> None:
        """Whoever watches is told of a change."""
        changed = value != self._value
        self._value = value
        if changed:
            for event in self._events:
                event.set()

    def __status__(self) -> _Status:
        return self._value

    async def __check__(self) -> _Status:
        return self._value

    async def __subscribe__(self) -> asyncio.Event:
        event = asyncio.Event()
        self._events.add(event)
        return event

    async def __unsubscribe__(self, event: asyncio.Event) -> None:
        self._events.discard(event)
