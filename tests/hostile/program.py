"""The processes beside an attacker: servers, and neighbours who use them. `python -m tests.hostile.program`.

It has imported everything that either needs, and forks a child for each order, so that a server starts in some
milliseconds with an untouched heap. In, on the socket that is its standard input: a JSON object, with a descriptor for
the child to be controlled by. A child ends when that is closed, and the program when its standard input is.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

import wire
from services.echo import EchoServicer
from tests.codec.generated.kinds import Choice, Lists, Maps, OneBytes, Tree
from tests.http2 import frames
from wire.config import CallConfig, Http2Config, KeepaliveConfig, TransportConfig
from wire.http2.codes import FrameType, Setting
from wire.http2.engines import engine_factory
from wire.rpc.framing import frame as framed

PERIOD_S = 0.01
"""Between two calls of a neighbour."""

_TICK_S = 0.002

ECHO = wire.UnaryUnary("Echo", bytes, bytes)
LARGE = wire.UnaryUnary("Large", bytes, bytes)
LARGE_LATER = wire.UnaryUnary("LargeLater", bytes, bytes)
HOLD = wire.UnaryUnary("Hold", bytes, bytes)
HOLD_TREE = wire.UnaryUnary("HoldTree", Tree, bytes)
DOWN = wire.UnaryStream("Down", bytes, bytes)
COLLECT = wire.StreamUnary("Collect", bytes, bytes)
BIDI = wire.StreamStream("Bidi", bytes, bytes)
DEAF = wire.StreamStream("Deaf", bytes, bytes)
PARSED = tuple(wire.UnaryUnary(f"Parse{each.__name__}", each, bytes) for each in (Tree, Choice, Lists, Maps, OneBytes))
SERVICE = wire.Service(
    "hostile.v1.Hostile", (ECHO, LARGE, LARGE_LATER, HOLD, HOLD_TREE, DOWN, COLLECT, BIDI, DEAF, *PARSED)
)


class Hostile(wire.Servicer):
    """A handler of each kind, for each thing that a peer may want to hold."""

    service = SERVICE

    def __init__(self) -> None:
        for method in PARSED:
            setattr(self, method.attribute, lambda request, context: b"")

    def echo(self, request: bytes, context: wire.ServerContext) -> bytes:
        return request

    def large(self, request: bytes, context: wire.ServerContext) -> bytes:
        """As many bytes as the request says."""
        return bytes(int(request))

    async def large_later(self, request: bytes, context: wire.ServerContext) -> bytes:
        await anyio.lowlevel.checkpoint()
        return bytes(int(request))

    async def hold(self, request: bytes, context: wire.ServerContext) -> bytes:
        await anyio.sleep_forever()
        return b""

    async def hold_tree(self, request: Tree, context: wire.ServerContext) -> bytes:
        await anyio.sleep_forever()
        return b""

    async def down(self, request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        """Messages of as many bytes as the request says, without end."""
        while True:
            yield bytes(int(request))

    async def collect(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        """As many bytes as the last request says."""
        last = b""
        async for request in requests:
            last = request
        return bytes(int(last or b"0"))

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    async def deaf(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""


class _Log(logging.Handler):
    """Counts warnings and keeps the first errors: a peer must not bring any of these about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings = 0
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:
            self.warnings += 1
        elif len(self.errors) < 3:
            self.errors.append(logging.Formatter().format(record))


class _Turns:
    """The longest turn of the event loop, as the delay of a timer, in CPU time of its thread: what other processes
    took of that time is not the server's fault."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await anyio.sleep(_TICK_S)
            late = time.perf_counter() - wall - _TICK_S
            self.longest_s = max(self.longest_s, min(late, time.thread_time() - cpu))


def config_of(order: dict[str, Any]) -> wire.ServerConfig:
    """The server's configuration from one of plain data."""
    parts = {"http2": Http2Config, "transport": TransportConfig, "calls": CallConfig, "keepalive": KeepaliveConfig}
    return wire.ServerConfig(**{key: parts[key](**value) if key in parts else value for key, value in order.items()})


def serve(control: socket.socket, order: dict[str, Any]) -> None:
    """A server that tells its address, and then answers each question with what it has seen since the one before."""
    gc.disable()  # what is freed only by the collector is not freed
    log, turns = _Log(), _Turns()
    logging.basicConfig(handlers=[log], level=logging.WARNING)
    tls = wire.ServerTls(*map(Path, order["tls"])) if order["tls"] else None

    async def main() -> None:
        wire.tune_process()  # as `bin.server` does
        async with wire.Server([Hostile(), EchoServicer()], config=config_of(order["config"]), tls=tls) as server:
            address = await server.listen("127.0.0.1:0")

            def answer() -> None:
                while control.recv(100):
                    found = {
                        "turn_ms": turns.longest_s * 1e3,
                        "connections": len(server.connections),
                        "running": sum(len(each.running) for each in list(server.connections)),
                        "warnings": log.warnings,
                        "errors": log.errors,
                        "cpu_s": time.process_time(),
                    }
                    turns.longest_s = 0.0
                    control.sendall(json.dumps(found).encode())
                os._exit(0)

            control.sendall(json.dumps({"address": address, "pid": os.getpid()}).encode())
            threading.Thread(target=answer, daemon=True).start()
            await turns.watch()

    wire.run(main, loop=order["loop"])


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError("the server closed the neighbour's connection")
        data += more
    return data


def neighbour(control: socket.socket, order: dict[str, Any]) -> None:
    """One echo each 10 ms. Latency counts from when a call was due, so that a stalled server cannot hide its stall."""
    context = None
    if order["tls"]:
        context = import_module("ssl").create_default_context(cafile=order["ca"])
        context.set_alpn_protocols(["h2"])
    sock = socket.create_connection(("127.0.0.1", order["port"]), timeout=30)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    fields = tuple((n, b"/hostile.v1.Hostile/Echo") if n == b":path" else (n, v) for n, v in frames.REQUEST)
    block, body = frames.block(fields), framed(b"neighbour")
    sock.sendall(frames.PREFACE + frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    sock.sendall(frames.window_update(0, 1 << 30))
    latencies: list[float] = []
    stream_id, longest_s = -1, 0.0

    def call(due: float) -> None:
        nonlocal stream_id, longest_s
        stream_id += 2
        sent = time.perf_counter()
        sock.sendall(frames.headers(stream_id, block) + frames.data(stream_id, body, end=True))
        got = b""
        while True:
            header = _read(sock, 9)
            kind, flags, of = struct.unpack(">BBI", header[3:])
            payload = _read(sock, int.from_bytes(header[:3]))
            if kind in (FrameType.SETTINGS, FrameType.PING) and not flags & frames.ACK:
                sock.sendall(frames.frame(kind, frames.ACK, 0, payload if kind == FrameType.PING else b""))
            elif kind in (FrameType.GOAWAY, FrameType.RST_STREAM):
                raise EOFError(f"the neighbour got {FrameType(kind).name} {payload!r}")
            elif kind == FrameType.DATA and of == stream_id:
                got += payload
            if flags & frames.END_STREAM and kind == FrameType.HEADERS and of == stream_id:
                break
        if got != body:
            raise EOFError(f"the neighbour was answered with {got!r}")
        answered = time.perf_counter()
        longest_s = max(longest_s, answered - sent)
        latencies.append(answered - due)

    failure = ""
    try:
        for _ in range(3):
            call(time.perf_counter())
        latencies.clear()
        control.sendall(b"ready")
        due = time.perf_counter()
        while True:
            control.settimeout(max(due - time.perf_counter(), 1e-6))
            try:
                if not control.recv(100):
                    return
                call(time.perf_counter())  # and not only what was sent before the attack ended
                break
            except TimeoutError:
                call(due)
                due += PERIOD_S
    except (OSError, EOFError) as error:
        failure = str(error) or type(error).__name__
        control.settimeout(None)
        if not control.recv(100):
            return
    control.settimeout(None)
    latencies.sort()
    found = {
        "answered": len(latencies),
        "failure": failure,
        "longest_ms": longest_s * 1e3,
        "p99_ms": 0.0,
        "worst_ms": 0.0,
    }
    if latencies:
        found |= {"p99_ms": latencies[int(len(latencies) * 0.99)] * 1e3, "worst_ms": latencies[-1] * 1e3}
    control.sendall(json.dumps(found).encode())
    control.recv(1)  # until it is closed


def main() -> None:
    orders = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    for each in ("tuned", "h2"):
        engine_factory(each)  # which imports it, as each child would otherwise do by itself
    for module in ("wire.transport.asyncio_transport", "wire.transport.anyio_transport", "uvloop", "trio"):
        try:
            import_module(module)
        except ImportError:
            pass
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 1)
        if not text:
            return
        if os.fork() == 0:
            try:
                orders.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                order = json.loads(text)
                if order["realtime"]:
                    # The neighbour comes first, so that a server that never sleeps does not keep it from the clock.
                    priority = 3 if order["role"] == "neighbour" else 2
                    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
                role = {"serve": serve, "neighbour": neighbour}[order["role"]]
                role(socket.socket(fileno=descriptors[0]), order)
            except BaseException:
                logging.exception("a child failed")
            finally:
                os._exit(1)
        os.close(descriptors[0])


if __name__ == "__main__":
    main()
