"""Replies that a peer asks for and does not take, of each kind: behind closed windows, or in an unread socket."""

from __future__ import annotations

import gzip

from tests.hostile.peer import CLOSED, Peer, path
from tests.hostile.rig import ALL_LOOPS, MIB, Rig, hostile, message_mib, replies_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.http2.codes import Setting
from wire.rpc.framing import frame

GZIP = (b"grpc-encoding", b"gzip")


def _held(config: ServerConfig) -> float:
    return replies_mib(config) + message_mib(config)


RUNNING = 80


def _ask(rig: Rig, method: str, count: int, size: int = MIB, peer: Peer | None = None) -> Peer:
    peer = peer or rig.connect(settings=CLOSED)
    body = frame(b"%d" % size)
    for _ in range(count):
        peer.request(method, body)
        if peer.closed:
            break
    rig.settle(peer)
    return peer


@hostile(_held, loops=ALL_LOOPS)
def test_replies_of_1_mib_through_closed_stream_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Large", 400 if rig.full else 80)


@hostile(_held)
def test_replies_to_streams_through_closed_stream_windows(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Collect", 400 if rig.full else 80)


@hostile(_held)
def test_replies_through_the_closed_window_of_the_connection(rig: Rig) -> None:
    """Each stream is open as wide as can be."""
    for _ in rig.rounds():
        _ask(rig, "Large", 400 if rig.full else 80, peer=rig.connect(window_bytes=0))


@hostile(lambda config: _held(config) + config.http2.max_concurrent_streams * 16_384 / MIB, loops=ALL_LOOPS)
def test_short_replies_to_calls_apart_from_their_data_as_the_window_closes(rig: Rig) -> None:
    """Each of which is sent at once while it is open, and waits with its request after that."""
    head, body = f.block(path("Echo")), frame(bytes(10_000))
    for _ in rig.rounds():
        peer = rig.connect(window_bytes=1 << 20)
        for _ in range(20 if rig.full else 4):
            ids = [peer.next_id() for _ in range(50)]
            peer.send(b"".join(f.headers(each, head) for each in ids))
            peer.send(b"".join(f.data(each, body, end=True) for each in ids))
            peer.send(b"".join(f.rst_stream(each) for each in ids[::2]) + f.window_update(0, 1))
        rig.settle(peer)


@hostile(_held)
def test_replies_through_a_window_that_is_opened_by_a_byte_at_a_time(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = _ask(rig, "Large", 200 if rig.full else 60)
        for number in range(500):
            peer.send(f.window_update(2 * (number % 20) + 1, 1))
        rig.settle(peer)


@hostile(_held, loops=ALL_LOOPS)
def test_replies_that_are_not_read_from_the_socket(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Large", 400 if rig.full else 80, peer=rig.connect(reads=False))


@hostile(lambda config: replies_mib(config, copies=4), tls=True)
def test_replies_over_tls_that_are_not_read_from_the_socket(rig: Rig) -> None:
    for _ in rig.rounds():
        _ask(rig, "Large", 400 if rig.full else 80, peer=rig.connect(reads=False))


@hostile(_held)
def test_echoes_of_compressed_requests_that_are_not_read(rig: Rig) -> None:
    """A kilobyte each, of which the server makes a mebibyte."""
    body = gzip.compress(bytes(MIB))
    for _ in rig.rounds():
        peer = rig.connect(settings=CLOSED)
        for _ in range(400 if rig.full else 80):
            peer.request("Echo", b"\1" + len(body).to_bytes(4) + body, GZIP)
        rig.settle(peer)


@hostile(_held)
def test_window_that_was_open_and_is_shut_by_settings(rig: Rig) -> None:
    """Negative windows (RFC 9113 §6.9.2), for streams that have been answered in part."""
    for _ in rig.rounds():
        peer = rig.connect(settings={Setting.INITIAL_WINDOW_SIZE: 1000})
        _ask(rig, "Large", 40, peer=peer)
        peer.send(f.settings(CLOSED))
        _ask(rig, "Large", 40, peer=peer)


@hostile(_held, config={"keepalive": {"timeout_s": 0.3}})
def test_a_peer_that_grants_no_window_is_cut_off(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = _ask(rig, "Large", 30)
        assert peer.wait_closed(), "the connection stays"


@hostile(_held, config={"keepalive": {"timeout_s": 0.3}})
def test_a_peer_that_grants_no_connection_window_is_cut_off(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = _ask(rig, "Large", 30, peer=rig.connect(window_bytes=0))
        assert peer.wait_closed(), "the connection stays"
