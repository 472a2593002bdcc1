"""The service `probe.v1.Probe` on grpcio, whose servers and clients run in threads of this process.

The handlers of every server do the same, so that what a client sees can be told in one place (`Probe` is ours):
Unary echoes, or does what its request names (`COMMANDS`); ServerStream gives each byte as a message; ClientStream joins;
Bidi echoes each.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import grpc
import grpc.aio

import wire
from tests import support

MESSAGE = "nicht gefunden: «ü» 漢字 100 %"
SERVICE = "probe.v1.Probe"
OPTIONS = [("grpc.max_receive_message_length", 1 << 22), ("grpc.enable_retries", 0)]


@dataclass
class Seen:
    """What a server's handlers saw."""

    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)
    time_remaining: float | None = None
    waiting: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


INITIAL = (("first", "1"), ("first-bin", b"\x00\xff"))
TRAILING = (("last", "2"), ("last-bin", b"abc"))


class Probe(support.Probe):
    """Ours."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    async def Unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        self._seen.metadata = list(context.metadata)
        self._seen.time_remaining = context.time_remaining()
        if request == b"metadata":
            context.send_initial_metadata(INITIAL)
            context.set_trailing_metadata(TRAILING)
        elif request == b"fail":
            context.set_trailing_metadata(TRAILING)
            raise wire.RpcError(wire.StatusCode.NOT_FOUND, MESSAGE)
        elif request == b"raise":
            raise ValueError("secret")
        elif request == b"wait":
            self._seen.waiting.set()
            try:
                await anyio.sleep_forever()
            finally:
                self._seen.cancelled.set()
        return request


class GrpcProbe:
    """grpcio's, with threads."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def _note(self, context: Any) -> None:
        self._seen.metadata = [tuple(pair) for pair in context.invocation_metadata()]
        self._seen.time_remaining = context.time_remaining()

    def Unary(self, request: bytes, context: Any) -> bytes:
        self._note(context)
        if request == b"metadata":
            context.send_initial_metadata(INITIAL)
            context.set_trailing_metadata(TRAILING)
        elif request == b"fail":
            context.set_trailing_metadata(TRAILING)
            context.abort(grpc.StatusCode.NOT_FOUND, MESSAGE)
        elif request == b"raise":
            raise ValueError("secret")
        elif request == b"wait":
            context.add_callback(self._seen.cancelled.set)
            self._seen.waiting.set()
            self._seen.cancelled.wait(10)
        return request

    def ServerStream(self, request: bytes, context: Any) -> Iterator[bytes]:
        for byte in request:
            yield bytes([byte])

    def ClientStream(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"".join(requests)

    def Bidi(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests


class GrpcAioProbe(GrpcProbe):
    """grpcio's, on asyncio."""

    async def Unary(self, request: bytes, context: Any) -> bytes:  # type: ignore[override]
        self._note(context)
        if request == b"metadata":
            await context.send_initial_metadata(INITIAL)
            context.set_trailing_metadata(TRAILING)
        elif request == b"fail":
            context.set_trailing_metadata(TRAILING)
            await context.abort(grpc.StatusCode.NOT_FOUND, MESSAGE)
        elif request == b"raise":
            raise ValueError("secret")
        elif request == b"wait":
            self._seen.waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._seen.cancelled.set()
        return request

    async def ServerStream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        for byte in request:
            yield bytes([byte])

    async def ClientStream(self, requests: AsyncIterator[bytes], context: Any) -> bytes:  # type: ignore[override]
        return b"".join([each async for each in requests])

    async def Bidi(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:  # type: ignore[override]
        async for each in requests:
            yield each


def _generic_handler(probe: GrpcProbe) -> Any:
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Unary": grpc.unary_unary_rpc_method_handler(probe.Unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(probe.ServerStream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(probe.ClientStream),
            "Bidi": grpc.stream_stream_rpc_method_handler(probe.Bidi),
        },
    )


@contextmanager
def grpc_server(seen: Seen, *, credentials: Any = None, compression: Any = None) -> Iterator[str]:
    """A server with threads; its address."""
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=OPTIONS, compression=compression)
        server.add_generic_rpc_handlers((_generic_handler(GrpcProbe(seen)),))
        address = "127.0.0.1:0" if credentials is None else "localhost:0"
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        try:
            yield f"{address.partition(':')[0]}:{port}"
        finally:
            server.stop(0).wait()


@contextmanager
def in_thread(serve: Callable[[Callable[[Any], None], asyncio.Event], Any]) -> Iterator[Any]:
    """Run `serve(ready, stop)` on an event loop in a thread; gives what it says it is ready with."""
    ready = threading.Event()
    said: list[Any] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))

        def say(what: Any) -> None:
            said.append(what)
            ready.set()

        await serve(say, stop)

    def target() -> None:
        try:
            asyncio.run(main())
        finally:
            ready.set()

    thread = threading.Thread(target=target)
    thread.start()
    ready.wait()
    try:
        yield said[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def grpc_aio_server(seen: Seen, *, credentials: Any = None, compression: Any = None) -> Iterator[str]:
    """A server on asyncio, in a thread; its address."""

    async def serve(ready: Callable[[Any], None], stop: asyncio.Event) -> None:
        server = grpc.aio.server(options=OPTIONS, compression=compression)
        server.add_generic_rpc_handlers((_generic_handler(GrpcAioProbe(seen)),))
        address = "127.0.0.1" if credentials is None else "localhost"
        if credentials is None:
            port = server.add_insecure_port(f"{address}:0")
        else:
            port = server.add_secure_port(f"{address}:0", credentials)
        await server.start()
        ready(f"{address}:{port}")
        await stop.wait()
        await server.stop(0)

    with in_thread(serve) as address:
        yield address


@contextmanager
def wire_server(
    seen: Seen, config: wire.ServerConfig, *, tls: wire.ServerTls | None = None
) -> Iterator[tuple[str, Callable[[float], None]]]:
    """Our server in a thread: its address without a scheme, and `stop(grace_s)`, which returns when it has stopped."""

    async def serve(ready: Callable[[Any], None], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        async with wire.Server([Probe(seen)], config=config, tls=tls) as server:
            address = (await server.listen("127.0.0.1:0")).removeprefix("ipv4:")
            stop_now: Callable[[float], None] = lambda grace_s: asyncio.run_coroutine_threadsafe(  # noqa: E731
                server.stop(grace_s), loop
            ).result()
            ready((address, stop_now))
            await stop.wait()
            await server.stop(0)

    with in_thread(serve) as said:
        yield said


class GrpcStub:
    """The service's methods on a channel of grpcio's, of either kind."""

    def __init__(self, channel: Any) -> None:
        self.Unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.ServerStream = channel.unary_stream(f"/{SERVICE}/ServerStream")
        self.ClientStream = channel.stream_unary(f"/{SERVICE}/ClientStream")
        self.Bidi = channel.stream_stream(f"/{SERVICE}/Bidi")
        self.Missing = channel.unary_unary(f"/{SERVICE}/Missing")
