"""Sockets that `grpclib.server.Server.start` listens on, made as asyncio's `create_server` makes them."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Collection, Sequence


class Listening:
    """What asyncio's `Server` tells of its sockets: tests read the port off `server._server.sockets`."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = tuple(sockets)


async def tcp(
    host: str | Collection[str] | None,
    port: int | None,
    family: int,
    flags: int,
    reuse_address: bool | None,
    reuse_port: bool | None,
) -> list[socket.socket]:
    """One socket for each address of each host; None and "" are all interfaces. Raises OSError."""
    hosts = [host or None] if host is None or isinstance(host, str) else list(host)
    loop = asyncio.get_running_loop()
    addresses: dict[tuple[int, object], None] = {}  # in order, each once
    for each in hosts:
        for found in await loop.getaddrinfo(each, port or 0, family=family, type=socket.SOCK_STREAM, flags=flags):
            addresses[found[0], found[4]] = None
    sockets: list[socket.socket] = []
    try:
        for found_family, address in addresses:
            sockets.append(_bound(found_family, address, reuse_address, reuse_port))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, address: object, reuse_address: bool | None, reuse_port: bool | None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if reuse_address is not False:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)  # type: ignore[arg-type]
    except OSError as error:
        sock.close()
        text = f"error while attempting to bind on address {address!r}: {(error.strerror or str(error)).lower()}"
        raise OSError(error.errno, text) from None
    return sock


def unix(path: str) -> socket.socket:
    """A UNIX socket at `path`, in place of one that is there already. Raises OSError."""
    if not path.startswith("\0"):
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                os.remove(path)
        except FileNotFoundError:
            pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock
