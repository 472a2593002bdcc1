"""Where a peer listens: gRPC's name syntax in, frozen dataclasses out, and back again with `str`.

| text                                             | meaning                                                           |
|--------------------------------------------------|-------------------------------------------------------------------|
| `host:port`, `dns:host:port`, `dns:///host:port` | a name looked up by the system; a literal IP address is one too   |
| `ipv4:127.0.0.1:port`, `ipv6:[::1]:port`         | literal addresses, several separated by commas (to connect only)  |
| `[::1]:port`                                     | the same as `ipv6:[::1]:port`                                     |
| `unix:path`, `unix:///absolute/path`             | a UNIX socket in the file system                                  |
| `unix-abstract:name`                             | a UNIX socket in Linux' abstract namespace                        |
| `vsock:CID:port`                                 | AF_VSOCK; CID a number, `any` (listen), `host` (2) or `local` (1);|
|                                                  | port a number or `any` (listen: the kernel chooses)               |
| `hvsock:///path/v.sock:port`                     | the hybrid vsock of Firecracker and Cloud Hypervisor              |
| `memory:name`                                    | within this process, without sockets; `memory:` (listen): a name  |
|                                                  | that is free                                                      |

Source: gRPC's naming.md; `hvsock` and `memory` are ours. A `dns:`, `ipv4:` or `ipv6:` name without a port gets 443, as
naming.md says; text that has neither scheme nor port is refused, because it is nearly always a slip. A DNS server in
the name (`dns://8.8.8.8/…`) is refused: names are looked up by the system. A host that is called like a scheme needs
one: `dns:///memory:50051`. Everything malformed raises `AddressError`. Imports only `errors`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from wire.errors import AddressError

DEFAULT_PORT: Final = 443  # naming.md
CID_ANY: Final = 2**32 - 1  # VMADDR_CID_ANY of <linux/vm_sockets.h>
CID_HOST: Final = 2  # VMADDR_CID_HOST
CID_LOCAL: Final = 1  # VMADDR_CID_LOCAL
VSOCK_PORT_ANY: Final = 2**32 - 1  # VMADDR_PORT_ANY; 0 is a port like any other
MAX_UNIX_NAME_BYTES: Final = (
    107  # sun_path of unix(7) less its closing NUL, or less the NUL that opens an abstract name
)

_CIDS = {"any": CID_ANY, "host": CID_HOST, "local": CID_LOCAL}
_CID_NAMES = {number: name for name, number in _CIDS.items()}
_HOST = re.compile(r"[^\s/:@,\[\]*?#%]+")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """`host`: a name or a literal IP address without brackets. `family` "any" leaves the choice to the name look-up."""

    host: str
    port: int
    family: Literal["any", "ipv4", "ipv6"] = "any"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns:///{host}:{self.port}" if self.family == "any" else f"{self.family}:{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TcpAddresses:
    """Several literal addresses under one name; each is tried in turn."""

    addresses: tuple[TcpAddress, ...]

    def __str__(self) -> str:
        scheme = self.addresses[0].family
        return f"{scheme}:" + ",".join(str(address).removeprefix(f"{scheme}:") for address in self.addresses)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """`path` in the file system, or the name in the abstract namespace when `abstract`; "" is an unnamed socket."""

    path: str
    abstract: bool = False

    def __str__(self) -> str:
        return f"{'unix-abstract' if self.abstract else 'unix'}:{printable(self.path)}"


@dataclass(frozen=True, slots=True)
class VsockAddress:
    cid: int
    port: int

    def __str__(self) -> str:
        return f"vsock:{_CID_NAMES.get(self.cid, self.cid)}:{'any' if self.port == VSOCK_PORT_ANY else self.port}"


@dataclass(frozen=True, slots=True)
class HybridVsockAddress:
    """Port `port` of the guest whose VMM made the UNIX socket `path`. Listened on, it is the UNIX socket
    `path_port`."""

    path: str
    port: int

    @property
    def listen_path(self) -> str:
        """Where the VMM connects when the guest connects to `port` of its host."""
        return f"{self.path}_{self.port}"

    def __str__(self) -> str:
        return f"hvsock:{'//' if self.path.startswith('/') else ''}{printable(self.path)}:{self.port}"


@dataclass(frozen=True, slots=True)
class MemoryAddress:
    """`name` within this process; "" leaves it open, and is what those who connect are called."""

    name: str

    def __str__(self) -> str:
        return f"memory:{printable(self.name)}"


Dial = Callable[[], socket.socket | Awaitable[socket.socket]]
"""Makes a connected stream socket, a new one for each call."""


@dataclass(frozen=True, slots=True)
class DialedAddress:
    """Whatever `dial` connects to; it has no text that could be parsed."""

    dial: Dial

    def __str__(self) -> str:
        return f"dial:{getattr(self.dial, '__qualname__', type(self.dial).__qualname__)}"


Find = Callable[[str], Sequence[str] | Awaitable[Sequence[str]]]
"""What gives the addresses that a name stands for, in gRPC's name syntax."""


@dataclass(frozen=True, slots=True)
class DiscoveredAddress:
    """Whatever `find` says that `name` stands for, each time that it is asked."""

    name: str
    find: Find

    def __str__(self) -> str:
        return printable(self.name)


@dataclass(frozen=True, slots=True)
class ProxiedAddress:
    """`target` by way of an HTTP proxy, which looks the name up. It has no text that could be parsed."""

    target: TcpAddress
    proxy: TcpAddress
    authorization: str | None = field(default=None, repr=False)
    """What the proxy is shown in Proxy-Authorization."""

    @property
    def host(self) -> str:
        """Of the proxy, which errors of connecting are about."""
        return self.proxy.host

    @property
    def port(self) -> int:
        return self.proxy.port

    def __str__(self) -> str:
        return f"{self.target} through the proxy {self.proxy}"


Address = (
    TcpAddress
    | TcpAddresses
    | UnixAddress
    | VsockAddress
    | HybridVsockAddress
    | MemoryAddress
    | DialedAddress
    | DiscoveredAddress
    | ProxiedAddress
)


def parse_address(text: str) -> Address:
    """Read gRPC's name syntax. Raises `AddressError`."""
    scheme, colon, rest = text.partition(":")
    if colon and (parse := _SCHEMES.get(scheme)):
        return parse(text, rest)
    if not text:
        raise AddressError('the address is empty; write one such as "127.0.0.1:50051" or "unix:/run/app.sock"')
    if "://" in text:
        known = ", ".join(f"{name}:" for name in _SCHEMES)
        _refuse(text, f'its scheme "{scheme}:" is not one of {known}; a plain address reads "host:port"')
    host, port = _host_and_port(text, text, None)
    if ":" in host:
        return TcpAddress(_literal(text, host, "ipv6"), port, "ipv6")
    return TcpAddress(host, port, "ipv4" if _is_literal(host, "ipv4") else "any")


def printable(name: str) -> str:
    """`name` fit for a log line: what cannot be printed is escaped."""
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


def _refuse(text: str, reason: str) -> NoReturn:
    raise AddressError(f'cannot use the address "{printable(text)}": {reason}')


def _parse_dns(text: str, rest: str) -> Address:
    if rest.startswith("//"):
        server, slash, rest = rest[2:].partition("/")
        if not slash:
            _refuse(text, 'a name behind "dns:" takes no slash or three, as in "dns:///host:port"')
        if server:
            _refuse(text, 'asking a DNS server of its own is not supported; write "dns:///host:port"')
    return TcpAddress(*_host_and_port(text, rest, DEFAULT_PORT))


def _parse_literals(text: str, rest: str) -> Address:
    scheme: Literal["ipv4", "ipv6"] = "ipv4" if text.startswith("ipv4:") else "ipv6"
    addresses = []
    for item in rest.split(","):
        if scheme == "ipv6" and not item.startswith("[") and _is_literal(item, "ipv6"):
            host, port = item, DEFAULT_PORT
        else:
            host, port = _host_and_port(text, item, DEFAULT_PORT)
        addresses.append(TcpAddress(_literal(text, host, scheme), port, scheme))
    return addresses[0] if len(addresses) == 1 else TcpAddresses(tuple(addresses))


def _parse_unix(text: str, rest: str) -> Address:
    if rest.startswith("//") and not (rest := rest[2:]).startswith("/"):
        _refuse(text, 'a path behind "unix://" is absolute, as in "unix:///run/app.sock"')
    return UnixAddress(_unix_name(text, rest))


def _parse_unix_abstract(text: str, rest: str) -> Address:
    return UnixAddress(_unix_name(text, rest), abstract=True)


def _parse_vsock(text: str, rest: str) -> Address:
    cid_text, colon, port_text = rest.removeprefix("//").rpartition(":")
    if not colon:
        _refuse(text, 'a vsock address reads "vsock:CID:PORT"')
    cid = _CIDS.get(cid_text)
    if cid is None:
        cid = _number(cid_text, CID_ANY - 1)
    if cid is None:
        _refuse(text, f'the CID is a number up to {CID_ANY - 1}, "any", "host" or "local"')
    return VsockAddress(cid, VSOCK_PORT_ANY if port_text == "any" else _vsock_port(text, port_text))


def _parse_hvsock(text: str, rest: str) -> Address:
    if rest.startswith("//") and not (rest := rest[2:]).startswith("/"):
        _refuse(text, 'a path behind "hvsock://" is absolute, as in "hvsock:///run/v.sock:5000"')
    path, colon, port_text = rest.rpartition(":")
    if not colon:
        _refuse(text, 'a hybrid vsock address reads "hvsock:///path/to/v.sock:PORT"')
    address = HybridVsockAddress(path, _vsock_port(text, port_text))
    _unix_name(text, path and address.listen_path)
    return address


def _parse_memory(text: str, rest: str) -> Address:
    return MemoryAddress(rest)


_SCHEMES = {
    "dns": _parse_dns,
    "ipv4": _parse_literals,
    "ipv6": _parse_literals,
    "unix": _parse_unix,
    "unix-abstract": _parse_unix_abstract,
    "vsock": _parse_vsock,
    "hvsock": _parse_hvsock,
    "memory": _parse_memory,
}


def _host_and_port(text: str, rest: str, default_port: int | None) -> tuple[str, int]:
    """Split `host:port`, `[host]:port`, and either without its port where there is a default."""
    if rest.startswith("["):
        host, bracket, port_text = rest[1:].partition("]")
        if not bracket or (port_text and not port_text.startswith(":")):
            _refuse(text, 'an IPv6 address reads "[address]:port"')
        colon, port_text = port_text[:1], port_text[1:]
        host = _literal(text, host, "ipv6")
    else:
        host, colon, port_text = rest.partition(":")
        if ":" in port_text:
            _refuse(text, 'an IPv6 address stands in brackets, as in "[::1]:50051"')
        if not host:
            _refuse(text, 'there is no host; to listen on every interface write "0.0.0.0:port" or "[::]:port"')
        if not (_HOST.fullmatch(host) and host.isprintable()):
            _refuse(text, "its host has a character that no host name or IP address has")
    if not colon:
        if default_port is None and _number(rest, 65_535) is not None:
            _refuse(text, f'there is no host before the port; write "localhost:{rest}"')
        if default_port is None:
            _refuse(
                text, f'there is no port; write "{printable(rest)}:50051" (or "dns:///{printable(rest)}" for port 443)'
            )
        return host, default_port
    port = _number(port_text, 65_535)
    if port is None:
        _refuse(text, f'the port "{printable(port_text)}" is not a number from 0 to 65535')
    return host, port


def _literal(text: str, host: str, family: Literal["ipv4", "ipv6"]) -> str:
    host = host.replace("%25", "%")  # RFC 6874: how a URI writes the % before an IPv6 zone
    if not _is_literal(host, family):
        _refuse(text, f'"{printable(host)}" is not an {"IPv4" if family == "ipv4" else "IPv6"} address')
    return host


def _is_literal(host: str, family: Literal["ipv4", "ipv6"]) -> bool:
    try:
        socket.inet_pton(socket.AF_INET if family == "ipv4" else socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def _unix_name(text: str, name: str) -> str:
    if not name:
        _refuse(text, "the name of the socket is missing")
    if "\0" in name:
        _refuse(text, "the name of a socket cannot hold a NUL")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_UNIX_NAME_BYTES:
        _refuse(text, f"the name of a UNIX socket has at most {MAX_UNIX_NAME_BYTES} bytes")
    return name


def _vsock_port(text: str, port_text: str) -> int:
    port = _number(port_text, VSOCK_PORT_ANY - 1)
    if port is None:
        _refuse(text, f'the port "{printable(port_text)}" is not a number from 0 to {VSOCK_PORT_ANY - 1}')
    return port


def _number(text: str, highest: int) -> int | None:
    """Digits only: `int` would also take signs, spaces and underscores."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        return None
    number = int(text)
    return number if number <= highest else None
