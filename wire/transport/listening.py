"""From an address to what a runtime accepts on. Imports `address`, `contract`, `memory` and `sockets`."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeGuard

from wire.errors import ListenError
from wire.transport import sockets
from wire.transport.address import Address, MemoryAddress, TcpAddress
from wire.transport.contract import ListeningSocket
from wire.transport.memory import name_memory
from wire.transport.sockets import BoundSocket

_TRIES: Final = 20  # to find a port that is free in both families
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def listen_on(address: Address, *, backlog: int = 1024, reuse_port: bool = False) -> Sequence[ListeningSocket]:
    """What `Runtime.listen` takes for an address: sockets (`bind_all`), or a name within the process, one that nobody
    has where the address leaves it open. Raises `ListenError`."""
    if not isinstance(address, MemoryAddress):
        return bind_all(address, backlog=backlog, reuse_port=reuse_port)
    if reuse_port:
        raise ListenError(f"cannot listen on {address}: only TCP ports can be shared between sockets")
    return [name_memory(address)]


def bind_all(address: Address, *, backlog: int = 1024, reuse_port: bool = False) -> list[BoundSocket]:
    """As `sockets.bind`; `localhost` is listened on in both families, as 127.0.0.1 and ::1 with the same port, or in
    the one that this machine has (RFC 6761 §6.3)."""
    if not _is_localhost(address):
        return [sockets.bind(address, backlog=backlog, reuse_port=reuse_port)]
    for _ in range(_TRIES):
        bound: list[BoundSocket] = []
        refusals: list[ListenError] = []
        port = address.port
        for literal in (TcpAddress("127.0.0.1", port, "ipv4"), TcpAddress("::1", port, "ipv6")):
            try:
                sock = sockets.bind(replace(literal, port=port), backlog=backlog, reuse_port=reuse_port)
            except ListenError as error:
                refusals.append(error)
                continue
            bound.append(sock)
            port = sock.getsockname()[1]
        if bound and all(error.errno in _NO_FAMILY for error in refusals):
            return bound
        for sock in bound:
            sock.close()
        if address.port or not bound:
            break  # else the port that the kernel chose in one family is taken in the other
    raise refusals[0]


def bound_address(*socks: ListeningSocket) -> str:
    """What the sockets of one address are bound to, the kernel's choice of port included."""
    first = socks[0]
    if isinstance(first, MemoryAddress):
        return str(first)
    if len(socks) > 1:
        return str(TcpAddress("localhost", first.getsockname()[1]))
    return sockets.bound_address(first)


def _is_localhost(address: Address) -> TypeGuard[TcpAddress]:
    return isinstance(address, TcpAddress) and address.family == "any" and address.host.lower() == "localhost"
