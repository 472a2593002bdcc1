"""An echo server on each stack, set up the way that stack is fastest at answering one connection on one core; those on
asyncio run under uvloop, as ours does.

Each function serves until its process gets SIGTERM, and says "listening on ADDR" once it accepts.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.peers.loops import run_fastest


def _say(address: str) -> None:
    print(f"listening on {address}", file=sys.stderr, flush=True)


async def _until_terminated() -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


def wire(listen: str, engine: Any, asynchronous: bool = False, methods: int = 0, per_message: bool = False) -> None:
    """Ours: betterproto2 messages, the loop that is fastest of those installed, no interceptors, no logging. `methods`:
    how many more services/methods echo beside it, as /echo.v1.ManyService/Echo0 and so on. `per_message`: the handler
    of streams is called with each message."""
    import wire
    from benchmarks.frames import many_paths
    from proto.echo.v1 import EchoRequest, EchoResponse
    from proto.echo.v1.echo_wire import EchoServiceStub

    class Echo(wire.Servicer):
        service = EchoServiceStub.service

        def echo(self, request: EchoRequest, context: Any) -> Any:
            return EchoResponse(payload=request.payload)

        async def echo_stream(self, requests: AsyncIterator[EchoRequest], context: Any) -> AsyncIterator[EchoResponse]:
            async for request in requests:
                yield EchoResponse(payload=request.payload)

    class AsyncEcho(Echo):
        async def echo(self, request: EchoRequest, context: Any) -> EchoResponse:
            return EchoResponse(payload=request.payload)

    class MessageEcho(Echo):
        @wire.per_message
        def echo_stream(self, request: EchoRequest, context: Any) -> EchoResponse:
            return EchoResponse(payload=request.payload)

    class Repeat(wire.Servicer):
        service = wire.Service("benchmarks.v1.RepeatService", [wire.UnaryStream("Repeat", EchoRequest, EchoResponse)])

        async def repeat(self, request: EchoRequest, context: Any) -> AsyncIterator[EchoResponse]:
            for _ in range(64):
                yield EchoResponse(payload=request.payload)

    names = [path.rpartition("/")[2] for path in many_paths(methods)]
    many = wire.Service("echo.v1.ManyService", [wire.UnaryUnary(name, EchoRequest, EchoResponse) for name in names])
    handlers = {name.lower(): Echo.echo for name in names}

    async def serve() -> None:
        servicers = [AsyncEcho() if asynchronous else MessageEcho() if per_message else Echo(), Repeat()]
        servicers.append(type("Many", (wire.Servicer,), {"service": many, **handlers})())
        config = wire.ServerConfig(engine=engine, calls=wire.CallConfig(max_receive_message_bytes=64 << 20))
        async with wire.Server(servicers, config=config) as server:
            _say(await server.listen(listen))
            await server.wait_stopped()

    wire.run(serve)


def wire_google(listen: str, asynchronous: bool = False, threads: int | None = None) -> None:
    """Ours with google.protobuf's messages, as those have who come from another stack."""
    import wire
    from benchmarks.peers.messages import SERVICE, echo_messages

    request_type, response_type = echo_messages()

    class Echo(wire.Servicer):
        service = wire.Service(
            SERVICE,
            [
                wire.UnaryUnary("Echo", request_type, response_type),
                wire.StreamStream("EchoStream", request_type, response_type),
            ],
        )

        def echo(self, request: Any, context: Any) -> Any:
            return response_type(payload=request.payload)

        async def echo_stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                yield response_type(payload=request.payload)

    class AsyncEcho(Echo):
        async def echo(self, request: Any, context: Any) -> Any:
            return response_type(payload=request.payload)

    async def serve() -> None:
        config = wire.ServerConfig(handler_threads=threads)
        async with wire.Server([AsyncEcho() if asynchronous else Echo()], config=config) as server:
            _say(await server.listen(listen))
            await server.wait_stopped()

    wire.run(serve)


def _grpcio_handler(grpc: Any, unary: Callable[..., Any], stream: Callable[..., Any]) -> Any:
    from benchmarks.peers.messages import SERVICE, echo_messages

    request_type, response_type = echo_messages()
    codec = {
        "request_deserializer": request_type.FromString,
        "response_serializer": response_type.SerializeToString,
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Echo": grpc.unary_unary_rpc_method_handler(unary, **codec),
            "EchoStream": grpc.stream_stream_rpc_method_handler(stream, **codec),
        },
    )


def grpcio(listen: str, threads: int = 4) -> None:
    """grpcio's threads. Four: as fast as two on one core, and faster than 1, 10 and 32."""
    import grpc

    from benchmarks.peers.messages import echo_messages

    _, response_type = echo_messages()

    def unary(request: Any, context: Any) -> Any:
        return response_type(payload=request.payload)

    def stream(requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            yield response_type(payload=request.payload)

    server = grpc.server(ThreadPoolExecutor(threads), handlers=(_grpcio_handler(grpc, unary, stream),))
    host, _, _ = listen.rpartition(":")
    _say(f"{host}:{server.add_insecure_port(listen)}")
    server.start()
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    terminated.wait()
    server.stop(0).wait()


def grpcio_asyncio(listen: str) -> None:
    import grpc
    import grpc.aio

    from benchmarks.peers.messages import echo_messages

    _, response_type = echo_messages()

    async def unary(request: Any, context: Any) -> Any:
        return response_type(payload=request.payload)

    async def stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield response_type(payload=request.payload)

    async def serve() -> None:
        server = grpc.aio.server(handlers=(_grpcio_handler(grpc, unary, stream),))
        host, _, _ = listen.rpartition(":")
        _say(f"{host}:{server.add_insecure_port(listen)}")
        await server.start()
        await _until_terminated()
        await server.stop(0)

    run_fastest(serve())


def grpclib(listen: str) -> None:
    from grpclib.const import Cardinality, Handler
    from grpclib.server import Server

    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    request_type, response_type = echo_messages()

    class Echo:
        async def unary(self, stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message(response_type(payload=request.payload))

        async def stream(self, stream: Any) -> None:
            async for request in stream:
                await stream.send_message(response_type(payload=request.payload))

        def __mapping__(self) -> dict[str, Handler]:
            return {
                UNARY: Handler(self.unary, Cardinality.UNARY_UNARY, request_type, response_type),
                STREAM: Handler(self.stream, Cardinality.STREAM_STREAM, request_type, response_type),
            }

    async def serve() -> None:
        server = Server([Echo()])
        host, _, port = listen.rpartition(":")
        sock = socket.create_server((host, int(port)))
        await server.start(sock=sock)
        _say(f"{host}:{sock.getsockname()[1]}")
        await _until_terminated()
        server.close()

    run_fastest(serve())


def bare(listen: str) -> None:
    """No gRPC and no HTTP/2: bytes come back as they are. What the loop and the sockets cost alone."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.write = transport.write  # type: ignore[attr-defined]

        def data_received(self, data: bytes) -> None:
            self.write(data)

    async def serve() -> None:
        host, _, port = listen.rpartition(":")
        sock = socket.create_server((host, int(port)))
        await asyncio.get_running_loop().create_server(Echo, sock=sock)
        _say(f"{host}:{sock.getsockname()[1]}")
        await _until_terminated()

    run_fastest(serve())


SERVERS: dict[str, Callable[[str], None]] = {
    "wire-tuned": lambda listen: wire(listen, "tuned"),
    "wire-h2": lambda listen: wire(listen, "h2"),
    "wire-async": lambda listen: wire(listen, "tuned", asynchronous=True),
    "wire-methods": lambda listen: wire(listen, "tuned", methods=500),
    "wire-messages": lambda listen: wire(listen, "tuned", per_message=True),
    "wire-google": wire_google,
    "wire-google-async": lambda listen: wire_google(listen, True),
    "wire-google-threads": lambda listen: wire_google(listen, threads=8),
    "grpcio": grpcio,
    "grpcio-8-threads": lambda listen: grpcio(listen, 8),
    "grpcio-asyncio": grpcio_asyncio,
    "grpclib": grpclib,
    "bare": bare,
}
