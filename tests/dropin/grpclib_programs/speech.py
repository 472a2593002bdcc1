"""What the programs share: how they are run, and how they say what they saw. Written for `grpclib`, whoever that is."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import sys
import traceback
from collections.abc import Callable
from typing import Any

Lines = list[str]


def plain(text: str) -> str:
    """Text without what differs from run to run: ports, addresses of objects, versions."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"(127\.0\.0\.1'?|localhost|::1'?)(:|, )\d+", r"\1\2PORT", text)
    return re.sub(r"(grpc-python-grpclib/[\d.]+ \([^)]*\))( grpc-python-wire/[\d.]+)?", "USER-AGENT", text)


def shown(value: Any) -> str:
    """A value or an exception, in words that must be the same whoever's it is."""
    if isinstance(value, BaseException):
        names = [each.__name__ for each in type(value).__mro__ if each not in (object, BaseException)]
        return plain(f"{' < '.join(names)}: {value!r}")
    if type(value).__name__ in {"MultiDict", "CIMultiDict"}:
        return plain(f"MultiDict({list(value.items())!r})")
    if hasattr(value, "payload"):
        return f"{type(value).__name__}({_short(value.payload)})"
    return plain(repr(value))


def _short(payload: bytes) -> str:
    return repr(payload) if len(payload) < 100 else f"{payload[:4]!r}… {len(payload)} bytes"


async def outcome(awaitable: Any) -> str:
    """What awaiting gives or raises."""
    try:
        return shown(await awaitable)
    except BaseException as error:
        return "raised " + shown(error)


class Notes:
    """What a server's handlers saw, by the name of the program that called them."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}

    def add(self, program: str, *what: Any) -> None:
        line = " ".join(each if isinstance(each, str) else shown(each) for each in what)
        self._lines.setdefault(program, []).append(line)

    async def take(self, program: str, count: int) -> Lines:
        """Waits for so many lines, and gives them."""
        async with asyncio.timeout(20):
            while len(self._lines.get(program, ())) < count:
                await asyncio.sleep(0.005)
        lines = self._lines.pop(program)
        self._lines[program] = lines[count:]
        return lines[:count]


def quiet() -> None:
    """Exceptions of handlers are part of the programs: nobody needs to read them."""
    logging.disable(logging.CRITICAL)


def report(result: object) -> None:
    print(json.dumps(result), flush=True)


def server_context(certificates: str, *, mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/server.pem", f"{certificates}/server.key")
    context.set_alpn_protocols(["h2"])
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(f"{certificates}/ca.pem")
    return context


def client_context(certificates: str, *, ca: str = "ca", certificate: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=f"{certificates}/{ca}.pem")
    context.set_alpn_protocols(["h2"])
    if certificate is not None:
        context.load_cert_chain(f"{certificates}/{certificate}.pem", f"{certificates}/{certificate}.key")
    return context


Program = Callable[..., Any]


async def run_programs(programs: dict[str, Program], *args: Any, limit_s: float = 60.0) -> dict[str, Lines]:
    """Run each program to its end; one that fails or hangs says so in its lines."""
    results: dict[str, Lines] = {}
    only = set(sys.argv[2:])
    for name, program in programs.items():
        if only and name not in only:
            continue
        lines: Lines = []

        def say(*what: Any, lines: Lines = lines) -> None:
            lines.append(" ".join(each if isinstance(each, str) else shown(each) for each in what))

        try:
            async with asyncio.timeout(limit_s):
                await program(say, name, *args)
        except BaseException as error:
            lines.append("FAILED " + "".join(traceback.format_exception(error)))
        results[name] = lines
    return results
