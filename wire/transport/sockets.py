"""One code path for the sockets of every transport: addresses in, non-blocking sockets out, and errnos as sentences.

TCP, UNIX and AF_VSOCK differ here and nowhere else: which options exist, how a name reads, what an errno means, who
the peer is. Imports `errors`, `address` and `contract`'s `Peer`; never an event loop.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from functools import cache
from typing import Any, Final

from wire.errors import ConnectError, ListenError, TransportError
from wire.transport.address import (
    CID_ANY,
    VSOCK_PORT_ANY,
    Address,
    DialedAddress,
    DiscoveredAddress,
    HybridVsockAddress,
    MemoryAddress,
    ProxiedAddress,
    TcpAddress,
    TcpAddresses,
    UnixAddress,
    VsockAddress,
)
from wire.transport.contract import Peer, SocketCounters

AF_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)
AF_VSOCK: Final[int] = getattr(socket, "AF_VSOCK", -1)
_UCRED = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid
# PyPy has no name for it; this is its number on Linux, in asm-generic/socket.h.
_SO_PEERCRED: int | None = getattr(
    socket, "SO_PEERCRED", 17 if sys.platform == "linux" and os.uname().machine in {"x86_64", "aarch64"} else None
)
FAMILIES: Final = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


class BoundSocket(socket.socket):
    """A listening socket that remembers its address, and removes the UNIX socket file it made when it is closed.

    Only the process that bound it removes the file: one that inherited the socket leaves it to the others.
    """

    address: Address | None = None
    _file: tuple[str, int, int] | None = None  # path, inode, owner's process id

    def own_file(self, path: str) -> None:
        self._file = path, os.stat(path).st_ino, os.getpid()

    def close(self) -> None:
        owned, self._file = self._file, None
        if owned is not None and owned[2] == os.getpid():
            try:
                if os.stat(owned[0]).st_ino == owned[1]:  # another server may have taken the path over
                    os.unlink(owned[0])
            except OSError:
                pass
        super().close()


_TCP_INFO: Final = struct.Struct("=68xI48xQQ")
"""tcpi_rtt, tcpi_bytes_acked and tcpi_bytes_received of <linux/tcp.h>."""
_TCP_INFO_BYTES: Final = _TCP_INFO.size


def bind(address: Address, *, backlog: int = 1024, reuse_port: bool = False) -> BoundSocket:
    """A non-blocking listening socket. Port 0 (TCP) and port `any` (VSOCK) let the kernel choose.

    A name with several IP addresses binds the first that can be, IPv4 first; `[::]` takes IPv4 too. A UNIX socket
    file that a dead server left is replaced. `reuse_port`: several sockets may share the port (TCP only, see
    `can_reuse_port`). Raises `ListenError`.
    """
    if reuse_port and not can_reuse_port(address):
        raise ListenError(f"cannot listen on {address}: only TCP ports can be shared between sockets; share the socket")
    if isinstance(address, TcpAddresses):
        raise ListenError(f"cannot listen on {address}: it names several addresses; listen on each of them")
    if isinstance(address, MemoryAddress | DialedAddress | DiscoveredAddress | ProxiedAddress):
        raise ListenError(f"cannot bind {address}: it has no socket; give it to Server.listen")
    if isinstance(address, VsockAddress):
        return _bind(address, AF_VSOCK, (address.cid, address.port), backlog)
    if isinstance(address, UnixAddress):
        return _bind(address, AF_UNIX, _unix_sockaddr(address), backlog)
    if isinstance(address, HybridVsockAddress):
        return _bind(address, AF_UNIX, address.listen_path, backlog)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, FAMILIES[address.family], socket.SOCK_STREAM, 0, socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise listen_error(address, error) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # stable; clients of "localhost" mostly try 127.0.0.1 only
    refusal: ListenError | None = None
    for family, _, _, _, sockaddr in found:
        try:
            return _bind(address, family, sockaddr, backlog, reuse_port)
        except ListenError as error:
            refusal = refusal or error
    assert refusal is not None  # getaddrinfo gives at least one entry
    raise refusal


def can_reuse_port(address: Address) -> bool:
    """Whether SO_REUSEPORT spreads connections over sockets here; AF_UNIX ignores it and AF_VSOCK refuses it."""
    return isinstance(address, TcpAddress) and hasattr(socket, "SO_REUSEPORT")


@cache
def has_loopback(family: int) -> bool:
    """Whether this machine has a loopback address of AF_INET or AF_INET6. It is asked once."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    except OSError:
        return False
    return True


def bound_address(sock: socket.socket) -> str:
    """What a listening socket is bound to, the kernel's choice of port included."""
    if isinstance(sock, BoundSocket) and isinstance(sock.address, HybridVsockAddress):
        return str(sock.address)
    return _name(sock.family, sock.getsockname())


def local_address(sock: socket.socket) -> str | None:
    """This end's name; None once the socket is closed."""
    try:
        return _name(sock.family, sock.getsockname())
    except OSError:
        return None


def new_socket(family: int) -> socket.socket:
    """A non-blocking stream socket. Raises OSError with EAFNOSUPPORT where the kernel or Python lacks the family."""
    sock = socket.socket(_supported(family), socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def tune(sock: socket.socket) -> None:
    """Options of a connected socket. Nagle's algorithm would hold small frames back; only TCP has it."""
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_of(sock: socket.socket) -> Peer:
    """Who is at the other end of a connected socket. Raises OSError when it is gone already."""
    name = sock.getpeername()
    if sock.family == AF_VSOCK:
        return Peer(_name(AF_VSOCK, name), cid=name[0])
    if sock.family == AF_UNIX and _SO_PEERCRED is not None:
        credentials = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size)
        pid, uid, gid = _UCRED.unpack(credentials)
        return Peer(_name(AF_UNIX, name), uid=uid, gid=gid, pid=pid or None)  # 0: in a PID namespace we cannot see
    return Peer(_name(sock.family, name))


def tcp_counters(descriptor: int) -> SocketCounters | None:
    """Linux's `struct tcp_info` of a socket; None of any other."""
    if not hasattr(socket, "TCP_INFO") or descriptor < 0:
        return None
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            if sock.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:  # closed meanwhile
        return None
    if len(info) < _TCP_INFO_BYTES:  # before Linux 4.1
        return None
    round_trip_us, sent, received = _TCP_INFO.unpack(info)
    return SocketCounters(received, sent, round_trip_us / 1e6)


def unix_sockaddr(address: UnixAddress | HybridVsockAddress) -> str | bytes:
    """What `connect` takes; a hybrid vsock is dialled at its VMM's socket."""
    return _unix_sockaddr(address) if isinstance(address, UnixAddress) else address.path


# Errors: one table per transport and direction. `{…}` are fields of the address.

_CONNECT: dict[type[Any], dict[int, str]] = {
    TcpAddress: {
        errno.ECONNREFUSED: "nothing listens there (connection refused)",
        errno.ETIMEDOUT: "no answer (connection timed out)",
        errno.EHOSTUNREACH: "there is no route to that host",
        errno.ENETUNREACH: "this machine has no route to that network",
        errno.ECONNRESET: "the peer reset the connection",
        errno.EACCES: "a firewall rule of this machine forbids it",
        errno.EPERM: "a firewall rule of this machine forbids it",
        errno.EADDRNOTAVAIL: "this machine has no address or no free port left to connect from",
        errno.EAFNOSUPPORT: "this machine does not support that address family",
    },
    UnixAddress: {
        errno.ENOENT: "no such socket; is the server running?",
        errno.ECONNREFUSED: "nothing listens there (connection refused); is the server running?",
        errno.EACCES: "permission denied; connecting needs write permission on the socket and its directories",
        errno.ENOTDIR: "a part of its path is not a directory",
        errno.EPROTOTYPE: "that socket is not a stream socket",
        errno.ETIMEDOUT: "its queue of waiting connections stayed full",
        errno.EAFNOSUPPORT: "this machine has no UNIX sockets",
    },
    VsockAddress: {
        errno.ENODEV: "no VM with CID {cid} is running",
        errno.ECONNRESET: "nothing listens on vsock port {port} of CID {cid}",
        errno.ECONNREFUSED: "nothing listens on vsock port {port} of CID {cid}",
        errno.ETIMEDOUT: "no answer; CID {cid} is not running, may not be reached, or forwards nothing to port {port}",
        errno.EHOSTUNREACH: "CID {cid} cannot be reached from here",
        errno.ENETUNREACH: "CID {cid} cannot be reached from here",
        errno.EADDRNOTAVAIL: "CID {cid} cannot be connected to",
        errno.EINVAL: "CID {cid} cannot be connected to",
        errno.EACCES: "permission denied; this process may not use vsock",
        errno.EPERM: "permission denied; this process (or its container) may not use vsock",
    },
}
_CONNECT[MemoryAddress] = {
    errno.ECONNREFUSED: "no server of this process listens there",
    errno.ECONNRESET: "the server ended the connection as it was made",
}
_CONNECT[DiscoveredAddress] = {}
_CONNECT[ProxiedAddress] = _CONNECT[TcpAddress]
_CONNECT[DialedAddress] = {errno.EBADF: "the socket that was made for it is closed"}
_CONNECT[HybridVsockAddress] = _CONNECT[UnixAddress] | {
    errno.ENOENT: "no such socket; is the VM running, with a vsock device at that path?",
    errno.ECONNREFUSED: "nothing listens on that socket (connection refused); is the VM running?",
    errno.ETIMEDOUT: "no answer to CONNECT {port}",
}

_LISTEN: dict[type[Any], dict[int, str]] = {
    TcpAddress: {
        errno.EADDRINUSE: "port {port} is taken by another program",
        errno.EADDRNOTAVAIL: "{host} is not an address of this machine",
        errno.EACCES: "port {port} needs privileges; take one from 1024 up",
        errno.EAFNOSUPPORT: "this machine does not support that address family",
    },
    UnixAddress: {
        errno.EADDRINUSE: "another program is listening there",
        errno.ENOENT: "its directory does not exist",
        errno.ENOTDIR: "a part of its path is not a directory",
        errno.EACCES: "permission denied; listening needs write permission on the directory",
        errno.EROFS: "its file system is read-only",
        errno.ENOTSOCK: "there is a file at that path that is not a socket",
        errno.EAFNOSUPPORT: "this machine has no UNIX sockets",
    },
    VsockAddress: {
        errno.EADDRINUSE: "vsock port {port} is taken by another program",
        errno.EADDRNOTAVAIL: "CID {cid} is not this machine's; listen on vsock:any:{port}",
        errno.EACCES: "vsock port {port} is below 1024 and needs privileges (CAP_NET_BIND_SERVICE)",
        errno.EPERM: "permission denied; this process (or its container) may not use vsock",
    },
}
_LISTEN[MemoryAddress] = {errno.EADDRINUSE: "another server of this process listens there"}
_LISTEN[HybridVsockAddress] = _LISTEN[UnixAddress]

_NO_VSOCK = "this machine has no vsock; it takes Linux with a vsock device (/dev/vsock)"
_EVERYWHERE = {
    errno.EMFILE: "this process has no file descriptors left (see ulimit -n)",
    errno.ENFILE: "this machine has no file descriptors left",
}
_NAME_LOOKUP = {
    socket.EAI_AGAIN: "the DNS server did not answer",
    socket.EAI_NONAME: 'the name "{host}" is not known',
}
if hasattr(socket, "EAI_NODATA"):
    _NAME_LOOKUP[socket.EAI_NODATA] = 'the name "{host}" has no address'
if hasattr(socket, "EAI_ADDRFAMILY"):
    _NAME_LOOKUP[socket.EAI_ADDRFAMILY] = 'the name "{host}" has no address of that family'

_LOST = {
    errno.ECONNRESET: "the peer reset the connection",
    errno.EPIPE: "the peer closed the connection",
    errno.ETIMEDOUT: "the peer stopped answering",
    errno.ECONNABORTED: "the connection was aborted",
    errno.EHOSTUNREACH: "the peer cannot be reached any more",
    errno.ENETUNREACH: "the peer cannot be reached any more",
}


def connect_error(address: Address, error: Exception) -> ConnectError:
    """The sentence for an attempt to connect that failed."""
    return ConnectError(f"cannot connect to {address}: {_reason(_CONNECT, address, error)}", _errno(error))


def listen_error(address: Address, error: Exception) -> ListenError:
    """The sentence for an address that could not be bound."""
    return ListenError(f"cannot listen on {address}: {_reason(_LISTEN, address, error)}", _errno(error))


def lost_error(peer: Peer, error: Exception) -> TransportError:
    """The sentence for a connection that broke, `TransportError`s as they are."""
    if isinstance(error, TransportError):
        return error
    number = _errno(error)
    reason = _LOST.get(number) if number is not None else None
    return TransportError(f"lost {peer.address}: {reason or _plain(error)}", number)


def _reason(table: dict[type[Any], dict[int, str]], address: Address, error: Exception) -> str:
    number = _errno(error)
    if isinstance(address, VsockAddress):
        if number in {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT}:
            return _NO_VSOCK
        if number in {errno.ENODEV, errno.EADDRNOTAVAIL} and not os.path.exists("/dev/vsock"):
            return _NO_VSOCK
    kind = TcpAddress if isinstance(address, TcpAddresses) else type(address)
    sentences = _NAME_LOOKUP if isinstance(error, socket.gaierror) else table[kind] | _EVERYWHERE
    sentence = sentences.get(number) if number is not None else None
    if sentence is None:
        if isinstance(error, UnicodeError):
            return "its host is not a valid name"
        return _plain(error)
    fields = {name: getattr(address, name, "") for name in ("host", "port", "cid")}
    return sentence.format(**fields)


def _plain(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _supported(family: int) -> int:
    if family == -1:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    return family


def _bind(address: Address, family: int, sockaddr: Any, backlog: int, reuse_port: bool = False) -> BoundSocket:
    try:
        sock = BoundSocket(_supported(family), socket.SOCK_STREAM)
        sock.setblocking(False)
    except OSError as error:
        raise listen_error(address, error) from None
    try:
        if family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for TIME_WAIT
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, sockaddr[0] != "::")
        if family == AF_UNIX and isinstance(sockaddr, str):
            _bind_unix_path(sock, sockaddr)
        else:
            sock.bind(sockaddr)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise listen_error(address, error) from None
    except BaseException:
        sock.close()
        raise
    sock.address = address
    return sock


def _bind_unix_path(sock: BoundSocket, path: str) -> None:
    """Bind, replacing a socket file that nothing listens on."""
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK)) from None
        with new_socket(AF_UNIX) as probe:
            if probe.connect_ex(path) != errno.ECONNREFUSED:
                raise
        os.unlink(path)
        sock.bind(path)
    sock.own_file(path)


def _unix_sockaddr(address: UnixAddress) -> str | bytes:
    return b"\0" + os.fsencode(address.path) if address.abstract else address.path


def _name(family: int, sockaddr: Any) -> str:
    """A kernel's socket name in gRPC's name syntax."""
    if family == AF_VSOCK:
        cid, port = sockaddr
        return str(VsockAddress(cid & CID_ANY, port & VSOCK_PORT_ANY))
    if family == AF_UNIX:
        if isinstance(sockaddr, bytes):
            return str(UnixAddress(os.fsdecode(sockaddr[1:]), abstract=True))
        return str(UnixAddress(sockaddr))
    if family == socket.AF_INET6:
        host = sockaddr[0]
        if host.startswith("::ffff:") and "." in host:  # an IPv4 peer of a socket that takes both
            return str(TcpAddress(host[7:], sockaddr[1], "ipv4"))
        return str(TcpAddress(host, sockaddr[1], "ipv6"))
    return str(TcpAddress(sockaddr[0], sockaddr[1], "ipv4"))
