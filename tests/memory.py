"""Channels and servers on transports in memory and a clock set by hand; the test is their peer, frame by frame.

No sockets, no time: what happens is what the test does, and `turns` lets everything that is ready run. `World` stands
for what is outside: each connection that a channel makes, or that a test makes to a server, is an `End` in its `ends`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import anyio

from tests.clocks import ManualClock, MemoryTransport
from tests.http2 import frames
from tests.http2.frames import FieldReader, Fields, Frame
from tests.support import turns
from wire.errors import ConnectError
from wire.http2.codes import FrameType
from wire.rpc.framing import frame as framed
from wire.transport.address import TcpAddress
from wire.transport.contract import Candidate, Future, Runtime

_TURNS = 30  # more than the longest chain of callbacks and tasks takes to come to rest


class End(MemoryTransport):
    """One end of a connection: a transport for ours, and the peer that the test plays."""

    def __init__(self, runtime: Runtime, receiver: Any) -> None:
        super().__init__()
        self._runtime = runtime
        self._receiver = receiver
        self._reader = FieldReader()
        self.lost = False
        self.begun: set[int] = set()
        """For the test: streams on which it has sent headers."""
        self.frames: list[Frame] = []
        """All that was written so far."""
        self.fields: dict[int, list[Fields]] = {}
        """The field sections of each stream, in order."""
        receiver.connection_made(self)

    def close(self) -> None:
        super().close()
        self.lose()

    def abort(self) -> None:
        super().abort()
        self.lose()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.closed = True
            self._runtime.call_soon(self._receiver.connection_lost, error)

    def eof(self) -> None:
        """The peer closes its side."""
        if not self.lost:
            self._receiver.eof_received()

    def pause(self) -> None:
        """The peer stops reading."""
        self.unsent = 1
        self._receiver.pause_writing()

    def resume(self) -> None:
        self.unsent = 0
        self._receiver.resume_writing()

    def receive(self, *what: bytes) -> None:
        """The peer sends, in one read."""
        data = b"".join(what)
        if data and not self.lost:
            self._receiver.data_received(data)

    def read(self) -> list[Frame]:
        """What was written since the last time. SETTINGS and pings are acknowledged."""
        found = self.sent()
        self.frames += found
        for stream_id, fields, _ in self._reader.read(found):
            self.fields.setdefault(stream_id, []).append(fields)
        for each in found:
            if each.flags & frames.ACK:
                continue
            if each.kind == FrameType.SETTINGS:
                self.receive(frames.settings(ack=True))
            elif each.kind == FrameType.PING:
                self.receive(frames.ping(each.payload, ack=True))
        return found

    @property
    def streams(self) -> int:
        """How many are open at ours."""
        return 0 if self.lost else len(self._receiver.engine.streams)

    def opened(self) -> list[int]:
        """The streams on which something came, in the order of their ids."""
        self.read()
        return sorted(self.fields)

    def ended(self, stream_id: int) -> bool:
        """Whether the other side has ended the stream, or reset it."""
        self.read()
        return any(
            each.stream_id == stream_id
            and (each.kind == FrameType.RST_STREAM or (each.kind in (FrameType.DATA, FrameType.HEADERS) and each.end))
            for each in self.frames
        )

    def frames_of(self, kind: FrameType) -> list[Frame]:
        """All of a type that came so far."""
        self.read()
        return [each for each in self.frames if each.kind == kind]

    def status(self, stream_id: int) -> int | None:
        """The grpc-status that came."""
        self.read()
        for fields in self.fields.get(stream_id, ()):
            if (value := dict(fields).get(b"grpc-status")) is not None:
                return int(value)
        return None

    def resets(self, stream_id: int) -> list[int]:
        """The codes of the RST_STREAMs that came."""
        self.read()
        found = self.frames
        return [each.code for each in found if each.kind == FrameType.RST_STREAM and each.stream_id == stream_id]


@dataclass(slots=True)
class World:
    """What is outside of the runtimes opened in `world`."""

    clock: ManualClock = field(default_factory=ManualClock)
    ends: list[End] = field(default_factory=list)
    refusing: bool = False
    """Whether attempts to connect fail."""
    black: bool = False
    """Whether attempts to connect bring nothing at all."""
    makers: list[Callable[[], Any]] = field(default_factory=list)
    """What makes a receiver for a connection to a server, for each socket that it listens on."""
    runtime: Any = None

    @asynccontextmanager
    async def _open_runtime(self) -> AsyncIterator[Runtime]:
        async with self.clock.open_runtime() as runtime:
            changed = cast(Any, runtime)
            changed.resolve, changed.connect, changed.listen = self._resolve, self._connect, self._listen
            self.runtime = runtime
            yield runtime

    async def _resolve(self, address: Any, timeout_s: float) -> list[Candidate]:
        return [Candidate(TcpAddress("127.0.0.1", 1), 2, ("127.0.0.1", 1))]

    async def _connect(self, candidate: Candidate, receiver: Any, *, tls: Any, config: Any) -> End:
        if self.black:
            nothing: Future[None] = self.runtime.future()
            await nothing
        if self.refusing:
            await anyio.lowlevel.checkpoint()  # who is told at once has not been refused by a network
            raise ConnectError("nobody listens")
        self.ends.append(End(self.runtime, receiver))
        return self.ends[-1]

    def _listen(self, sock: Any, make_receiver: Callable[[], Any], **options: Any) -> Any:
        self.makers.append(make_receiver)
        return _Listener(lambda: self.makers.remove(make_receiver))

    def connect(self, settings: dict[int, int] | None = None, *, greet: bool = True) -> End:
        """A connection to the server, past the exchange of SETTINGS, unless it is not to `greet`."""
        end = End(self.runtime, self.makers[0]())
        self.ends.append(end)
        if greet:
            end.receive(frames.PREFACE, frames.settings(settings or {}))
            end.read()
        return end

    async def settle(self) -> None:
        """Let all that is ready run."""
        await turns(_TURNS)


@dataclass
class _Listener:
    drain: Callable[[], None]
    arriving = 0
    on_arrived = None


@contextmanager
def world() -> Iterator[World]:
    """Channels and servers that are entered in the block are in this world."""
    made = World()
    with (
        patch("wire.server.server.open_runtime", made._open_runtime),
        patch("wire.client.channel.open_runtime", made._open_runtime),
    ):
        yield made


def no_socket() -> Any:
    """For `Server.serve` in a world, where nobody listens on it: its name can be asked for."""
    return SimpleNamespace(family=socket.AF_UNIX, getsockname=lambda: "")


def message(size: int = 1) -> bytes:
    """A message of so many bytes, as DATA carries it."""
    return framed(bytes(size))
