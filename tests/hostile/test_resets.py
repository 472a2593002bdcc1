"""Streams reset by the thousand (CVE-2023-44487), or such as the server has to reset (CVE-2025-8671)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.hostile.peer import Peer, path
from tests.hostile.rig import ALL_LOOPS, Rig, hostile, message_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.http2.codes import ErrorCode, Setting
from wire.rpc.framing import frame

MOST = 200_000
MOST_WITH_HANDLERS = 5_000
HOLD = f.block(path("Hold"))


def _held(config: ServerConfig) -> float:
    return 16 + unread_mib(config)


def _flood(peer: Peer, make: Callable[[int], bytes], most: int = MOST) -> int:
    """Streams by the hundred until the server has had enough; returns how many it took."""
    count = 0
    while count < most and peer.send(b"".join(make(peer.next_id()) for _ in range(100))):
        count += 100
    return count


def _calms(rig: Rig, make: Callable[[int], bytes]) -> None:
    peer = rig.connect()
    _flood(peer, make)
    peer.wait_closed(1.0)
    assert peer.code == ErrorCode.ENHANCE_YOUR_CALM, f"any number of them is taken: {peer.goaways}"


@hostile(_held, loops=ALL_LOOPS)
def test_rapid_reset(rig: Rig) -> None:
    """Of calls whose handlers wait: no more of those run than the limit on streams, and so they cost what calls do."""
    body = frame(b"x")
    limit = rig.config.http2.max_concurrent_streams
    for _ in rig.rounds():
        peer = rig.connect()
        _flood(
            peer,
            lambda each: f.headers(each, HOLD) + f.data(each, body, end=True) + f.rst_stream(each),
            MOST if rig.full else MOST_WITH_HANDLERS,
        )
        assert rig.report()["running"] <= limit + 1
        peer.barrier()
        assert peer.code in (None, ErrorCode.ENHANCE_YOUR_CALM), peer.goaways


@hostile(_held)
def test_rapid_reset_of_streams_of_requests(rig: Rig) -> None:
    head = f.block(path("Bidi"))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head) + f.rst_stream(each))


@hostile(_held, loops=ALL_LOOPS)
def test_resets_of_streams_of_requests_a_read_later(rig: Rig) -> None:
    """Which cost no budget: no more of their handlers run than the limit on streams."""
    head = f.block(path("Bidi"))
    limit = rig.config.http2.max_concurrent_streams
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(300 if rig.full else 30):
            ids = [peer.next_id() for _ in range(100)]
            if not peer.send(b"".join(f.headers(each, head) for each in ids)) or not peer.barrier():
                break
            peer.send(b"".join(f.rst_stream(each) for each in ids))
            assert rig.report()["running"] <= limit + 1
        assert peer.code in (None, ErrorCode.ENHANCE_YOUR_CALM), peer.goaways


@hostile(_held)
def test_rapid_reset_of_streams_that_are_half_open(rig: Rig) -> None:
    head = f.block(path("Echo"))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head) + f.data(each, b"\0\0") + f.rst_stream(each))


@hostile(_held)
def test_resets_behind_the_headers_of_a_hundred_calls(rig: Rig) -> None:
    """Their DATA may yet come until then."""
    head = f.block(path("Echo"))
    for _ in rig.rounds():
        peer = rig.connect()
        sent = 0
        while sent < MOST:
            ids = [peer.next_id() for _ in range(100)]
            if not peer.send(b"".join([*(f.headers(each, head) for each in ids), *map(f.rst_stream, ids)])):
                break
            sent += len(ids)
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM, f"any number of them is taken: {peer.goaways}"


@hostile(_held)
def test_window_overflows_that_the_server_resets(rig: Rig) -> None:
    head = f.block(path("Hold"))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head) + f.window_update(each, 2**31 - 1))


@hostile(_held)
def test_window_updates_of_nothing_that_the_server_resets(rig: Rig) -> None:
    head = f.block(path("Hold"))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head) + f.window_update(each, 0))


@hostile(_held)
def test_malformed_requests_that_the_server_resets(rig: Rig) -> None:
    head = f.block(((b":method", b"POST"), (b"Upper-Case", b"x")))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head, end=True))


@hostile(_held)
def test_data_after_the_end_that_the_server_resets(rig: Rig) -> None:
    head = f.block(path("Hold"))
    body = frame(b"x")
    for _ in rig.rounds():
        peer = rig.connect()
        _flood(peer, lambda each: f.headers(each, head) + f.data(each, body, end=True) + f.data(each, b"late"))
        peer.wait_closed(1.0)
        assert peer.code in (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.STREAM_CLOSED), peer.goaways


@hostile(_held)
def test_lengths_that_are_wrong_that_the_server_resets(rig: Rig) -> None:
    head = f.block((*path("Hold"), (b"content-length", b"3")))
    for _ in rig.rounds():
        _calms(rig, lambda each: f.headers(each, head) + f.data(each, b"longer", end=True))


@hostile(_held)
def test_streams_that_depend_on_themselves(rig: Rig) -> None:
    head = f.block(path("Hold"))
    for _ in rig.rounds():
        peer = rig.connect()
        _flood(peer, lambda each: f.headers(each, head, end=True, priority=struct.pack(">IB", each, 16)), 2000)
        peer.barrier()


@hostile(_held, loops=ALL_LOOPS)
def test_more_streams_than_are_allowed(rig: Rig) -> None:
    """The others are refused, each alone; by the thousand they cost the connection."""
    limit = rig.config.http2.max_concurrent_streams
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(limit):
            peer.request("Hold", frame(b"x"))
        refused = [peer.request("Hold", frame(b"x")) for _ in range(50)]
        assert peer.wait_ended(*refused)
        assert {peer.resets[each] for each in refused} == {ErrorCode.REFUSED_STREAM}
        assert not peer.goaways
        _flood(peer, lambda each: f.headers(each, HOLD, end=True))
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile(_held)
def test_resets_of_closed_streams(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        assert peer.wait_ended(peer.request("Echo", frame(b"x")))
        while peer.send(f.rst_stream(1) * 1000):
            pass
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile(_held)
def test_rapid_reset_by_a_peer_that_never_reads(rig: Rig) -> None:
    head = f.block(path("Hold"))
    for _ in rig.rounds():
        peer = rig.connect(reads=False)
        _flood(peer, lambda each: f.headers(each, head) + f.window_update(each, 0))
        rig.settle(peer)


@hostile(_held)
def test_resets_in_the_middle_of_replies(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(settings={Setting.INITIAL_WINDOW_SIZE: 1000})
        for _ in range(500):
            stream_id = peer.request("Large", frame(b"100000"))
            peer.send(f.rst_stream(stream_id))
        rig.settle(peer)


@hostile(lambda config: unread_mib(config) + message_mib(config))
def test_data_that_was_under_way_when_the_server_reset_the_stream(rig: Rig) -> None:
    """Late but within the window: it is no offence, and granted again to the connection."""
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Echo", b"\7\0\0\0\0", end=False)
        for _ in range(2000):
            peer.send(f.data(stream_id, b"late"))
        assert peer.barrier(), peer.goaways
        assert peer.wait_ended(peer.request("Echo", frame(b"x")))
