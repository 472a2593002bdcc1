"""Connections and streams that are merely there."""

from __future__ import annotations

from tests.hostile.rig import ALL_LOOPS, Rig, hostile
from wire.rpc.framing import frame

KIB_EACH = 64
"""What an idle connection may take."""


@hostile(lambda config: 300 * KIB_EACH / 1024, loops=ALL_LOOPS)
def test_idle_connections(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(300):
            rig.connect()
        assert rig.report()["connections"] >= 300


@hostile(lambda config: 300 * 2 * KIB_EACH / 1024, tls=True)
def test_idle_connections_over_tls(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(150):
            rig.connect()


@hostile(lambda config: 32)
def test_a_thousand_calls_that_wait(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for method in ("Hold", "Bidi", "Deaf", "Collect"):
            for _ in range(250):
                peer.request(method, frame(b"0"), end=method == "Hold")
        assert peer.barrier()


@hostile(lambda config: 16)
def test_a_thousand_streams_that_are_half_open(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(1000):
            peer.request("Echo", end=False)
        assert peer.barrier()


@hostile(lambda config: 24)
def test_connections_that_come_and_go(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(300 if rig.full else 100):
            with rig.connect() as peer:
                assert peer.wait_ended(peer.request("Echo", frame(b"x")))
