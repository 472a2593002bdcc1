"""A client on each stack, which takes its samples when told to on stdin.

In: JSON lines, {"kind": "unary", "payload_bytes", "seconds", "in_flight"}, or {"kind": "flood", "payload_bytes",
"seconds", "count"?} for messages on one bidi stream; as tonic's client takes them. Out: a JSON line each,
`loops.Answer`. Ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from benchmarks.peers.loops import Answer, Client, EchoStream, call_stream, call_unary, run_fastest


async def _answer(client: Client) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        answer = await (call_unary if request.pop("kind") == "unary" else call_stream)(client, **request)
        print(json.dumps(answer), flush=True)


def wire(target: str, engine: Any) -> None:
    import wire
    from proto.echo.v1 import EchoRequest
    from proto.echo.v1.echo_wire import EchoServiceStub

    class OurClient:
        def __init__(self, stub: EchoServiceStub) -> None:
            self._stub = stub

        def unary(self, payload: bytes) -> Callable[[], Awaitable[Any]]:
            return partial(self._stub.echo, EchoRequest(payload=payload))

        @asynccontextmanager
        async def stream(self, payload: bytes) -> AsyncIterator[EchoStream]:
            call = self._stub.echo_stream()
            yield EchoStream(partial(call.send, EchoRequest(payload=payload)), aiter(call), call.end)

    async def main() -> None:
        async with wire.Channel(target, config=wire.ChannelConfig(engine=engine)) as channel:
            await _answer(OurClient(EchoServiceStub(channel)))

    wire.run(main)


def wire_google(target: str) -> None:
    """Ours with google.protobuf's messages."""
    import wire
    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    request_type, response_type = echo_messages()

    class GoogleClient:
        def __init__(self, channel: wire.Channel) -> None:
            self._unary = channel.unary_unary(UNARY, request_type, response_type)
            self._stream = channel.stream_stream(STREAM, request_type, response_type)

        def unary(self, payload: bytes) -> Callable[[], Awaitable[Any]]:
            return partial(self._unary, request_type(payload=payload))

        @asynccontextmanager
        async def stream(self, payload: bytes) -> AsyncIterator[EchoStream]:
            call = self._stream()
            yield EchoStream(partial(call.send, request_type(payload=payload)), aiter(call), call.end)

    async def main() -> None:
        async with wire.Channel(target) as channel:
            await _answer(GoogleClient(channel))

    wire.run(main)


def grpcio_asyncio(target: str) -> None:
    import grpc.aio

    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    request_type, response_type = echo_messages()
    codec = {"request_serializer": request_type.SerializeToString, "response_deserializer": response_type.FromString}

    class AioClient:
        def __init__(self, channel: Any) -> None:
            self._unary = channel.unary_unary(UNARY, **codec)
            self._stream = channel.stream_stream(STREAM, **codec)

        def unary(self, payload: bytes) -> Callable[[], Awaitable[Any]]:
            return partial(self._unary, request_type(payload=payload))

        @asynccontextmanager
        async def stream(self, payload: bytes) -> AsyncIterator[EchoStream]:
            call = self._stream()
            yield EchoStream(partial(call.write, request_type(payload=payload)), aiter(call), call.done_writing)

    async def main() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            await _answer(AioClient(channel))

    run_fastest(main())


def grpclib(target: str) -> None:
    from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod

    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    request_type, response_type = echo_messages()

    class GrpclibClient:
        def __init__(self, channel: Channel) -> None:
            self._unary = UnaryUnaryMethod(channel, UNARY, request_type, response_type)
            self._stream = StreamStreamMethod(channel, STREAM, request_type, response_type)

        def unary(self, payload: bytes) -> Callable[[], Awaitable[Any]]:
            return partial(self._unary, request_type(payload=payload))

        @asynccontextmanager
        async def stream(self, payload: bytes) -> AsyncIterator[EchoStream]:
            async with self._stream.open() as stream:
                await stream.send_request()
                yield EchoStream(partial(stream.send_message, request_type(payload=payload)), aiter(stream), stream.end)

    async def main() -> None:
        host, _, port = target.rpartition(":")
        channel = Channel(host, int(port))
        await _answer(GrpclibClient(channel))
        channel.close()

    run_fastest(main())


def grpcio(target: str) -> None:
    """grpcio's blocking client: a thread for each call in flight."""
    import grpc

    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    request_type, response_type = echo_messages()
    codec = {"request_serializer": request_type.SerializeToString, "response_deserializer": response_type.FromString}
    with grpc.insecure_channel(target) as channel:
        _answer_blocking(channel.unary_unary(UNARY, **codec), channel.stream_stream(STREAM, **codec), request_type)


def wire_blocking(target: str) -> None:
    """Ours for threads, with google.protobuf's messages."""
    import wire
    from benchmarks.peers.messages import STREAM, UNARY, echo_messages

    types = echo_messages()
    with wire.blocking.Channel(target) as channel:
        _answer_blocking(channel.unary_unary(UNARY, *types), channel.stream_stream(STREAM, *types), types[0])


def _answer_blocking(call: Any, call_stream: Any, request_type: Any) -> None:
    clock = time.perf_counter

    def unary(payload_bytes: int, in_flight: int, seconds: float) -> Answer:
        request = request_type(payload=bytes(payload_bytes))
        latencies: list[float] = []
        started, cpu_s = clock(), time.process_time()
        until = started + seconds

        def caller() -> None:
            now = clock()
            while now < until:
                call(request)
                before, now = now, clock()
                latencies.append(now - before)

        threads = [threading.Thread(target=caller) for _ in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        p50_us = statistics.median(latencies) * 1e6
        cpu_s = time.process_time() - cpu_s
        return {"count": len(latencies), "seconds": clock() - started, "cpu_s": cpu_s, "p50_us": p50_us}

    def stream(payload_bytes: int, seconds: float, count: int | None = None) -> Answer:
        request = request_type(payload=bytes(payload_bytes))
        started, cpu_s = clock(), time.process_time()
        until = started + seconds

        def requests() -> Iterator[Any]:
            sent = 0
            while clock() < until if count is None else sent < count:
                yield request
                sent += 1

        received = sum(1 for _ in call_stream(requests()))
        return {"count": received, "seconds": clock() - started, "cpu_s": time.process_time() - cpu_s}

    while line := sys.stdin.readline():
        request = json.loads(line)
        answer = unary if request.pop("kind") == "unary" else stream
        print(json.dumps(answer(**request)), flush=True)


def bare(target: str) -> None:
    """An asyncio.Protocol that writes the next bytes when the last came back; as many as a call of ours sends."""

    class PingPong(asyncio.Protocol):
        """`in_flight` is one, whatever was asked for."""

        def __init__(self) -> None:
            self.latencies: list[float] = []

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.write: Callable[[bytes], None] = transport.write  # type: ignore[attr-defined]

        def start(self, seconds: float, payload_bytes: int) -> asyncio.Future[None]:
            from benchmarks.frames import request_bytes

            self.message = request_bytes(payload_bytes)
            self.missing = len(self.message)
            self.latencies.clear()
            self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.last = time.perf_counter()
            self.until = self.last + seconds
            self.write(self.message)
            return self.done

        def data_received(self, data: bytes) -> None:
            self.missing -= len(data)
            if self.missing:
                return
            now = time.perf_counter()
            self.latencies.append(now - self.last)
            self.last = now
            if now >= self.until:
                self.done.set_result(None)
                return
            self.missing = len(self.message)
            self.write(self.message)

    async def main() -> None:
        host, _, port = target.rpartition(":")
        _, client = await asyncio.get_running_loop().create_connection(PingPong, host, int(port))
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            started, cpu_s = time.perf_counter(), time.process_time()
            await client.start(request["seconds"], request["payload_bytes"])
            answer = {
                "count": len(client.latencies),
                "seconds": time.perf_counter() - started,
                "cpu_s": time.process_time() - cpu_s,
                "p50_us": statistics.median(client.latencies) * 1e6,
            }
            print(json.dumps(answer), flush=True)

    run_fastest(main())


def sign_loop(target: str) -> None:
    """No gRPC at all: P-256 signatures one after the other, which is what a signing service cannot be faster than."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key, algorithm, data = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(SHA256()), bytes(32)
    while line := sys.stdin.readline():
        started, cpu_s, count = time.perf_counter(), time.process_time(), 0
        until = started + json.loads(line)["seconds"]
        while time.perf_counter() < until:
            key.sign(data, algorithm)
            count += 1
        answer = {
            "count": count,
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - cpu_s,
        }
        print(json.dumps(answer), flush=True)


CLIENTS: dict[str, Callable[[str], None]] = {
    "wire-tuned": lambda target: wire(target, "tuned"),
    "wire-h2": lambda target: wire(target, "h2"),
    "wire-google": wire_google,
    "wire-blocking": wire_blocking,
    "grpcio": grpcio,
    "grpcio-asyncio": grpcio_asyncio,
    "grpclib": grpclib,
    "bare": bare,
    "sign-loop": sign_loop,
}
