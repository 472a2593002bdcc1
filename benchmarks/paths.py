"""The hot paths, each driven from within its own process: a server that is sent frames, a client that is answered.

A path is one side of wire on asyncio's own loop, over a UNIX socket whose other end is a few lines here that send
frames made beforehand. Whatever is measured, time, instructions or bytecodes, is that side's alone but for two system
calls and a loop turn in a hundred operations (`IN_FLIGHT`). Only wire's public names are used, so a path measures the
same however its inside is arranged.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, Final

from hpack import Encoder

import wire
from benchmarks.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    STREAM_PATH,
    WINDOW_UPDATE,
    Varying,
    echo_message,
    frame,
    request_fields,
    unary_requests,
)
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceBase, EchoServiceStub
from wire.config import EngineName

IN_FLIGHT: Final = 100
"""Operations in a round: calls, or messages on as many streams, that one read brings."""

_MESSAGE: Final = echo_message(16)
_OPENING: Final = struct.pack(">HIHI", 3, 1000, 4, 2**29)
"""SETTINGS of the end that is played here: as many streams and as wide a window as anybody needs, frames of 16 KiB, as
most peers have them. Less than 2**30, as real peers' windows are: CPython takes longer for larger numbers."""
_WIDE: Final = struct.pack(">I", 2**29)
_AT_ONCE_BYTES: Final = 1 << 20
_PATIENT: Final = wire.Http2Config(max_turn_s=60.0, settings_timeout_s=86_400.0)  # a run under a simulator is slow
_RESPONSE: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_STATUS: Final = ((b"grpc-status", b"0"),)


def _request_rounds(varying: Varying, rounds: int) -> list[bytes]:
    """What a client writes: its preface with one call, then `rounds` of IN_FLIGHT unary calls each."""
    opening = PREFACE + frame(SETTINGS, 0, 0, _OPENING) + frame(WINDOW_UPDATE, 0, 0, _WIDE)
    requests = unary_requests(varying, 1 + rounds * IN_FLIGHT)
    starts = range(1, len(requests), IN_FLIGHT)
    return [opening + requests.part(0, 1), *(requests.part(start, start + IN_FLIGHT) for start in starts)]


def _headers_first(read: bytes) -> bytes:
    """The HEADERS of all requests before the DATA of the first, as clients of nghttp2's send them."""
    frames: dict[int, list[bytes]] = {HEADERS: [], DATA: []}
    at = 0
    while at < len(read):
        (word,) = struct.unpack_from(">I", read, at)
        end = at + 9 + (word >> 8)
        frames[word & 0xFF].append(read[at:end])
        at = end
    return b"".join(frames[HEADERS] + frames[DATA])


class _Peer:
    """The end that is played here: sends what it is told, and drops what it is sent."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AT_ONCE_BYTES)
        self._sock = sock
        self._buffer = bytearray(1 << 18)
        self.send = sock.sendall

    async def exchange(self, data: bytes, done: Callable[[], bool]) -> None:
        """Send more than the socket takes at once, and drop what comes until it is `done`."""
        left = memoryview(data)
        while left or not done():
            with suppress(BlockingIOError):
                left = left[self._sock.send(left) :] if left else left
            await asyncio.sleep(0)
            with suppress(BlockingIOError):
                self._sock.recv_into(self._buffer)

    async def receive(self) -> int:
        """The size of what comes next, once something has."""
        while True:
            try:
                received = self._sock.recv_into(self._buffer)
            except BlockingIOError:
                await asyncio.sleep(0)
            else:
                if not received:
                    raise AssertionError("wire closed the connection")
                return received


class _Echo(EchoServiceBase):
    """Counts what it handled."""

    def __init__(self) -> None:
        self.handled = 0

    def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse | Awaitable[EchoResponse]:
        self.handled += 1
        return EchoResponse(payload=request.payload)

    async def echo_stream(
        self, requests: AsyncIterator[EchoRequest], context: wire.ServerContext
    ) -> AsyncIterator[EchoResponse]:
        async for request in requests:
            self.handled += 1
            yield EchoResponse(payload=request.payload)


class _MessageEcho(_Echo):
    @wire.per_message
    def echo_stream(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        self.handled += 1
        return EchoResponse(payload=request.payload)


class _AsyncEcho(_Echo):
    async def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        self.handled += 1
        return EchoResponse(payload=request.payload)


def _handled(method: Any, handler: wire.Handler) -> wire.Handler:
    """A server's interceptor that does nothing."""

    def intercepted(request: Any, context: wire.ServerContext) -> Any:
        return handler(request, context)

    return intercepted


def _started(method: Any, start: wire.StartCall) -> wire.StartCall:
    """A client's."""

    def intercepted(request: Any, **options: Any) -> Any:
        return start(request, **options)

    return intercepted


Round = Callable[[], Awaitable[None]]
Path = Callable[[int, EngineName], AbstractAsyncContextManager[Round]]
"""Called with the most rounds that may follow and the engine: gives what runs one round of IN_FLIGHT operations."""


@asynccontextmanager
async def _serving(
    servicer: _Echo, reads: list[bytes], engine: EngineName, interceptors: Sequence[wire.ServerInterceptor] = ()
) -> AsyncIterator[Round]:
    """A server; the first of `reads` opens the connection, each that follows is a round."""
    config = wire.ServerConfig(engine=engine, http2=_PATIENT, slow_handler_s=None, preface_timeout_s=86_400.0)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as sock:
        async with wire.Server([servicer], config=config, interceptors=interceptors) as server:
            await server.listen(f"unix:{folder}/socket")
            sock.connect(f"{folder}/socket")
            peer = _Peer(sock)
            left = iter(reads)
            peer.send(next(left))
            await peer.receive()
            peer.send(frame(SETTINGS, ACK, 0, b""))

            async def run() -> None:
                due = servicer.handled + IN_FLIGHT
                read = next(left)
                if len(read) > _AT_ONCE_BYTES:
                    await peer.exchange(read, lambda: servicer.handled == due)
                    return
                peer.send(read)
                while servicer.handled < due:
                    await asyncio.sleep(0)
                await peer.receive()

            yield run
            sock.close()


def _unary_server(
    servicer: type[_Echo], varying: Varying = Varying.SAME, interceptors: Sequence[wire.ServerInterceptor] = ()
) -> Path:
    return lambda rounds, engine: _serving(servicer(), _request_rounds(varying, rounds), engine, interceptors)


def _unary_server_apart(rounds: int, engine: EngineName) -> AbstractAsyncContextManager[Round]:
    opening, *reads = _request_rounds(Varying.SAME, rounds)
    return _serving(_Echo(), [opening, *map(_headers_first, reads)], engine)


def _bidi_server(servicer: type[_Echo], streams: int = IN_FLIGHT, payload_bytes: int = 16) -> Path:
    message = echo_message(payload_bytes)
    return lambda rounds, engine: _serving_streams(servicer(), message, streams, rounds, engine)


def _serving_streams(
    servicer: _Echo, message: bytes, streams: int, rounds: int, engine: EngineName
) -> AbstractAsyncContextManager[Round]:
    encoder = Encoder()
    fields = request_fields(STREAM_PATH)
    ids = range(3, 3 + 2 * streams, 2)
    opened = b"".join(frame(HEADERS, END_HEADERS, each, encoder.encode(fields)) for each in ids)
    messages = b"".join(frame(DATA, 0, each, message * (IN_FLIGHT // streams)) for each in ids)
    if len(message) > 1 << 14:  # as tonic's client writes them: of some the first byte by itself, before the others
        split = ids[: streams // 2]
        messages = b"".join(frame(DATA, 0, each, message[:1]) for each in split) + b"".join(
            frame(DATA, 0, each, message[each in split :]) for each in ids
        )
    reads = _request_rounds(Varying.SAME, 0)
    return _serving(servicer, [reads[0] + opened, *[messages] * rounds], engine)


@asynccontextmanager
async def _calling(
    caller: Callable[[EchoServiceStub, Iterator[int]], Awaitable[None]],
    replies: list[bytes],
    engine: EngineName,
    interceptors: Sequence[wire.ClientInterceptor] = (),
) -> AsyncIterator[Round]:
    """A client with IN_FLIGHT tasks of `caller`, which takes a number for each reply; each of `replies` is a round."""
    config = wire.ChannelConfig(engine=engine, http2=_PATIENT)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        listener.setblocking(False)
        async with wire.Channel(f"unix:{folder}/socket", config=config, interceptors=interceptors) as channel:
            replied = _Counter()
            stub = EchoServiceStub(channel)
            tasks = [asyncio.ensure_future(caller(stub, replied)) for _ in range(IN_FLIGHT)]
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            with accepted:
                peer = _Peer(accepted)
                opening = frame(SETTINGS, 0, 0, _OPENING) + frame(WINDOW_UPDATE, 0, 0, _WIDE)
                peer.send(opening + frame(SETTINGS, ACK, 0, b""))
                received = 0
                while received < IN_FLIGHT * (len(_MESSAGE) + 9):  # the first requests
                    received += await peer.receive()
                left = iter(replies)

                async def run() -> None:
                    due = replied.value + IN_FLIGHT
                    peer.send(next(left))
                    while replied.value < due:
                        await asyncio.sleep(0)
                    await peer.receive()  # the next requests

                yield run
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


class _Counter:
    def __init__(self) -> None:
        self.value = 0

    def __iter__(self) -> _Counter:
        return self

    def __next__(self) -> int:
        self.value += 1
        return self.value


def _unary_client(
    rounds: int, engine: EngineName, interceptors: Sequence[wire.ClientInterceptor] = ()
) -> AbstractAsyncContextManager[Round]:
    encoder = Encoder()
    ids = count(1, 2)

    def reply(stream_id: int) -> bytes:
        return (
            frame(HEADERS, END_HEADERS, stream_id, encoder.encode(_RESPONSE))
            + frame(DATA, 0, stream_id, _MESSAGE)
            + frame(HEADERS, END_HEADERS | END_STREAM, stream_id, encoder.encode(_STATUS))
        )

    async def caller(stub: EchoServiceStub, replied: Iterator[int]) -> None:
        request = EchoRequest(payload=bytes(16))
        while True:
            await stub.echo(request)
            next(replied)

    replies = [b"".join(reply(next(ids)) for _ in range(IN_FLIGHT)) for _ in range(rounds)]
    return _calling(caller, replies, engine, interceptors)


def _bidi_client(rounds: int, engine: EngineName) -> AbstractAsyncContextManager[Round]:
    encoder = Encoder()
    ids = range(1, 1 + 2 * IN_FLIGHT, 2)
    begun = b"".join(
        frame(HEADERS, END_HEADERS, each, encoder.encode(_RESPONSE)) + frame(DATA, 0, each, _MESSAGE) for each in ids
    )
    messages = b"".join(frame(DATA, 0, each, _MESSAGE) for each in ids)

    async def caller(stub: EchoServiceStub, replied: Iterator[int]) -> None:
        request = EchoRequest(payload=bytes(16))
        async with stub.echo_stream() as call:
            await call.send(request)
            async for _ in call:
                next(replied)
                await call.send(request)

    return _calling(caller, [begun, *[messages] * rounds], engine)


PATHS: Final[dict[str, Path]] = {
    "server-unary": _unary_server(_Echo),
    "server-unary-apart": _unary_server_apart,
    "server-unary-literal": _unary_server(_Echo, Varying.LITERAL),
    "server-unary-inserted": _unary_server(_Echo, Varying.INSERTED),
    "server-intercepted": _unary_server(_Echo, interceptors=[_handled]),
    "server-async": _unary_server(_AsyncEcho),
    "server-bidi": _bidi_server(_Echo),
    "server-messages": _bidi_server(_MessageEcho),
    "server-long": _bidi_server(_Echo, payload_bytes=1 << 16),
    "server-long-messages": _bidi_server(_MessageEcho, payload_bytes=1 << 16),
    "server-flood": _bidi_server(_Echo, streams=1),
    "server-flood-messages": _bidi_server(_MessageEcho, streams=1),
    "client-unary": _unary_client,
    "client-intercepted": partial(_unary_client, interceptors=[_started]),
    "client-bidi": _bidi_client,
}
"""By name. An operation is a unary call, or a message received on a stream and its answer sent. Handlers of unary calls
are `def` but for "async", those of streams async generators but for "messages" (`wire.per_message`); "flood": all on
one stream, in one frame; "intercepted": behind an interceptor that does nothing; "apart": the HEADERS of all calls in a
read come before their DATA; a grpc-timeout is the same each time, or differs as a literal, or is inserted into the
HPACK table."""


async def run_rounds(path: Path, engine: EngineName, warm_up: int, rounds: int, most: int, measured: Any) -> None:
    """Run `warm_up` rounds, then `rounds` within the context manager `measured`; `most` are made ready, so that what
    that costs depends on neither."""
    async with path(warm_up + most, engine) as run_round:
        for _ in range(warm_up):
            await run_round()
        with measured:
            for _ in range(rounds):
                await run_round()
