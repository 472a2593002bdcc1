"""Field sections that want more than their bytes: without end, grown by HPACK, or of fields too many to look at."""

from __future__ import annotations

from tests.hostile.peer import path
from tests.hostile.rig import ALL_LOOPS, Rig, hostile
from tests.http2 import frames as f
from wire.http2.codes import ErrorCode, Setting
from wire.rpc.framing import frame

REQUEST = f.block(path("Echo"))
BROKEN = (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.COMPRESSION_ERROR, ErrorCode.PROTOCOL_ERROR)


@hostile(loops=ALL_LOOPS)
def test_continuations_without_end(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        peer.send(f.headers(1, REQUEST, end_headers=False))
        for _ in range(10_000):
            if not peer.send(f.continuation(1, b"", end_headers=False) * 100):
                break
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile()
def test_continuations_of_large_fields(rig: Rig) -> None:
    field = f.literal(b"x", b"y" * 16_000)
    for _ in rig.rounds():
        peer = rig.connect()
        peer.send(f.headers(1, REQUEST, end_headers=False))
        for _ in range(10_000):
            if not peer.send(f.continuation(1, field, end_headers=False)):
                break
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile(lambda config: 4)
def test_headers_that_are_not_ended_on_many_connections(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(20):
            rig.connect().send(f.headers(1, REQUEST + f.literal(b"x", b"y" * 10_000), end_headers=False))


@hostile(loops=ALL_LOOPS)
def test_hpack_bomb(rig: Rig) -> None:
    """A field of 4,000 bytes in the table, and a block of nothing but its index."""
    for _ in rig.rounds():
        peer = rig.connect()
        bomb = REQUEST + f.literal(b"x", b"y" * 4000, indexing=True)
        for _ in range(100):
            peer.send(f.headers(peer.next_id(), bomb + f.indexed(62) * 10_000, end=True))
            if peer.resets or peer.closed:
                break
        peer.wait_closed(0.2)
        assert peer.resets or peer.code in BROKEN


@hostile(lambda config: 16)
def test_sections_near_the_limit_by_the_thousand(rig: Rig) -> None:
    """Each different, so that none is found among those seen before."""
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(2000 if rig.full else 500):
            extra = f.literal(b"x-%d" % number, b"y" * 12_000)
            if not peer.send(f.headers(peer.next_id(), REQUEST + extra, end=True)):
                break
        peer.barrier()


@hostile(lambda config: 16)
def test_fields_that_each_enter_the_table(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(5000 if rig.full else 1000):
            extra = b"".join(f.literal(b"%d" % each, b"%d" % number, indexing=True) for each in range(20))
            if not peer.send(f.headers(peer.next_id(), REQUEST + extra, end=True)):
                break
        peer.barrier()


@hostile(lambda config: 8)
def test_tiny_fields_past_their_number(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(500 if rig.full else 100):
            if not peer.send(f.headers(peer.next_id(), REQUEST + f.literal(b"a", b"") * 1000, end=True)):
                break
        peer.barrier()
        assert peer.closed or set(peer.resets.values()) == {ErrorCode.ENHANCE_YOUR_CALM}


@hostile(lambda config: 16)
def test_cookies_in_crumbs(rig: Rig) -> None:
    """Fields that HTTP/2 lets a client split (RFC 9113 §8.2.3): each counts."""
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(500):
            crumbs = f.literal(b"cookie", b"a=%d" % number, indexing=True) + f.indexed(62) * 100
            if not peer.send(f.headers(peer.next_id(), REQUEST + crumbs, end=True)):
                break
        peer.barrier()


@hostile(lambda config: 24)
def test_large_sections_whose_replies_wait_for_a_closed_window(rig: Rig) -> None:
    """A thousand calls that hold their metadata while nothing of a reply can be sent."""
    extra = b"".join(f.literal(b"m%d" % number, b"v" * 100) for number in range(60))
    for _ in rig.rounds():
        peer = rig.connect(settings={Setting.INITIAL_WINDOW_SIZE: 0})
        for _ in range(1000):
            stream_id = peer.next_id()
            if not peer.send(f.headers(stream_id, REQUEST + extra) + f.data(stream_id, frame(b"x"), end=True)):
                break
        rig.settle(peer)


@hostile(lambda config: 48)
def test_thousand_calls_with_16_kib_of_metadata_each(rig: Rig) -> None:
    head = f.block(path("Hold")) + f.literal(b"x", b"y" * 15_000)
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(1000):
            stream_id = peer.next_id()
            extra = f.literal(b"n", b"%d" % number)
            if not peer.send(f.headers(stream_id, head + extra) + f.data(stream_id, frame(b"x"), end=True)):
                break
        peer.barrier()


@hostile(lambda config: 8)
def test_trailers_in_place_of_requests(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(1000):
            stream_id = peer.next_id()
            if not peer.send(f.headers(stream_id, REQUEST) + f.headers(stream_id, f.TRAILERS, end=True)):
                break
        peer.barrier()


@hostile()
def test_headers_on_a_closed_stream(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        assert peer.wait_ended(peer.request("Echo", frame(b"x")))
        while peer.send(f.headers(1, REQUEST, end=True) * 100):
            pass
        assert peer.code in (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.STREAM_CLOSED)


@hostile()
def test_huffman_that_is_nothing_but_padding(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        peer.send(f.headers(1, REQUEST + b"\x00\x81\xff\x81\xff", end=True))
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.COMPRESSION_ERROR


@hostile()
def test_integers_without_end(rig: Rig) -> None:
    for block in (b"\xff" + b"\x80" * 10_000, b"\x00\x7f" + b"\xff" * 10_000, b"\x3f" + b"\xff" * 20):
        for _ in rig.rounds():
            peer = rig.connect()
            peer.send(f.headers(1, block, end=True))
            peer.wait_closed(1.0)
            assert peer.code in BROKEN
