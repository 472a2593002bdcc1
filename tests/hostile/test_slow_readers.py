"""Peers that ask for replies and take none: what streams and running handlers hold is a message each."""

from __future__ import annotations

import gzip

from tests.hostile.peer import CLOSED, Peer
from tests.hostile.rig import MIB, Rig, hostile, message_mib, replies_mib, senders_mib
from wire.config import ServerConfig
from wire.rpc.framing import frame

GZIP = (b"grpc-encoding", b"gzip")


def _held(config: ServerConfig) -> float:
    return replies_mib(config) + message_mib(config)


RUNNING = 80


def _held_by_handlers(config: ServerConfig) -> float:
    """Of streams, and such as have begun: a message each."""
    return _held(config) + senders_mib(config, RUNNING, MIB)


def _ask(rig: Rig, method: str, count: int, size: int = MIB, peer: Peer | None = None) -> Peer:
    peer = peer or rig.connect(settings=CLOSED)
    body = frame(b"%d" % size)
    for _ in range(count):
        peer.request(method, body)
        if peer.closed:
            break
    rig.settle(peer)
    return peer


@hostile(_held_by_handlers)
def test_replies_of_tasks_through_closed_stream_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "LargeLater", RUNNING)


@hostile(_held_by_handlers)
def test_streamed_replies_of_1_mib_through_closed_stream_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Down", RUNNING)


@hostile(_held_by_handlers, stays_mib=200)
def test_streamed_replies_of_64_kib_through_closed_stream_windows(rig: Rig) -> None:
    """What stays are holes in the C library's heap: the second thousand takes no more than the first."""
    for _ in rig.rounds():
        for _ in range(2):
            _ask(rig, "Down", 1000, 60_000)
            rig.hang_up()


@hostile(_held_by_handlers)
def test_streamed_replies_that_are_not_read_from_the_socket(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Down", RUNNING, peer=rig.connect(reads=False))


@hostile(_held_by_handlers)
def test_echoes_of_a_compressed_stream_that_are_not_read(rig: Rig) -> None:
    body = gzip.compress(bytes(MIB))
    body = b"\1" + len(body).to_bytes(4) + body
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        for _ in range(50):
            peer.request("Bidi", body * (20 if rig.full else 5), GZIP, end=False)
        rig.settle(peer)


@hostile(_held_by_handlers, config={"keepalive": {"timeout_s": 0.3}})
def test_a_peer_that_does_not_read_its_socket_is_cut_off(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Large", 30, peer=rig.connect(reads=False))
        assert rig.eventually(lambda: rig.report()["connections"] <= 1), "the connection stays"


@hostile(_held)
def test_deadlines_free_what_is_not_read(rig: Rig) -> None:
    body = frame(b"%d" % MIB)
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        streams = [peer.request("Large", body, (b"grpc-timeout", b"200m")) for _ in range(8)]
        assert peer.wait_ended(*streams), "no deadline ended the calls"
