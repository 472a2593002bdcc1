"""From an address to a connected, non-blocking socket, on any event loop or by threads.

`resolve` gives the candidates that an address stands for: names are looked up by the system (in a thread, unless they
are literal). `connect` tries one of them; a hybrid vsock is asked for its port. Which one is tried when is `racing`'s
to say. Everything that fails raises `ConnectError`. How to wait is the caller's to say (`Waits`); the `anyio` module
knows it for event loops. Imports `errors`, `address`, `contract` and `sockets`.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from inspect import isawaitable
from typing import Any

from wire.errors import ConnectError
from wire.transport import sockets
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
    parse_address,
    printable,
)
from wire.transport.contract import Candidate
from wire.transport.http_proxy import ask_proxy
from wire.transport.waits import Waits

_MAX_ANSWER_BYTES = (
    64  # "OK ", a port of at most ten digits and a newline, with room to spare for naming a wrong answer
)


async def connect(candidate: Candidate, timeout_s: float, waits: Waits) -> socket.socket:
    """A connected socket, its options set. Closes what it opened when it is cancelled. Raises `ConnectError`."""
    try:
        with waits.fail_after(timeout_s):
            return await _connect(candidate.address, candidate.family, candidate.sockaddr, waits)
    except TimeoutError:
        timed_out = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        raise sockets.connect_error(candidate.address, timed_out) from None


async def resolve(address: Address, timeout_s: float, waits: Waits) -> list[Candidate]:
    """Every socket address that `address` stands for, in the order of the name look-up. Raises `ConnectError`."""
    if isinstance(address, VsockAddress):
        if address.cid == CID_ANY or address.port == VSOCK_PORT_ANY:
            raise ConnectError(f"cannot connect to {address}: give a CID and a port; `any` is for listening")
        return [Candidate(address, sockets.AF_VSOCK, (address.cid, address.port))]
    if isinstance(address, UnixAddress | HybridVsockAddress):
        return [Candidate(address, sockets.AF_UNIX, sockets.unix_sockaddr(address))]
    if isinstance(address, MemoryAddress):
        return [Candidate(address, -1, address.name)]
    if isinstance(address, DialedAddress):
        return [Candidate(address, -1, None)]
    candidates: list[Candidate] = []
    try:
        with waits.fail_after(timeout_s):
            if isinstance(address, DiscoveredAddress):
                return await _discover(address, timeout_s, waits)
            if isinstance(address, ProxiedAddress):
                found = await _look_up(address.proxy, waits)
                return [replace(candidate, address=address) for candidate in found]
            for one in address.addresses if isinstance(address, TcpAddresses) else (address,):
                candidates += await _look_up(one, waits)
    except TimeoutError:
        if isinstance(address, DiscoveredAddress):
            raise ConnectError(f"cannot connect to {address}: its resolver did not answer", errno.ETIMEDOUT) from None
        raise sockets.connect_error(address, socket.gaierror(socket.EAI_AGAIN, "")) from None
    return candidates


async def _discover(address: DiscoveredAddress, timeout_s: float, waits: Waits) -> list[Candidate]:
    """What the user's function finds. Whatever it raises is why there is no connection."""
    try:
        found = address.find(address.name)
        texts = await found if isawaitable(found) else found
        if isinstance(texts, str):
            raise TypeError("it gave one text and not a sequence of addresses")
        addresses = [parse_address(text) for text in texts]
    except TimeoutError:
        raise  # the time for connecting is over
    except Exception as error:
        raise ConnectError(
            f"cannot connect to {address}: its resolver failed: {error or type(error).__name__}"
        ) from error
    if not addresses:
        raise ConnectError(f"cannot connect to {address}: its resolver found no address")
    return [candidate for each in addresses for candidate in await resolve(each, timeout_s, waits)]


async def _look_up(address: TcpAddress, waits: Waits) -> list[Candidate]:
    family = sockets.FAMILIES[address.family]
    try:
        try:  # a literal address needs no thread
            found: list[Any] = socket.getaddrinfo(
                address.host, address.port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST
            )
        except socket.gaierror:
            found = await waits.getaddrinfo(address.host, address.port, family=family, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise sockets.connect_error(address, error) from None
    return [Candidate(address, entry[0], entry[4]) for entry in found] + _rest_of_localhost(address, found)


def _rest_of_localhost(address: TcpAddress, found: list[Any]) -> list[Candidate]:
    """`localhost` is every loopback address that the machine has, whatever it is told of it (RFC 6761 §6.3): servers
    listen on either."""
    if address.host.lower() != "localhost" or address.family != "any":
        return []
    families = {entry[0] for entry in found}
    loopbacks = {
        socket.AF_INET: ("127.0.0.1", address.port),
        socket.AF_INET6: ("::1", address.port, 0, 0),
    }
    return [
        Candidate(address, family, sockaddr)
        for family, sockaddr in loopbacks.items()
        if family not in families and sockets.has_loopback(family)
    ]


async def _connect(address: Address, family: int, sockaddr: Any, waits: Waits) -> socket.socket:
    if isinstance(address, DialedAddress):
        return await _dial(address)
    try:
        sock = sockets.new_socket(family)
    except OSError as error:
        raise sockets.connect_error(address, error) from None
    try:
        await _connect_socket(sock, sockaddr, waits)
        sockets.tune(sock)
        if isinstance(address, HybridVsockAddress):
            await _ask_for_port(sock, address, waits)
        elif isinstance(address, ProxiedAddress):
            await ask_proxy(sock, address, waits)
    except OSError as error:  # a ConnectError is one
        sock.close()
        if isinstance(error, ConnectError):
            raise
        raise sockets.connect_error(address, error) from None
    except BaseException:
        sock.close()
        raise
    return sock


async def _dial(address: DialedAddress) -> socket.socket:
    """Have the user's function connect. Whatever it raises is why there is no connection."""
    try:
        dialed = address.dial()
        sock = dialed if isinstance(dialed, socket.socket) else await dialed
        if not isinstance(sock, socket.socket):
            raise TypeError(f"it gave {type(sock).__name__} and not a socket")
        if sock.type != socket.SOCK_STREAM:
            sock.close()
            raise TypeError("it gave a socket that is no stream")
        sock.setblocking(False)
        sockets.tune(sock)
    except TimeoutError:
        raise  # the time for connecting is over
    except Exception as error:
        raise sockets.connect_error(address, error) from error
    return sock


async def _connect_socket(sock: socket.socket, sockaddr: Any, waits: Waits) -> None:
    pause_s = 0.005
    while True:
        number = sock.connect_ex(sockaddr)
        if number == errno.EAGAIN:  # AF_UNIX with a full backlog: nothing tells when there is room (connect(2))
            await waits.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)
            continue
        if number == errno.EINPROGRESS:
            await waits.wait_writable(sock)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        return


async def _ask_for_port(sock: socket.socket, address: HybridVsockAddress, waits: Waits) -> None:
    """The host's side of hybrid vsock: send `CONNECT port`, read `OK …`.

    Takes no byte behind that line off the socket: the guest may have spoken already.
    """
    sock.send(b"CONNECT %d\n" % address.port)  # fits: nothing was sent before
    answer = b""
    try:
        while not answer.endswith(b"\n"):
            await waits.wait_readable(sock)
            seen = sock.recv(_MAX_ANSWER_BYTES - len(answer), socket.MSG_PEEK)
            line, newline, _ = seen.partition(b"\n")
            answer += sock.recv(len(line) + len(newline))
            if not seen:
                raise ConnectionResetError
            if len(answer) == _MAX_ANSWER_BYTES:
                break
    except (ConnectionResetError, BrokenPipeError):
        reason = f"nothing listens on port {address.port} in the guest (the VMM closed the connection)"
        raise ConnectError(f"cannot connect to {address}: {reason}", errno.ECONNREFUSED) from None
    if answer.rstrip() != b"OK" and not answer.startswith(b"OK "):
        shown = printable(answer.rstrip().decode("latin-1"))
        reason = f'what listens at {printable(address.path)} answered "{shown}" instead of "OK": it is no hybrid vsock'
        raise ConnectError(f"cannot connect to {address}: {reason}", errno.EPROTO)
