"""Messages that never end: their bytes count against the connection, and cost what they weigh however they are cut."""

from __future__ import annotations

import struct

from tests.hostile.peer import Peer
from tests.hostile.rig import ALL_LOOPS, MIB, Rig, hostile, message_mib, unread_mib
from wire.config import ServerConfig

STREAMS = 200


def _unfinished(rig: Rig, method: str, streams: int, size: int = 4 * MIB, **options: int) -> Peer:
    """Streams with a message of `size` bytes of which the last byte is missing."""
    peer = rig.connect()
    first = struct.pack(">BI", 0, size)
    for _ in range(streams):
        stream_id = peer.request(method, end=False)
        peer.push(stream_id, size + 4, first=first, **options)
        if peer.closed:
            break
    peer.barrier()
    return peer


def _held(config: ServerConfig) -> float:
    return unread_mib(config, STREAMS) + message_mib(config)


@hostile(_held, loops=ALL_LOOPS)
def test_unary_requests_of_4_mib_that_never_end(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Echo", STREAMS if rig.full else 40)


@hostile(_held)
def test_messages_of_a_stream_that_never_end(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Bidi", STREAMS if rig.full else 40)


@hostile(_held)
def test_messages_that_never_end_for_a_handler_that_takes_none(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Deaf", STREAMS if rig.full else 40)


@hostile(_held)
def test_padded_messages_that_never_end(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Collect", STREAMS if rig.full else 40, pad=255)


@hostile(_held)
def test_a_message_in_frames_of_2_bytes(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Echo", 1, 4 * MIB if rig.full else MIB // 2, frame_bytes=2)


@hostile(_held)
def test_messages_in_frames_of_64_bytes(rig: Rig) -> None:
    for _ in rig.rounds():
        _unfinished(rig, "Bidi", 3, 4 * MIB if rig.full else MIB, frame_bytes=64)


@hostile(_held)
def test_a_thousand_prefixes_and_a_byte(rig: Rig) -> None:
    """Many streams that each have announced a large message, and sent one byte of it."""
    for _ in rig.rounds():
        peer = rig.connect()
        body = struct.pack(">BI", 0, 4 * MIB) + b"x"
        for _ in range(1000):
            peer.request("Collect", body, end=False)
        assert peer.barrier()
