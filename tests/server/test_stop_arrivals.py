"""What arrives when a server stops, on connections that wait to be accepted above all: it is served within the grace,
and its client told to go."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from unittest.mock import patch

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.http2 import frames
from tests.memory import no_socket, world
from tests.peers import RawPeer, request
from tests.support import LOCAL, Probe, run
from wire.config import EngineName
from wire.http2.codes import FrameType
from wire.rpc.framing import frame as framed
from wire.status import StatusCode
from wire.transport.runtime import LoopName


class _Stream:
    """A `RawPeer`'s stream over a blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes) -> None:
        await anyio.to_thread.run_sync(self._sock.sendall, data)

    async def receive(self) -> bytes:
        data = await anyio.to_thread.run_sync(self._sock.recv, 1 << 16)
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        self._sock.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Closed after the test."""
    found: list[socket.socket] = []
    yield found
    for sock in found:
        sock.close()


def _dial(address: str, sockets: list[socket.socket]) -> socket.socket:
    """Connected by the kernel: the server's event loop has not turned."""
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    sockets.append(socket.create_connection((host, int(port)), timeout=5))
    return sockets[-1]


async def _is_served(peer: RawPeer) -> None:
    """Its request is answered, and it is told that the server goes, twice."""
    answer = await peer.answer(1)
    assert answer.status == StatusCode.OK
    assert answer.data == framed(b"hello")
    pings = [each for each in peer.frames if each.kind == FrameType.PING]
    ping = pings[0] if pings else await peer.until(FrameType.PING)
    await peer.send(frames.settings(ack=True), frames.ping(ping.payload, ack=True))
    await peer.closed()
    assert [each.number for each in peer.goaways] == [2**31 - 1, 1]


_OPENING = (frames.PREFACE, frames.settings(), frames.headers(1, request()), frames.data(1, framed(b"hello"), end=True))


def test_what_was_sent_on_a_connection_that_was_not_accepted_yet_is_answered(
    loop: LoopName, engine: EngineName, sockets: list[socket.socket]
) -> None:
    async def main() -> None:
        async with wire.Server([Probe()], config=wire.ServerConfig(engine=engine)) as server:
            address = await server.listen(LOCAL)
            peers = []
            for _ in range(100):  # more than one turn accepts
                sock = _dial(address, sockets)
                sock.sendall(b"".join(_OPENING))
                peers.append(RawPeer(_Stream(sock)))  # type: ignore[arg-type]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.stop, 5)
                for peer in peers:
                    tasks.start_soon(_is_served, peer)

    run(main, loop=loop)


def test_a_handshake_that_has_not_begun_when_the_server_stops_is_waited_for(
    loop: LoopName, sockets: list[socket.socket], certificates: Certificates
) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key)
    context = ssl.create_default_context(cafile=certificates.ca)
    context.set_alpn_protocols(["h2"])

    async def main() -> None:
        async with wire.Server([Probe()], tls=tls) as server:
            sock = _dial(await server.listen(LOCAL), sockets)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.stop, 5)
                wrapped = await anyio.to_thread.run_sync(lambda: context.wrap_socket(sock, server_hostname="localhost"))
                sockets.append(wrapped)
                peer = RawPeer(_Stream(wrapped))  # type: ignore[arg-type]
                await peer.send(*_OPENING)
                await _is_served(peer)

    run(main, loop=loop)


def test_without_grace_they_are_told_at_once(loop: LoopName, sockets: list[socket.socket]) -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            sock = _dial(await server.listen(LOCAL), sockets)
            sock.sendall(b"".join(_OPENING[:2]))
            peer = RawPeer(_Stream(sock))  # type: ignore[arg-type]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.stop, 0)
                await peer.closed()
            assert peer.goaways
            assert peer.goaways[-1].payload.endswith(b"shutting down")

    run(main, loop=loop)


def test_a_handshake_that_never_ends_is_not_waited_for_longer_than_the_grace(
    loop: LoopName, sockets: list[socket.socket], certificates: Certificates
) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key)

    async def main() -> None:
        async with wire.Server([Probe()], tls=tls) as server:
            _dial(await server.listen(LOCAL), sockets)
            await server.stop(0.05)

    run(main, loop=loop)


def test_requests_that_the_final_goaway_names_are_answered(engine: EngineName) -> None:
    """Also those that were read in part when the client's time to acknowledge the first one was over."""

    async def main() -> None:
        # The clock says that each turn is over as soon as it has begun.
        with world() as outside, patch("wire.connection.perf_counter", lambda: float("inf")):
            async with wire.Server([Probe()], config=wire.ServerConfig(engine=engine)) as server:
                server.serve(no_socket())
                end = outside.connect()
                (connection,) = server.connections
                connection.drain()
                ids = range(1, 201, 2)
                heads = [frames.headers(each, request()) for each in ids]
                end.receive(*heads, *(frames.data(each, framed(b"hello"), end=True) for each in ids))
                outside.clock.advance(5.1)
                await outside.settle()
                final = end.frames_of(FrameType.GOAWAY)[-1].number
                assert 1 < final < ids[-1]
                assert [each for each in ids if end.status(each) == StatusCode.OK] == list(range(1, final + 1, 2))
                assert end.closed

    run(main)
