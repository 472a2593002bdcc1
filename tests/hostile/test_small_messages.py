"""Messages of a byte whose echoes are not read: what is counted is what is held, queue objects included."""

from __future__ import annotations

from tests.hostile.peer import CLOSED
from tests.hostile.rig import ALL_LOOPS, Rig, hostile, replies_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.rpc.framing import frame

STREAMS = 100


def _held(config: ServerConfig) -> float:
    return unread_mib(config, STREAMS) + replies_mib(config)


def _unread_echoes(rig: Rig, message: bytes, size: int, method: str = "Bidi", **options: object) -> None:
    peer = rig.connect(**options) if options else rig.connect(settings=CLOSED)
    for _ in range(STREAMS):
        stream_id = peer.request(method, end=False)
        body = frame(message)
        peer.send(b"".join(_frames(stream_id, body, size)))
    rig.settle(peer)


def _frames(stream_id: int, body: bytes, size: int) -> list[bytes]:
    a_frame = f.data(stream_id, body * (16_000 // len(body)))
    return [a_frame] * (size // 16_000)


@hostile(_held, loops=ALL_LOOPS)
def test_echoes_of_1_byte_through_closed_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _unread_echoes(rig, b"x", 64_000 if rig.full else 32_000)


@hostile(_held)
def test_echoes_of_no_bytes_through_closed_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _unread_echoes(rig, b"", 64_000 if rig.full else 32_000)


@hostile(_held)
def test_echoes_of_1_byte_through_the_closed_window_of_the_connection(rig: Rig) -> None:
    for _ in rig.rounds():
        _unread_echoes(rig, b"x", 32_000, window_bytes=0)


@hostile(_held)
def test_echoes_of_1_byte_that_are_not_read_from_the_socket(rig: Rig) -> None:
    for _ in rig.rounds():
        _unread_echoes(rig, b"x", 32_000, reads=False)


@hostile(_held)
def test_server_streams_of_1_byte_through_closed_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        for _ in range(STREAMS):
            peer.request("Down", frame(b"1"))
        rig.settle(peer)


@hostile(_held)
def test_unary_replies_of_no_bytes_that_are_not_read(rig: Rig) -> None:
    """The trailers wait behind DATA that waits behind a window."""
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        for _ in range(1000):
            peer.request("Echo", frame(b"x"))
        rig.settle(peer)
