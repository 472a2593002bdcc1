"""From a listening socket to accepted ones, on any event loop: the accept loop, its guards and its back-off.

A peer that the configuration does not allow is closed before anything is read from it. Imports `anyio`, `config`,
`sockets` and `contract`.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from wire.config import TransportConfig
from wire.throttle import Throttle
from wire.transport import sockets
from wire.transport.contract import Peer, Task

logger = logging.getLogger("wire.transport")

_ACCEPTS_PER_TURN: Final = 8  # so that a storm of connections cannot starve the connections that are open
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LISTENER_BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


class Guard:
    """Who may connect, and how many at once. Listeners with the same `TransportConfig` object share one."""

    __slots__ = ("config", "open", "warnings")

    def __init__(self, config: TransportConfig) -> None:
        self.config = config
        self.open = 0
        """Connections accepted and not yet lost."""
        self.warnings = Throttle(logger)

    def refusal(self, peer: Peer) -> str | None:
        """Why `peer` is to be closed at once, or None."""
        config = self.config
        if config.max_connections is not None and self.open >= config.max_connections:
            return f"{self.open} connections are open, the most that are allowed"
        if config.vsock_allow_cids is not None and peer.cid is not None and peer.cid not in config.vsock_allow_cids:
            return f"CID {peer.cid} is not one of those allowed"
        uids = config.unix_allow_uids
        if uids is not None and peer.address.startswith("unix") and peer.uid not in uids:
            return f"user {peer.uid} is not one of those allowed"  # None where the system does not tell: refused, too
        return None

    def admit(self, sock: socket.socket) -> Peer | None:
        """Count a connection in and make its socket ready. None: it was refused, or is gone, and is closed."""
        try:
            sock.setblocking(False)
            sockets.tune(sock)
            peer = sockets.peer_of(sock)
        except OSError:  # gone already
            sock.close()
            return None
        reason = self.refusal(peer)
        if reason is not None:
            self.warnings.warning(f"refused: {reason}", "refused %s: %s", peer.address, reason)
            sock.close()
            return None
        self.open += 1
        return peer


class AcceptLoop:
    """A `Listener`, running from the next loop turn on. `accepted` takes each socket over, and must not raise."""

    __slots__ = ("_accepted", "_closed", "_guard", "_sock", "_task", "arriving", "on_arrived")

    def __init__(
        self,
        sock: socket.socket,
        guard: Guard,
        accepted: Callable[[socket.socket, Peer, AcceptLoop], None],
        closed: Callable[[AcceptLoop], None],
    ) -> None:
        """`accepted` has `arrived` called for each."""
        sock.setblocking(False)
        self._sock = sock
        self._guard = guard
        self._accepted = accepted
        self._closed = closed
        self._task: Task | None = None
        self.arriving = 0
        self.on_arrived: Callable[[], object] | None = None

    def start(self, spawn: Callable[[Coroutine[Any, Any, None]], Task]) -> None:
        self._task = spawn(self._run())

    def arrived(self) -> None:
        """A connection that was accepted has its protocol, or has failed."""
        self.arriving -= 1
        if self.on_arrived is not None:
            self.on_arrived()

    def drain(self) -> None:
        # No more than can have been queued: others may go on to connect to a socket that several processes share.
        self._accept_waiting(self._guard.config.backlog + 1)
        self.close()

    def close(self) -> None:
        if self._sock.fileno() == -1:
            return
        self._closed(self)
        anyio.notify_closing(self._sock)  # ends the wait in `_run`
        self._sock.close()
        task, self._task = self._task, None  # its exception would hold its frame, and with it this listener
        if task is not None:
            task.cancel()  # ends the pause

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._sock.fileno() != -1:
            try:
                await anyio.wait_readable(self._sock)
            except anyio.ClosedResourceError:
                return
            exhausted = self._accept_waiting(_ACCEPTS_PER_TURN)
            if exhausted is None:
                pause_s = _FIRST_PAUSE_S
                continue
            logger.warning("cannot accept: %s; trying again in %g s", exhausted.strerror, pause_s)
            await anyio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _accept_waiting(self, most: int) -> OSError | None:
        """Accept until nothing waits, or so many. Returns the error when the machine has no means left."""
        for _ in range(most):
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return error
                if error.errno in _LISTENER_BROKEN:
                    if self._sock.fileno() != -1:  # else `accepted` closed this listener
                        logger.error("stopped listening on a socket that cannot accept: %s", error.strerror)
                        self.close()
                    return None
                continue  # that connection ended while it waited (accept(2): errors of the new socket)
            self._admit(sock)
        return None

    def _admit(self, sock: socket.socket) -> None:
        peer = self._guard.admit(sock)
        if peer is not None:
            self.arriving += 1
            self._accepted(sock, peer, self)
