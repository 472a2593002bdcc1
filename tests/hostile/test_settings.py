"""SETTINGS in numbers: many entries in one frame, many frames, and none that acknowledges ours."""

from __future__ import annotations

from tests.hostile.peer import Peer
from tests.hostile.rig import ALL_LOOPS, Rig, hostile
from tests.http2 import frames as f
from wire.http2.codes import ErrorCode, Setting
from wire.rpc.framing import frame


def _open_streams(rig: Rig, count: int, method: str = "Hold", **options: bool) -> Peer:
    peer = rig.connect(**options)
    for _ in range(count):
        peer.request(method, frame(b"x"), end=method == "Hold")
    if peer.reads:
        assert peer.barrier()
    return peer


def _entries(setting: int, low: int, count: int = 10_000) -> bytes:
    return f.settings([(setting, low + number % 2) for number in range(count)])


@hostile(lambda config: 16, loops=ALL_LOOPS)
def test_ten_thousand_windows_in_one_frame_with_1000_streams_open(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = _open_streams(rig, 1000 if rig.full else 300)
        for _ in range(10 if rig.full else 2):
            peer.send(_entries(Setting.INITIAL_WINDOW_SIZE, 1000))
        peer.barrier()


@hostile(lambda config: 16)
def test_windows_that_change_in_each_of_many_frames_with_1000_streams_open(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = _open_streams(rig, 1000 if rig.full else 300)
        for number in range(3000 if rig.full else 1000):
            if not peer.send(f.settings({Setting.INITIAL_WINDOW_SIZE: 1000 + number % 2})):
                break
        peer.barrier()


@hostile(lambda config: 16)
def test_table_sizes_in_numbers(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(20 if rig.full else 4):
            peer.send(_entries(Setting.HEADER_TABLE_SIZE, 100))
            peer.request("Echo", frame(b"x"))
        peer.barrier()


@hostile()
def test_unknown_settings_in_numbers(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(20 if rig.full else 4):
            peer.send(f.settings([(1000 + number % 50_000, number) for number in range(10_000)]))
        peer.barrier()


@hostile(loops=ALL_LOOPS)
def test_flood_of_settings_that_is_answered(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        while peer.send(f.settings() * 1000):
            pass
        assert peer.code == ErrorCode.ENHANCE_YOUR_CALM


@hostile()
def test_flood_of_settings_from_a_peer_that_never_reads(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(reads=False)
        for _ in range(30):
            if not peer.send(f.settings() * 1000):
                break
        rig.settle(peer)


@hostile()
def test_flood_of_acknowledgements(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        while peer.send(f.settings(ack=True) * 1000):
            pass
        assert peer.code in (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.PROTOCOL_ERROR)


@hostile(config={"http2": {"settings_timeout_s": 0.3}})
def test_our_settings_are_never_acknowledged(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(acknowledges=False)
        peer.request("Echo", frame(b"x"))
        assert peer.wait_closed(), "never closed"
        assert peer.code == ErrorCode.SETTINGS_TIMEOUT


@hostile(config={"http2": {"settings_timeout_s": 0.3}})
def test_our_settings_are_never_acknowledged_by_a_busy_peer(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect(acknowledges=False)
        while not peer.closed:
            peer.request("Echo", frame(b"x"))
            assert rig.fresh(), "never closed"
        assert peer.code == ErrorCode.SETTINGS_TIMEOUT
