"""Peers that speak frames, and how a test puts one before a server or behind a channel of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import anyio
import anyio.abc
from hpack import Decoder

import wire
from tests.http2 import frames
from tests.http2.frames import Fields, Frame
from tests.support import Probe, ProbeStub, run, serving
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

IMPATIENT = wire.TransportConfig(linger_s=0)
"""For channels to raw peers, which do not close their side when they are asked to."""

REQUEST: Fields = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/probe.v1.Probe/Unary"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)


def request(method: str = "Unary", *extra: tuple[bytes, bytes], without: bytes = b"") -> Fields:
    """The header fields of a call; `extra` replaces fields of the same names or is added."""
    names = {name for name, _ in extra} - {b":path"}
    path = dict(extra).get(b":path", f"/probe.v1.Probe/{method}".encode())
    fields = [(name, path if name == b":path" else value) for name, value in REQUEST]
    fields = [pair for pair in fields if pair[0] not in names and pair[0] != without]
    pseudo = [pair for pair in extra if pair[0].startswith(b":") and pair[0] != b":path"]
    return (*pseudo, *fields, *[pair for pair in extra if not pair[0].startswith(b":")])


@dataclass(slots=True)
class Answer:
    """What came on one stream."""

    headers: Fields | None = None
    data: bytes = b""
    trailers: Fields | None = None
    ended: bool = False
    reset: ErrorCode | None = None

    @property
    def status(self) -> int | None:
        """The grpc-status, in trailers or in headers that end the stream."""
        fields = dict(self.trailers or self.headers or ())
        value = fields.get(b"grpc-status")
        return None if value is None else int(value)

    @property
    def message(self) -> str:
        return dict(self.trailers or self.headers or ()).get(b"grpc-message", b"").decode()

    @property
    def http_status(self) -> int:
        return int(dict(self.headers or ())[b":status"])


@dataclass(slots=True)
class RawPeer:
    """One end of a connection, frame by frame. What comes is kept by stream; it grants no window unless told to."""

    stream: anyio.abc.ByteStream
    answers: dict[int, Answer] = field(default_factory=lambda: defaultdict(Answer))
    frames: list[Frame] = field(default_factory=list)
    goaways: list[Frame] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)
    _decoder: Decoder = field(default_factory=Decoder)
    _pings: Iterator[int] = field(default_factory=count)

    async def send(self, *what: bytes) -> None:
        await self.stream.send(b"".join(what))

    async def receive(self) -> Frame:
        """The next frame. Raises `anyio.EndOfStream` when there is none."""
        if self._buffer[:3] == b"PRI":
            del self._buffer[: len(frames.PREFACE)]
        while len(self._buffer) < 9 or len(self._buffer) < 9 + int.from_bytes(self._buffer[:3]):
            try:
                self._buffer += await self.stream.receive()
            except anyio.BrokenResourceError:
                raise anyio.EndOfStream from None
            if self._buffer[:3] == b"PRI":
                while len(self._buffer) < len(frames.PREFACE):
                    self._buffer += await self.stream.receive()
                assert self._buffer.startswith(frames.PREFACE)
                del self._buffer[: len(frames.PREFACE)]
        size = 9 + int.from_bytes(self._buffer[:3])
        found = frames.parse(bytes(self._buffer[:size]))[0]
        del self._buffer[:size]
        self._note(found)
        return found

    def _note(self, each: Frame) -> None:
        self.frames.append(each)
        if each.kind == FrameType.GOAWAY:
            self.goaways.append(each)
        answer = self.answers[each.stream_id]
        if each.kind == FrameType.HEADERS:
            assert each.flags & frames.END_HEADERS, "CONTINUATION is not expected here"
            fields = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(each.payload, raw=True))
            if answer.headers is None:
                answer.headers = fields
            else:
                answer.trailers = fields
            answer.ended |= each.end
        elif each.kind == FrameType.DATA:
            answer.data += each.payload
            answer.ended |= each.end
        elif each.kind == FrameType.RST_STREAM and not answer.ended:
            answer.reset = each.code

    async def until(self, kind: FrameType, stream_id: int | None = None, *, ack: bool = False) -> Frame:
        """The next frame of that kind."""
        while True:
            found = await self.receive()
            wanted_ack = kind not in {FrameType.PING, FrameType.SETTINGS} or bool(found.flags & frames.ACK) == ack
            if found.kind == kind and wanted_ack and stream_id in {None, found.stream_id}:
                return found

    async def answer(self, stream_id: int = 1) -> Answer:
        """What came on a stream, once that has ended."""
        while not (self.answers[stream_id].ended or self.answers[stream_id].reset is not None):
            await self.receive()
        return self.answers[stream_id]

    async def barrier(self) -> None:
        """Returns when the other end has handled all that was sent to it."""
        payload = b"%08d" % next(self._pings)
        await self.send(frames.ping(payload))
        while (await self.until(FrameType.PING, ack=True)).payload != payload:
            pass

    async def closed(self) -> None:
        """Read to the end of the connection."""
        try:
            while True:
                await self.receive()
        except anyio.EndOfStream:
            pass

    async def goaway(self) -> Frame:
        """The GOAWAY that came, or is about to."""
        return self.goaways[-1] if self.goaways else await self.until(FrameType.GOAWAY)

    async def call(
        self, stream_id: int, body: bytes = framed(b"hello"), fields: Fields = REQUEST, *, end: bool = True
    ) -> None:
        """Send a request: its headers, and DATA with `body` where there is some."""
        if body:
            await self.send(frames.headers(stream_id, fields), frames.data(stream_id, body, end=end))
        else:
            await self.send(frames.headers(stream_id, fields, end=end))


@asynccontextmanager
async def raw_client(address: str, settings: dict[int, int] | None = None) -> AsyncIterator[RawPeer]:
    """A client past the exchange of SETTINGS."""
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        peer = RawPeer(stream)
        await peer.send(frames.PREFACE, frames.settings(settings or {}), frames.settings(ack=True))
        await peer.until(FrameType.SETTINGS)
        yield peer


@dataclass(slots=True)
class RawServer:
    """A server whose connections the test answers by hand."""

    address: str
    listener: anyio.abc.Listener[anyio.abc.ByteStream]
    _arrived: Any
    _accepted: list[RawPeer] = field(default_factory=list)

    async def accept(self, settings: dict[int, int] | None = None) -> RawPeer:
        """The next connection, past the exchange of SETTINGS."""
        peer: RawPeer = await self._arrived.receive()
        await peer.send(frames.settings(settings or {}), frames.settings(ack=True))
        await peer.until(FrameType.SETTINGS)
        return peer


@asynccontextmanager
async def raw_server() -> AsyncIterator[RawServer]:
    """A server of raw peers. Leaving it closes its connections."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    put, get = anyio.create_memory_object_stream[RawPeer](100)

    async def arrive(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await put.send(RawPeer(stream))
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks, put, get:
        tasks.start_soon(listener.serve, arrive)
        yield RawServer(f"ipv4:127.0.0.1:{port}", cast(Any, listener), get)
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def reply(peer: RawPeer, stream_id: int, message: bytes, *extra: tuple[bytes, bytes]) -> None:
    """A whole unary answer."""
    await peer.send(
        frames.headers(stream_id, frames.RESPONSE + extra),
        frames.data(stream_id, framed(message)),
        frames.headers(stream_id, frames.TRAILERS, end=True),
    )


ServerTest = Callable[[RawPeer, wire.Server], Awaitable[Any]]


def ask(
    test: ServerTest,
    *servicers: wire.Servicer,
    engine: EngineName = "tuned",
    settings: dict[int, int] | None = None,
    loop: LoopName = "asyncio",
    **config: Any,
) -> None:
    """Run `test(peer, server)`; afterwards another connection must be as well served as before."""

    async def main() -> None:
        config.setdefault("keepalive", wire.KeepaliveConfig(min_ping_interval_s=0))
        async with (
            serving(*servicers or (Probe(),), config=wire.ServerConfig(engine=engine, **config)) as (server, address),
            raw_client(address) as other,
        ):
            async with raw_client(address, settings) as peer:
                await test(peer, server)
            await other.call(1, b"", request(without=b"te"))
            assert (
                await other.answer(1)
            ).status == wire.StatusCode.UNIMPLEMENTED  # no request came: judged by a live server

    run(main, loop=loop)


def ask_once(body: bytes, *servicers: wire.Servicer, fields: frames.Fields = REQUEST, **options: Any) -> Any:
    """The answer to one request; the connection goes on to serve the next."""
    answers = []

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, body, fields)
        answers.append(await peer.answer(1))
        await peer.call(3, framed(b"next"))
        assert (await peer.answer(3)).ended

    ask(test, *servicers, **options)
    return answers[0]


ClientTest = Callable[[ProbeStub, RawPeer], Awaitable[Any]]


def answered(
    test: ClientTest,
    *,
    engine: EngineName = "tuned",
    loop: LoopName = "asyncio",
    settings: dict[int, int] | None = None,
    **config: Any,
) -> None:
    """Run `test(stub, peer)`, `peer` being the server's end of the stub's connection; that is in order afterwards."""

    async def main() -> None:
        channel_config = wire.ChannelConfig(engine=engine, transport=IMPATIENT, **config)
        async with raw_server() as server, wire.Channel(server.address, config=channel_config) as channel:
            stub = ProbeStub(channel)
            first = stub.unary(b"first", timeout=1000)
            peer = await server.accept(settings)
            await peer.until(FrameType.DATA, 1)
            await reply(peer, 1, b"first")
            assert await first == b"first"
            await test(stub, peer)
            last_id = max(peer.answers)
            last = stub.unary(b"last")
            stream_id = last_id + 2
            await peer.until(FrameType.HEADERS, stream_id)
            await peer.answer(stream_id)
            await reply(peer, stream_id, b"last")
            assert await last == b"last"

    run(main, loop=loop)
