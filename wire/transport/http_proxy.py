"""Connections through an HTTP proxy: which one a target is reached by, and what it is asked (CONNECT, RFC 9110 §9.3.6).

Imports `errors`, `address` and `connecting`'s `Waits`.
"""

from __future__ import annotations

import errno
import socket
from base64 import b64encode
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from wire.errors import ConfigurationError, ConnectError
from wire.transport.address import Address, ProxiedAddress, TcpAddress, printable
from wire.transport.waits import Waits

ENVIRONMENT: Final = "environment"
_MAX_ANSWER_BYTES: Final = 16_384


def through_proxy(address: Address, proxy: str | None, *, tls: bool) -> Address:
    """Where to connect so that `address` is reached by way of `proxy`, which is a URL (`ChannelConfig.http_proxy`).

    "environment" takes the variables https_proxy (with TLS) or http_proxy, less what no_proxy names and this machine
    itself, as other programs do. Raises `ConfigurationError`.
    """
    if proxy is None:
        return address
    if proxy != ENVIRONMENT:
        if not isinstance(address, TcpAddress):
            raise ConfigurationError(f"http_proxy is for one host and port, and {address} is none")
        return _proxied(address, proxy)
    if not isinstance(address, TcpAddress) or _is_here(address.host):
        return address
    proxies = getproxies_environment()
    url = proxies.get("https" if tls else "http")
    if not url or proxy_bypass_environment(f"{address.host}:{address.port}", proxies):
        return address
    return _proxied(address, url if "://" in url else f"http://{url}")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _proxied(address: TcpAddress, url: str) -> ProxiedAddress:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http" or parts.path not in ("", "/"):
        raise ConfigurationError('an http_proxy reads "http://host:port" or "http://user:password@host:port"')
    authorization = None
    if parts.username is not None:  # RFC 7617
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return ProxiedAddress(address, TcpAddress(host, port or 80), authorization)


async def ask_proxy(sock: socket.socket, address: ProxiedAddress, waits: Waits) -> None:
    """Have a proxy that was connected to go on to the target. Takes nothing off the socket that is the target's: it may
    have spoken already. Raises `ConnectError`, and OSError when the connection breaks."""
    target = address.target
    name = f"[{target.host}]" if ":" in target.host else target.host
    authority = f"{name}:{target.port}"
    fields = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if address.authorization is not None:
        fields.append(f"Proxy-Authorization: {address.authorization}")
    sock.send("\r\n".join([*fields, "", ""]).encode())  # fits: nothing was sent before
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        await waits.wait_readable(sock)
        seen = sock.recv(_MAX_ANSWER_BYTES - len(answer), socket.MSG_PEEK)
        end = (answer + seen).find(b"\r\n\r\n")
        answer += sock.recv(len(seen) if end < 0 else end + 4 - len(answer))
        if not seen:
            raise ConnectError(f"cannot connect to {address}: the proxy closed the connection", errno.ECONNRESET)
        if len(answer) == _MAX_ANSWER_BYTES:
            break
    version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1.") or not answer.endswith(b"\r\n\r\n"):
        raise ConnectError(f"cannot connect to {address}: what listens there is no HTTP proxy", errno.EPROTO)
    if not status.startswith("2"):
        said = printable(status[:100])
        raise ConnectError(f'cannot connect to {address}: the proxy answered "{said}"', errno.ECONNREFUSED)
