"""Frames that carry next to nothing: one connection must not keep the loop, and pays for them."""

from __future__ import annotations

from tests.hostile.rig import ALL_LOOPS, Rig, hostile, message_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.http2.codes import ErrorCode, Setting
from wire.rpc.framing import frame


def _held(config: ServerConfig) -> float:
    return unread_mib(config) + 2 * message_mib(config)


@hostile(_held, loops=ALL_LOOPS)
def test_data_of_1_byte_at_full_speed(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Echo", end=False)
        peer.push(stream_id, 1_000_000 if rig.full else 100_000, frame_bytes=1, first=(4_000_000).to_bytes(5))
        peer.barrier()


@hostile(_held, loops=ALL_LOOPS)
def test_many_streams_with_a_byte_each(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [peer.request("Echo", (100_000).to_bytes(5), end=False) for _ in range(500)]
        for _ in range(200 if rig.full else 40):
            if not peer.send(b"".join(f.data(each, b"x") for each in streams)):
                break
        peer.barrier()


@hostile(_held)
def test_messages_of_no_bytes_on_a_stream_that_nobody_takes(rig: Rig) -> None:
    """Five bytes in DATA each, some hundred as objects."""
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(10):
            peer.push(peer.request("Deaf", end=False), 2_000_000 if rig.full else 500_000)
        peer.barrier()


@hostile(_held)
def test_messages_of_no_bytes_in_a_frame_each_that_nobody_takes(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(3):
            peer.push(peer.request("Deaf", end=False), 2_000_000 if rig.full else 250_000, frame_bytes=5)
        peer.barrier()


@hostile(_held, loops=ALL_LOOPS)
def test_table_size_updates_by_the_thousand_in_one_block(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        updates = f.table_size(0) * 8000 + f.table_size(4096) * 8000
        for _ in range(200 if rig.full else 20):
            if not peer.send(f.headers(peer.next_id(), updates + f.block(f.REQUEST), end=True)):
                break
        peer.wait_closed(0.1) or peer.barrier()


@hostile(_held)
def test_table_size_updates_in_each_of_many_blocks(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(2000 if rig.full else 400):
            block = f.table_size(0) + f.table_size(100 + number % 1000) + f.block(f.REQUEST)
            if not peer.send(f.headers(peer.next_id(), block) + f.rst_stream(2 * number + 1)):
                break
        peer.barrier()


def _flood(rig: Rig, frames: bytes, method: str = "Hold", end: bool = False) -> None:
    """Until the server has had enough of it."""
    peer = rig.connect()
    peer.request(method, end=end)
    sent = 0
    while peer.send(frames * 500):
        sent += 500 * len(frames)
        assert sent < 64 << 20, "the server takes any number of them"
    assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile()
def test_empty_data(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.data(1))


@hostile(_held)
def test_empty_data_that_is_paid_for_with_data_that_nobody_wants(rig: Rig) -> None:
    """A frame for each KiB, on a stream that the server has ended: no offence, and little work."""
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(200):
            stream_id = peer.request("/no/method", end=False)
            paid = f.data(stream_id, bytes(16_000)) + f.data(stream_id) * 15
            if not peer.send(paid * 4):
                break
        assert peer.barrier(), peer.goaways


@hostile()
def test_data_of_padding_alone(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.data(1, pad=0) + f.data(1, pad=20))


@hostile()
def test_empty_data_and_pings_in_turns(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.data(1) + f.ping())


@hostile()
def test_window_updates(rig: Rig) -> None:
    """Of streams, and of the connection, both nearly closed: no window overflows."""
    for _ in rig.rounds():
        peer = rig.connect(settings={Setting.INITIAL_WINDOW_SIZE: 0}, window_bytes=0)
        peer.request("Hold", end=False)
        sent = 0
        while peer.send((f.window_update(1, 1) + f.window_update(0, 1)) * 500):
            sent += 1
            assert sent < 10_000, "the server takes any number of them"
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile()
def test_priority(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.priority(1))


@hostile()
def test_priority_of_idle_streams(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, b"".join(f.priority(1001 + 2 * number) for number in range(100)))


@hostile()
def test_unknown_frames(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.frame(0x77, 0xFF, 1, b"?"))


@hostile()
def test_goaways(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.goaway(0, 0, b"bye"))


@hostile()
def test_pings(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.ping())


@hostile()
def test_answers_to_pings_that_were_not_sent(rig: Rig) -> None:
    for _ in rig.rounds():
        _flood(rig, f.ping(ack=True))


@hostile(config={"keepalive": {"min_ping_interval_s": 0}})
def test_messages_of_no_bytes_for_a_handler_that_takes_them(rig: Rig) -> None:
    """Ordinary traffic, in its way: served, and the neighbour too. While its window is closed the peer sends PINGs."""
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Collect", end=False)
        peer.push(stream_id, 500_000 if rig.full else 100_000)
        peer.finish(stream_id)
        assert peer.wait_ended(stream_id), peer.goaways


@hostile(_held, loops=ALL_LOOPS)
def test_messages_of_no_bytes_for_many_handlers_that_take_them(rig: Rig) -> None:
    """A window of each, all at once."""
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [peer.request("Collect", end=False) for _ in range(100)]
        window = b"".join(f.data(each, bytes(16_000)) * 4 for each in streams)
        for _ in range(2):
            peer.send(window)
            peer.barrier()


@hostile(_held, loops=ALL_LOOPS)
def test_a_message_for_each_of_many_handlers(rig: Rig) -> None:
    """All of which go on for it, and answer."""
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [peer.request("Bidi", end=False) for _ in range(900)]
        messages = b"".join(f.data(each, frame(b"x")) for each in streams)
        for _ in range(200 if rig.full else 5):
            peer.send(messages)
        peer.barrier()
