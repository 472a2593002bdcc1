"""What tests of the centre share: a service over bytes, servers and channels in pairs, a clock set by hand, and peers
that speak frames."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import anyio
import anyio.abc
import pytest
from hpack import Decoder

import wire
from tests.http2 import frames
from tests.http2.frames import Fields, Frame
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType
from wire.rpc.framing import frame as framed
from wire.transport.link import Peer, Runtime
from wire.transport.runtime import LoopName, open_runtime

T = TypeVar("T")

LOOPS: tuple[LoopName, ...] = ("asyncio", "uvloop", "trio")
ENGINES: tuple[EngineName, ...] = ("tuned", "h2")
LOCAL = "127.0.0.1:0"
TIMEOUT_S = 10.0
"""When a test that waits in vain gives up."""
IMPATIENT = wire.TransportConfig(linger_s=0)
"""For channels to raw peers, which do not close their side when they are asked to."""


def run(async_function: Callable[..., Awaitable[T]], *args: Any, loop: LoopName = "asyncio") -> T:
    """Run a test's coroutine function to its end; it fails rather than hang."""

    async def limited() -> T:
        with anyio.fail_after(TIMEOUT_S):
            return await async_function(*args)

    return wire.run(limited, loop=loop)


# A service over bytes.

UNARY = wire.UnaryUnary("Unary", bytes, bytes)
SERVER_STREAM = wire.UnaryStream("ServerStream", bytes, bytes)
CLIENT_STREAM = wire.StreamUnary("ClientStream", bytes, bytes)
BIDI = wire.StreamStream("Bidi", bytes, bytes)
PROBE_SERVICE = wire.Service("probe.v1.Probe", (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI))

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


class ProbeStub(wire.Stub):
    service = PROBE_SERVICE
    Unary = UNARY
    ServerStream = SERVER_STREAM
    ClientStream = CLIENT_STREAM
    Bidi = BIDI


class Probe(wire.Servicer):
    """Answers with what the handlers given to it say; a method that got none echoes."""

    service = PROBE_SERVICE

    def __init__(self, **handlers: Callable[..., Any]) -> None:
        for name, handler in handlers.items():
            setattr(self, name, handler)

    def Unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        return request

    def ServerStream(self, request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        """Each byte of the request as a message."""
        for byte in request:
            yield bytes([byte])

    async def ClientStream(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        return b"".join([each async for each in requests])

    async def Bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each


@dataclass(slots=True)
class Pair:
    """A server, a channel to it and a stub on that."""

    server: wire.Server
    address: str
    channel: wire.Channel
    stub: ProbeStub


@asynccontextmanager
async def serving(
    *servicers: wire.Servicer, config: wire.ServerConfig | None = None, tls: wire.ServerTls | None = None
) -> AsyncIterator[tuple[wire.Server, str]]:
    """A server (of `Probe()`, unless told) on a port of its own, and its address."""
    async with wire.Server(servicers or (Probe(),), config=config, tls=tls) as server:
        yield server, await server.listen(LOCAL)
        await server.stop(0)


@asynccontextmanager
async def paired(
    *servicers: wire.Servicer,
    engine: EngineName = "tuned",
    server_config: wire.ServerConfig | None = None,
    channel_config: wire.ChannelConfig | None = None,
) -> AsyncIterator[Pair]:
    server_config = replace(server_config or wire.ServerConfig(), engine=engine)
    channel_config = replace(channel_config or wire.ChannelConfig(), engine=engine)
    async with (
        serving(*servicers, config=server_config) as (server, address),
        wire.Channel(address, config=channel_config) as channel,
    ):
        yield Pair(server, address, channel, ProbeStub(channel))


async def status_of(call: Awaitable[Any]) -> tuple[wire.StatusCode, str]:
    """How a call ends: OK and "", or the error's code and message."""
    try:
        await call
    except wire.RpcError as error:
        return error.code, error.message
    return wire.StatusCode.OK, ""


async def collect(call: AsyncIterator[T] | Any) -> list[T]:
    return [each async for each in call]


async def turns(count: int = 20) -> None:
    """Let everything that is ready run. Only for showing that nothing happens; to wait for something, use an event."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def short_directory() -> AsyncIterator[Path]:
    """A directory whose path leaves room for the name of a UNIX socket."""
    with TemporaryDirectory(prefix="wire") as directory:
        yield Path(directory)


# A clock set by hand.


class ManualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], Any] | None) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """Time and timers of runtimes, which stand still until `advance`."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._order = count()

    def now(self) -> float:
        return self._now

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> ManualTimer:
        timer = ManualTimer(lambda: callback(*args))
        heapq.heappush(self._timers, (self._now + delay_s, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Run what falls due on the way, each at its time."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if timer.callback is not None:
                timer.callback()
        self._now = end

    @property
    def pending(self) -> list[float]:
        """In how many seconds the timers fall due that were not cancelled."""
        return sorted(due - self._now for due, _, timer in self._timers if timer.callback is not None)

    @asynccontextmanager
    async def open_runtime(self) -> AsyncIterator[Runtime]:
        """The running loop's runtime on this clock. What is due at once is run at once."""
        async with open_runtime() as runtime:

            def call_later(delay_s: float, callback: Callable[..., Any], *args: Any) -> ManualTimer:
                if delay_s > 0:
                    return self.call_later(delay_s, callback, *args)
                timer = ManualTimer(lambda: callback(*args))
                runtime.call_soon(lambda: timer.callback and timer.callback())
                return timer

            stopped = cast(Any, runtime)
            stopped.now, stopped.call_later = self.now, call_later
            yield runtime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock of all servers and channels that the test opens."""
    clock = ManualClock()
    monkeypatch.setattr("wire.server.open_runtime", clock.open_runtime)
    monkeypatch.setattr("wire.channel.open_runtime", clock.open_runtime)
    return clock


class ManualRuntime:
    """Time and callbacks for connections on their own: no event loop, no tasks."""

    name = "manual"

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.now = self.clock.now
        self.call_later = self.clock.call_later
        self._ready: list[Callable[[], Any]] = []

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._ready.append(lambda: callback(*args))

    def turn(self) -> None:
        """One turn of the loop."""
        ready, self._ready = self._ready, []
        for callback in ready:
            callback()


class MemoryLink:
    """A `Link` that writes into a list, and says what was done to it."""

    def __init__(self) -> None:
        self.peer = Peer("memory:")
        self.written: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def sent(self) -> list[Frame]:
        """The frames written since the last time."""
        written, self.written = b"".join(self.written), []
        return frames.parse(written)


# Peers that speak frames.


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
