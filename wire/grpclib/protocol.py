"""`grpclib.protocol`: who is at the other end. What else is in grpclib's module is wire's HTTP/2, and not here."""

from __future__ import annotations

from typing import Any


class Peer:
    """The other end of a call's connection."""

    __slots__ = ("_peer",)

    def __init__(self, peer: Any) -> None:
        """`peer`: wire's, as the call's context has it; None for one in this process."""
        self._peer = peer

    def addr(self) -> Any:
        """Its address as sockets name it: (host, port) over IPv4, with two numbers more over IPv6, a path over UNIX
        sockets; None in this process."""
        return None if self._peer is None else _socket_name(self._peer.address)

    def cert(self) -> dict[str, Any] | None:
        """Its certificate, as `ssl.SSLSocket.getpeercert` gives it; None without one."""
        fields = None if self._peer is None else self._peer.certificate_fields
        return None if fields is None else dict(fields)


def _socket_name(address: str) -> Any:
    scheme, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    if scheme == "ipv4":
        return host, int(port)
    if scheme == "ipv6":
        return host.strip("[]"), int(port), 0, 0
    if scheme == "vsock":
        return int(host), int(port)
    return rest
