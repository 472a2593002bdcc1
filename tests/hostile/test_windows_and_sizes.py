"""Windows that overflow, frames over their size, ids that run out, padding: the codes of RFC 9113."""

from __future__ import annotations

from tests.hostile.peer import path
from tests.hostile.rig import ALL_LOOPS, Rig, hostile, message_mib, unread_mib
from tests.http2 import frames as f
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.rpc.framing import frame

LARGEST = 2**31 - 1


@hostile(loops=ALL_LOOPS)
def test_the_connections_window_overflows(rig: Rig) -> None:
    """§6.9.1: it costs the connection."""
    for _ in rig.rounds():
        peer = rig.connect(window_bytes=0)
        peer.send(f.window_update(0, LARGEST) * 2)
        assert peer.wait_closed()
        assert peer.code == ErrorCode.FLOW_CONTROL_ERROR


@hostile()
def test_a_streams_window_overflows(rig: Rig) -> None:
    """§6.9.1: it costs the stream."""
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Hold", frame(b"x"))
        peer.send(f.window_update(stream_id, LARGEST))
        assert peer.wait_ended(stream_id)
        assert peer.resets[stream_id] == ErrorCode.FLOW_CONTROL_ERROR
        assert peer.barrier()


@hostile()
def test_settings_overflow_a_streams_window(rig: Rig) -> None:
    """§6.9.2: it costs the connection."""
    for _ in rig.rounds():
        peer = rig.connect(settings={Setting.INITIAL_WINDOW_SIZE: 1000})
        stream_id = peer.request("Hold", frame(b"x"))
        peer.send(f.window_update(stream_id, 2000) + f.settings({Setting.INITIAL_WINDOW_SIZE: LARGEST}))
        assert peer.wait_closed()
        assert peer.code == ErrorCode.FLOW_CONTROL_ERROR


@hostile(lambda config: unread_mib(config) + message_mib(config))
def test_data_past_a_streams_window(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Deaf", (4_000_000).to_bytes(5), end=False)
        for _ in range(1000):
            if not peer.send(f.data(stream_id, bytes(16_384))):
                break
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.FLOW_CONTROL_ERROR or peer.resets[stream_id] == ErrorCode.FLOW_CONTROL_ERROR


@hostile(lambda config: unread_mib(config) + message_mib(config))
def test_data_past_the_connections_window(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        streams = [peer.request("Deaf", (4_000_000).to_bytes(5), end=False) for _ in range(50)]
        for number in range(5000):
            if not peer.send(f.data(streams[number % 50], bytes(16_384))):
                break
        peer.wait_closed(1.0)
        assert peer.code == ErrorCode.FLOW_CONTROL_ERROR or ErrorCode.FLOW_CONTROL_ERROR in peer.resets.values()


@hostile(loops=ALL_LOOPS)
def test_frames_over_their_size(rig: Rig) -> None:
    """Refused at their nine bytes, before anything of the body is kept."""
    for _ in rig.rounds():
        for kind in (*FrameType, 0x77):
            peer = rig.connect()
            if kind == FrameType.DATA:
                peer.request("Echo", end=False)
            peer.send(f.frame(kind, f.END_HEADERS, 1 if kind in {0, 1, 2, 3} else 0, length=2**24 - 1))
            assert peer.wait_closed(), kind
            assert peer.code in (ErrorCode.FRAME_SIZE_ERROR, ErrorCode.PROTOCOL_ERROR), (kind, peer.goaways)


@hostile(lambda config: 8)
def test_frames_of_the_largest_size_that_are_not_ended(rig: Rig) -> None:
    """What of a frame has come is kept until the rest comes: a frame's size at most, for each connection."""
    for _ in rig.rounds():
        for kind in (FrameType.DATA, FrameType.HEADERS, 0x77):
            for _ in range(30):
                peer = rig.connect()
                if kind == FrameType.DATA:
                    peer.request("Echo", end=False)
                stream_id = 1 if kind == FrameType.DATA else 3
                peer.send(f.frame(kind, f.END_HEADERS, stream_id, bytes(60_000), length=65_000))


@hostile()
def test_a_large_frame_by_the_byte(rig: Rig) -> None:
    """What is there of it is not copied with every byte."""
    for _ in rig.rounds():
        peer = rig.connect()
        whole = f.frame(0x77, 0, 0, bytes(60_000))
        for at in range(0, len(whole), 20):
            peer.send(whole[at : at + 20])
        assert peer.barrier()


@hostile()
def test_stream_ids_run_out(rig: Rig) -> None:
    """§5.1.1: the last one is answered, and the connection is over when it is."""
    for _ in rig.rounds():
        peer = rig.connect()
        last = 2**31 - 1
        peer.send(f.headers(last, path("Echo")) + f.data(last, frame(b"x"), end=True))
        assert peer.wait_ended(last)
        peer.send(f.headers(1, path("Echo"), end=True))
        assert peer.wait_closed()


@hostile()
def test_stream_ids_that_go_down_or_are_even(rig: Rig) -> None:
    for _ in rig.rounds():
        for ids in ((2,), (0,), (5, 3)):
            peer = rig.connect()
            for each in ids:
                peer.send(f.headers(each, path("Hold")))
            assert peer.wait_closed(), ids
            assert peer.code in (ErrorCode.PROTOCOL_ERROR, ErrorCode.STREAM_CLOSED), ids


@hostile(lambda config: unread_mib(config) + message_mib(config))
def test_padding_that_fills_the_windows(rig: Rig) -> None:
    """It counts (§6.1), and is granted again at once: nothing of it is kept."""
    for _ in rig.rounds():
        peer = rig.connect()
        stream_id = peer.request("Deaf", end=False)
        for _ in range(2000):
            if not peer.send(f.data(stream_id, b"\0", pad=255)):
                break
            peer.read()
        peer.wait(lambda: False, 0.05)
        assert not peer.code or peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile()
def test_padding_longer_than_its_frame(rig: Rig) -> None:
    for _ in rig.rounds():
        for kind in (FrameType.DATA, FrameType.HEADERS):
            peer = rig.connect()
            peer.request("Hold", end=False)
            stream_id = 1 if kind == FrameType.DATA else 3
            peer.send(f.frame(kind, f.PADDED | f.END_HEADERS, stream_id, b"\xff" + bytes(10)))
            assert peer.wait_closed()
            assert peer.code == ErrorCode.PROTOCOL_ERROR


@hostile(lambda config: 8)
def test_padded_headers(rig: Rig) -> None:
    block = f.block(path("Echo"))
    for _ in rig.rounds():
        peer = rig.connect()
        streams = []
        for _ in range(500):
            streams.append(peer.next_id())
            peer.send(f.headers(streams[-1], block, pad=255) + f.data(streams[-1], frame(b"x"), end=True, pad=9))
        assert peer.wait_ended(*streams)


@hostile(lambda config: 8)
def test_pushes(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        peer.send(f.frame(FrameType.PUSH_PROMISE, f.END_HEADERS, 1, bytes(4) + f.block(f.REQUEST)))
        assert peer.wait_closed()
        assert peer.code == ErrorCode.PROTOCOL_ERROR
