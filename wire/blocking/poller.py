"""Which sockets are ready: epoll where there is one, else what `selectors` offers.

One thread at a time waits in `poll`; any thread may meanwhile change what is watched, or end the wait (`wake`). Imports
nothing of wire.
"""

from __future__ import annotations

import select
import selectors
import socket
from collections.abc import Callable
from typing import Protocol

READ = 1
WRITE = 2


class Poller(Protocol):
    def watch(self, fd: int, interest: int) -> None:
        """From now on tell when `fd` can be read (`READ`) or written (`WRITE`), or both; 0: neither."""

    def forget(self, fd: int) -> None:
        """`fd` is about to be closed. Nothing for one that was never watched."""

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """(fd, what is ready) for each socket that is, after waiting for the first one for so long; None: for ever.

        An error or the peer's end count as both, so that reading or writing meets them. Returns early after `wake`."""

    def wake(self) -> None:
        """End the present wait, or the next. Any thread, in the middle of anything."""

    def close(self) -> None:
        """As forgetting it does."""


class _Waker:
    """A pair of sockets: a byte that waits to be read ends a wait."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def fileno(self) -> int:
        return self._read.fileno()

    def wake(self) -> None:
        try:
            self._write.send(b"\0")
        except OSError:  # full, then it is awake anyhow; or closed
            pass

    def clear(self) -> None:
        try:
            self._read.recv(4096)
        except OSError:
            pass

    def close(self) -> None:
        self._read.close()
        self._write.close()

    __del__ = close


class EpollPoller:
    """Linux. The kernel takes changes while another thread waits."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._interest: dict[int, int] = {}
        self._waker = _Waker()
        self._wake_fd = self._waker.fileno()
        self.wake = self._waker.wake
        self._wait: Callable[[float | None], list[tuple[int, int]]] = self._epoll.poll
        self._epoll.register(self._wake_fd, select.EPOLLIN)

    def watch(self, fd: int, interest: int) -> None:
        before = self._interest.get(fd)
        if before == interest:
            return
        self._interest[fd] = interest
        mask = (select.EPOLLIN if interest & READ else 0) | (select.EPOLLOUT if interest & WRITE else 0)
        if before is None:
            self._epoll.register(fd, mask)
        else:
            self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        if self._interest.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        events = self._wait(timeout_s)
        if len(events) == 1 and events[0] == (events[0][0], 1) and events[0][0] != self._wake_fd:
            return events  # the usual case; EPOLLIN is READ
        ready = []
        for fd, mask in events:
            if fd == self._wake_fd:
                self._waker.clear()
            elif mask & (select.EPOLLERR | select.EPOLLHUP):
                ready.append((fd, READ | WRITE))
            else:
                ready.append((fd, (READ if mask & select.EPOLLIN else 0) | (WRITE if mask & select.EPOLLOUT else 0)))
        return ready

    def close(self) -> None:
        self._epoll.close()
        self._waker.close()


class SelectorPoller:
    """Everything else. What is watched changes between two waits, so a change ends the present one."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._interest: dict[int, int] = {}
        self._changed: dict[int, int] = {}
        self._waker = _Waker()
        self._selector.register(self._waker.fileno(), selectors.EVENT_READ)
        self.wake = self._waker.wake

    def watch(self, fd: int, interest: int) -> None:
        self._changed[fd] = interest
        self.wake()

    def forget(self, fd: int) -> None:
        self._changed.pop(fd, None)
        if self._interest.pop(fd, 0):
            self._selector.unregister(fd)

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        while self._changed:
            fd, interest = self._changed.popitem()
            if self._interest.get(fd, 0):
                self._selector.unregister(fd)
            self._interest[fd] = interest
            if interest:
                self._selector.register(fd, interest)
        ready = []
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._waker.fileno():
                self._waker.clear()
            else:
                ready.append((key.fd, events))
        return ready

    def close(self) -> None:
        self._selector.close()
        self._waker.close()


def new_poller() -> Poller:
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
