"""Socket activation: sockets that a service manager listens on and hands over (systemd's `sd_listen_fds`).

A restart then refuses nobody: connections wait in the socket's queue. Imports `errors`.
"""

from __future__ import annotations

import os
import socket

from wire.errors import ListenError

_FIRST_DESCRIPTOR = 3


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that this process was started with, for `Server.serve`. Once: they are then the caller's.

    Raises `ListenError` when there is none (`LISTEN_FDS` and `LISTEN_PID` say so), or one is no socket that listens.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    process = os.environ.pop("LISTEN_PID", "")
    if process != str(os.getpid()) or not count.isdigit() or not int(count):
        raise ListenError("no socket was handed over: LISTEN_FDS and LISTEN_PID, which systemd sets, do not say so")
    return [_listening(descriptor) for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))]


def _listening(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"descriptor {descriptor}, which was handed over, is no socket: {error.strerror}") from None
    if not listens or sock.type != socket.SOCK_STREAM:
        raise ListenError(f"descriptor {descriptor}, which was handed over, is no stream socket that listens")
    sock.setblocking(False)
    return sock
