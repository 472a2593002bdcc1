"""From an address to what a runtime accepts on: `listen_on`. Imports `address`, `contract`, `memory` and `sockets`."""

from __future__ import annotations

from wire.errors import ListenError
from wire.transport import sockets
from wire.transport.address import Address, MemoryAddress
from wire.transport.contract import ListeningSocket
from wire.transport.memory import name_memory


def listen_on(address: Address, *, backlog: int = 1024, reuse_port: bool = False) -> ListeningSocket:
    """What `Runtime.listen` takes for an address: a socket (`sockets.bind`), or a name within the process, one that
    nobody has where the address leaves it open. Raises `ListenError`."""
    if not isinstance(address, MemoryAddress):
        return sockets.bind(address, backlog=backlog, reuse_port=reuse_port)
    if reuse_port:
        raise ListenError(f"cannot listen on {address}: only TCP ports can be shared between sockets")
    return name_memory(address)


def bound_address(sock: ListeningSocket) -> str:
    """What it is bound to, the kernel's choice of port included."""
    return str(sock) if isinstance(sock, MemoryAddress) else sockets.bound_address(sock)
