"""What one unary call costs the server's stack in memory: engine, connection, call, codec and handler, no sockets.

    python -m benchmarks.stack [--requests N] [--rounds N]

Reads of 100 echo requests of 16 bytes, handed to a connection of a real server on the running asyncio loop; the
replies are counted and dropped. Plain and `async def` handlers; the grpc-timeout repeats, differs in each request as a
literal, or differs and enters the HPACK table. Prints microseconds a call, the least of some rounds: what the
interpreter and the layers cost, whatever else the machine does."""

from __future__ import annotations

import argparse
import asyncio
import gc
import struct
import time

import wire
from benchmarks.engine import IN_FLIGHT, frame, request_reads
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceStub
from wire.server.connection import ServerConnection
from wire.transport.contract import Peer
from wire.transport.runtime import open_runtime


class PlainEcho(wire.Servicer):
    service = EchoServiceStub.service

    def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        return EchoResponse(payload=request.payload)


class AsyncEcho(wire.Servicer):
    service = EchoServiceStub.service

    async def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        return EchoResponse(payload=request.payload)


class NullTransport:
    """Counts what is written, and drops it."""

    peer = Peer("memory")

    def __init__(self) -> None:
        self.written_bytes = 0

    def write(self, data: bytes) -> None:
        self.written_bytes += len(data)

    def unsent_bytes(self) -> int:
        return 0

    def close(self) -> None: ...

    abort = pause_reading = resume_reading = close


async def time_calls(servicer: wire.Servicer, timeout: str, requests: int) -> float:
    """Seconds for `requests` calls."""
    reads = request_reads(timeout, requests)
    async with wire.Server([servicer]) as server, open_runtime() as runtime:
        connection = ServerConnection(server, runtime, server.routes, wire.ServerConfig())
        transport = NullTransport()
        connection.connection_made(transport)
        connection.data_received(reads[0])
        connection.data_received(frame(8, 0, 0, struct.pack(">I", 2**30)))  # the client's window is as good as endless
        while not transport.written_bytes or connection.running:
            await asyncio.sleep(0)
        started = time.perf_counter()
        for read in reads[1:]:
            before = transport.written_bytes
            connection.data_received(read)
            while connection.running or transport.written_bytes == before:
                await asyncio.sleep(0)
        spent = time.perf_counter() - started
        if connection.error is not None:
            raise AssertionError(connection.error)
        connection.connection_lost(None)
        return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000, help="in a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts (default %(default)s)")
    options = parser.parse_args()
    gc.disable()
    for name, servicer in (("def", PlainEcho()), ("async def", AsyncEcho())):
        for timeout in ("repeated", "literal", "inserted"):
            best = min(asyncio.run(time_calls(servicer, timeout, options.requests)) for _ in range(options.rounds))
            calls = options.requests // IN_FLIGHT * IN_FLIGHT
            print(f"{name:>9} handler, timeout {timeout:8} {best / calls * 1e6:7.2f} µs a call", flush=True)


if __name__ == "__main__":
    main()
