"""How to wait while connecting: the `anyio` module knows it for event loops, `wire.blocking` for threads."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Waits(Protocol):
    """What there is to wait for while connecting. The `anyio` module is one."""

    def fail_after(self, delay: float) -> AbstractContextManager[Any]:
        """Waits within the block raise TimeoutError after so many seconds."""

    async def sleep(self, delay: float) -> None: ...

    def wait_readable(self, obj: socket.socket, /) -> Awaitable[None]: ...

    def wait_writable(self, obj: socket.socket, /) -> Awaitable[None]: ...

    async def getaddrinfo(self, host: str, port: int, *, family: int, type: int) -> list[Any]:  # noqa: A002
        """`socket.getaddrinfo`, in a thread."""
