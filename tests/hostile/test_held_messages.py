"""Messages that handlers hold which do not end: bounded for the connection, whatever they were before."""

from __future__ import annotations

import gzip
import struct
from functools import cache

from tests.hostile.peer import Peer
from tests.hostile.rig import ALL_LOOPS, MIB, Rig, handlers_mib, hostile, message_mib, unread_mib
from tests.hostile.test_protobuf import STAYS_MIB
from wire.config import ServerConfig
from wire.rpc.framing import frame
from wire.status import StatusCode

GZIP = (b"grpc-encoding", b"gzip")
SMALL = {"handler_messages_bytes": 32 * MIB, "keepalive": {"max_ping_strikes": 1 << 20}}
"""And PINGs without number: the peer waits by them for its windows to be opened."""


def _held(config: ServerConfig) -> float:
    """Those of handlers, and one that is being decoded."""
    return handlers_mib(config) + unread_mib(config) + message_mib(config) + (config.calls.max_decoded_bytes or 0) / MIB


@cache
def _compressed(message: bytes) -> bytes:
    body = gzip.compress(message)
    return struct.pack(">BI", 1, len(body)) + body


def _judge(peer: Peer, streams: list[int], fit: int) -> None:
    """So many are held, and the others were refused."""
    assert peer.wait(lambda: len(peer.statuses) >= len(streams) - fit), f"{len(peer.statuses)} of {len(streams)}"
    assert set(peer.statuses.values()) <= {StatusCode.RESOURCE_EXHAUSTED}, peer.statuses
    assert len(peer.statuses) < len(streams)


@hostile(_held, config=SMALL, loops=ALL_LOOPS)
def test_handlers_that_hold_requests_of_a_kilobyte_that_became_4_mib(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        count = 800 if rig.full else 60
        _judge(peer, [peer.request("Hold", _compressed(bytes(4 * MIB)), GZIP) for _ in range(count)], 8)


@hostile(_held, config=SMALL)
def test_handlers_that_hold_requests_of_4_mib(rig: Rig) -> None:
    body = frame(bytes(4 * MIB))
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [peer.request("Hold", end=False) for _ in range(100 if rig.full else 20)]
        for stream_id in streams:
            peer.push_body(stream_id, body)
            peer.finish(stream_id)
        _judge(peer, streams, 8)


@hostile(_held, config=SMALL, loops=ALL_LOOPS)
def test_handlers_of_streams_that_hold_a_message_each(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        count = 800 if rig.full else 60
        streams = [peer.request("Collect", _compressed(bytes(4 * MIB)), GZIP, end=False) for _ in range(count)]
        _judge(peer, streams, 8)


@hostile(_held, config={**SMALL, "calls": {"max_decoded_bytes": 16 * MIB}}, stays_mib=STAYS_MIB)
def test_handlers_that_hold_100_000_empty_messages_each(rig: Rig) -> None:
    """200 KB that take 12 MiB: it is the objects that count."""
    for _ in rig.rounds():
        peer = rig.connect()
        message = frame(b"\x1a\x00" * 50_000)
        streams = [peer.request("HoldTree", end=False) for _ in range(60 if rig.full else 12)]
        for stream_id in streams:
            peer.push_body(stream_id, message)
            peer.finish(stream_id)
        _judge(peer, streams, 4)
