"""Messages that grow when they are inflated: bounded before it happens, in each kind of call, and freed with it."""

from __future__ import annotations

import gzip
import struct
import zlib
from functools import cache

from tests.hostile.peer import CLOSED
from tests.hostile.rig import ALL_LOOPS, MIB, Rig, hostile, message_mib, replies_mib, senders_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.status import StatusCode

GZIP = (b"grpc-encoding", b"gzip")
DEFLATE = (b"grpc-encoding", b"deflate")


def _held(config: ServerConfig) -> float:
    return unread_mib(config) + 2 * message_mib(config) + replies_mib(config)


@cache
def _bomb(size: int, encoding: tuple[bytes, bytes] = GZIP) -> bytes:
    compress = gzip.compress if encoding is GZIP else zlib.compress
    body = compress(bytes(size))
    return struct.pack(">BI", 1, len(body)) + body


@hostile(_held, loops=ALL_LOOPS)
def test_fifteen_messages_of_4_mib_in_one_frame_of_a_unary_call(rig: Rig) -> None:
    """4 KiB of DATA each, inflated to 4 MiB; a unary call has one."""
    body = _bomb(4 * MIB) * 15
    for _ in rig.rounds():
        peer = rig.connect()
        before_s = rig.report()["cpu_s"]
        streams = [peer.request("Echo", body, GZIP) for _ in range(20)]
        assert peer.wait_ended(*streams)
        assert {peer.statuses.get(each) for each in streams} <= {StatusCode.UNIMPLEMENTED}, peer.statuses
        spent_s = rig.report()["cpu_s"] - before_s
        assert spent_s < 0.5, f"{spent_s:.1f} s of CPU"


@hostile(_held)
def test_second_message_of_a_unary_call_in_a_frame_of_its_own(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(20):
            stream_id = peer.request("Echo", _bomb(4 * MIB), GZIP, end=False)
            peer.send(f.data(stream_id, _bomb(4 * MIB), end=True))
            assert peer.wait_ended(stream_id)
            assert peer.statuses[stream_id] == StatusCode.UNIMPLEMENTED


@hostile(_held)
def test_bombs_of_a_unary_call(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for encoding in (GZIP, DEFLATE):
            for _ in range(100 if rig.full else 20):
                stream_id = peer.request("Echo", _bomb(64 * MIB, encoding), encoding)
                assert peer.wait_ended(stream_id)
                assert peer.statuses[stream_id] == StatusCode.RESOURCE_EXHAUSTED


@hostile(_held, loops=ALL_LOOPS)
def test_bombs_on_a_stream_each(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(1000 if rig.full else 30):
            stream_id = peer.request("Bidi", _bomb(64 * MIB), GZIP, end=False)
            assert peer.wait_ended(stream_id)
            assert peer.statuses[stream_id] == StatusCode.RESOURCE_EXHAUSTED


@hostile(_held)
def test_bombs_of_client_streams(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(300 if rig.full else 50):
            stream_id = peer.request("Collect", _bomb(64 * MIB, DEFLATE), DEFLATE, end=False)
            assert peer.wait_ended(stream_id)
            assert peer.statuses[stream_id] == StatusCode.RESOURCE_EXHAUSTED


@hostile(_held)
def test_bombs_behind_each_other_for_a_handler_that_takes_none(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(50):
            peer.request("Deaf", _bomb(4 * MIB) * 10, GZIP, end=False)
        peer.barrier()


@hostile(lambda config: _held(config) + senders_mib(config, 20, 4 * MIB))
def test_messages_just_under_the_limit_whose_echoes_are_not_read(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        for _ in range(20 if rig.full else 8):
            peer.request("Bidi", _bomb(4 * MIB), GZIP, end=False)
        rig.settle(peer)


@hostile(lambda config: unread_mib(config, 100) + 2 * message_mib(config) + replies_mib(config), loops=ALL_LOOPS)
def test_long_messages_that_wait_for_the_thread(rig: Rig) -> None:
    """A hundred streams that each send 3 MiB, compressed to as much, for handlers that wait for them."""
    body = gzip.compress(bytes(3 * MIB), 0)
    body = struct.pack(">BI", 1, len(body)) + body
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        streams = [peer.request("Collect", None, GZIP, end=False) for _ in range(100 if rig.full else 40)]
        for stream_id in streams:
            peer.push_body(stream_id, body)
        peer.barrier()


@hostile(_held, loops=ALL_LOOPS)
def test_bombs_on_a_stream_of_the_echo_service(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [
            peer.request("/echo.v1.EchoService/EchoStream", _bomb(64 * MIB), GZIP, end=False)
            for _ in range(400 if rig.full else 40)
        ]
        assert peer.wait_ended(*streams)
