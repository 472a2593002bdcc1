"""Clients that are gone, half-way in: what they held is freed at once, uncollected."""

from __future__ import annotations

from tests.hostile.rig import MIB, Rig, hostile, message_mib, replies_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.http2.codes import Setting
from wire.rpc.framing import frame


def _one_by_one(config: ServerConfig) -> float:
    return replies_mib(config) + unread_mib(config) + message_mib(config)


def _gone(rig: Rig) -> None:
    assert rig.eventually(lambda: rig.report()["connections"] <= 1), "connections stay"
    assert rig.report()["running"] == 0, "handlers stay"


@hostile(_one_by_one)
def test_clients_vanish_in_the_middle_of_requests(rig: Rig) -> None:
    first = (4 * MIB).to_bytes(5)
    for _ in rig.rounds():
        for _ in range(20 if rig.full else 8):
            peer = rig.connect()
            for method in ("Echo", "Bidi", "Deaf", "Collect"):
                peer.push(peer.request(method, end=False), MIB // 2, first=first)
            peer.vanish()
        _gone(rig)


@hostile(_one_by_one)
def test_clients_vanish_while_handlers_wait(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(5):
            peer = rig.connect()
            for method in ("Hold", "Bidi", "Deaf", "Collect"):
                for _ in range(20):
                    peer.request(method, frame(b"x" * 1000), end=method == "Hold")
            peer.barrier()
            peer.vanish()
        _gone(rig)


@hostile()
def test_clients_vanish_in_the_preface(rig: Rig) -> None:
    for _ in rig.rounds():
        for size in range(len(f.PREFACE) + 5):
            peer = rig.connect(speaks=False)
            peer.send((f.PREFACE + f.settings())[:size])
            peer.vanish()
        _gone(rig)


@hostile(_one_by_one)
def test_clients_vanish_in_a_frame(rig: Rig) -> None:
    for _ in rig.rounds():
        for size in range(0, 60_000, 6000):
            peer = rig.connect(settings={Setting.MAX_FRAME_SIZE: 1 << 16})
            peer.send(f.frame(0x55, 0, 0, bytes(60_000))[: 9 + size])
            peer.vanish()
        _gone(rig)
