"""What the programs share: how they are run, and how they say what they saw. Written for `grpc`, whoever that is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import grpc

Lines = list[str]
RUN = str(os.getpid())


def plain(text: str) -> str:
    """Text without what differs from run to run: ports, addresses of objects, versions."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"((?:ipv4:)?127\.0\.0\.1|localhost|ipv6:%5B::1%5D):\d+", r"\1:PORT", text)
    return re.sub(r"(grpc-c/[\d.]+ \([a-z; 0-9]*\)|grpc-python-wire/[\d.]+)", "CORE", text)


def shown(value: Any) -> str:
    """A value, an exception or a call, in words that must be the same whoever's it is."""
    if isinstance(value, grpc.RpcError) and hasattr(value, "code"):
        return plain(f"{type(value).__name__} {value!r} trailing={metadata(value.trailing_metadata())}")
    if isinstance(value, BaseException):
        names = [each.__name__ for each in type(value).__mro__ if each not in (object, BaseException)]
        return plain(f"{' < '.join(names)}: {value}")
    return plain(repr(value))


def metadata(pairs: Any) -> Any:
    """Metadata less what each stack adds of its own."""
    if pairs is None:
        return None
    return [(key, value) for key, value in pairs if key not in ("user-agent", "date", "server", "run")]


# What Python's ssl does not tell; and the chain, of which its clients send what they have.
_NOT_HERE = ("ssl_requested_server_name", "ssl_negotiated_key_exchange_group", "x509_pem_cert_chain")


def security(context: Any) -> Any:
    """What a context says of the connection's security."""
    return sorted((key, value) for key, value in context.auth_context().items() if key not in _NOT_HERE)


async def outcome(awaitable: Any) -> str:
    """What awaiting gives or raises."""
    try:
        return shown(await awaitable)
    except BaseException as error:
        return "raised " + shown(error)


PATIENCE_S = 20.0
"""The machine may be busy with something else."""


class Notes:
    """What a server's handlers saw, by the name of the program that called them and the process that ran it."""

    def __init__(self) -> None:
        self._lines: dict[str, Lines] = {}

    def add(self, context: Any, *what: Any) -> None:
        pairs = dict(context.invocation_metadata())
        caller = pairs.get("program", "") + pairs.get("run", "")
        self._lines.setdefault(caller, []).append(
            " ".join(each if isinstance(each, str) else shown(each) for each in what)
        )

    async def take(self, program: str, count: int) -> Lines:
        """Waits for so many lines, and gives them."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._lines.get(program, ())) < count:
                await asyncio.sleep(0.005)
        return self._cut(program, count)

    def take_now(self, program: str, count: int) -> Lines:
        """The same in a thread."""
        end = time.monotonic() + PATIENCE_S
        while len(self._lines.get(program, ())) < count and time.monotonic() < end:
            time.sleep(0.005)
        return self._cut(program, count)

    def _cut(self, program: str, count: int) -> Lines:
        """What came after them is asked for next."""
        lines = self._lines.pop(program, [])
        self._lines[program] = lines[count:]
        return lines[:count]


def quiet() -> None:
    """Exceptions of handlers are part of the programs: nobody needs to read them."""
    logging.disable(logging.CRITICAL)


def report(result: object) -> None:
    print(json.dumps(result), flush=True)


def pem(directory: str, name: str) -> bytes:
    return Path(directory, name).read_bytes()


async def run_programs(programs: dict[str, Any], *args: Any, limit_s: float = 60.0) -> dict[str, Lines]:
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


def run_sync_programs(programs: dict[str, Any], *args: Any, limit_s: float = 60.0) -> dict[str, Lines]:
    """The same for programs of the sync API, each in a thread of its own."""
    results: dict[str, Lines] = {}
    only = set(sys.argv[2:])
    for name, program in programs.items():
        if only and name not in only:
            continue
        lines: Lines = []

        def say(*what: Any, lines: Lines = lines) -> None:
            lines.append(" ".join(each if isinstance(each, str) else shown(each) for each in what))

        def run(name: str = name, program: Any = program, say: Any = say, lines: Lines = lines) -> None:
            try:
                program(say, name, *args)
            except BaseException as error:
                lines.append("FAILED " + "".join(traceback.format_exception(error)))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            lines.append("FAILED it hangs")
        results[name] = lines
    return results


def sync_outcome(function: Any, *args: Any, **options: Any) -> str:
    """What calling gives or raises."""
    try:
        return shown(function(*args, **options))
    except BaseException as error:
        return "raised " + shown(error)
