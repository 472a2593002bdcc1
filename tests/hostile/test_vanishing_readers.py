"""Clients that are gone, with much queued for them or half-way in: what they held is freed at once, uncollected."""

from __future__ import annotations

from tests.hostile.peer import CLOSED
from tests.hostile.rig import ALL_LOOPS, MIB, Rig, hostile, message_mib, replies_mib, senders_mib
from wire.config import ServerConfig
from wire.rpc.framing import frame

CLIENTS = 6


def _held(config: ServerConfig) -> float:
    return CLIENTS * replies_mib(config) + message_mib(config)


def _held_by_handlers(config: ServerConfig) -> float:
    return _held(config) + senders_mib(config, CLIENTS * 50, MIB)


def _queue(rig: Rig, method: str, *, reads: bool = True) -> list[int]:
    peers = [rig.connect(settings=CLOSED if reads else None, reads=reads) for _ in range(CLIENTS)]
    for peer in peers:
        for _ in range(50):
            peer.request(method, frame(b"%d" % MIB))
    rig.settle(*peers)
    for peer in peers:
        peer.vanish()
    return [peer.port for peer in peers]


def _gone(rig: Rig) -> None:
    assert rig.eventually(lambda: rig.report()["connections"] <= 1), "connections stay"
    assert rig.report()["running"] == 0, "handlers stay"


@hostile(_held, loops=ALL_LOOPS)
def test_clients_vanish_with_replies_queued(rig: Rig) -> None:
    for _ in rig.rounds():
        _queue(rig, "Large")
        _gone(rig)


@hostile(_held_by_handlers)
def test_clients_vanish_with_replies_of_tasks_queued(rig: Rig) -> None:
    for _ in rig.rounds():
        _queue(rig, "LargeLater")
        _gone(rig)


@hostile(_held_by_handlers)
def test_clients_vanish_in_streamed_replies(rig: Rig) -> None:
    for _ in rig.rounds():
        _queue(rig, "Down")
        _gone(rig)


@hostile(_held)
def test_clients_vanish_that_never_read(rig: Rig) -> None:
    for _ in rig.rounds():
        _queue(rig, "Large", reads=False)
        _gone(rig)


@hostile(_held, stays_mib=(ServerConfig().trim_memory_bytes or 0) / MIB + 1)
def test_memory_goes_back_after_tune_process(rig: Rig) -> None:
    """The C library is told to, a second after the connections, but for so little that it is not worth it."""
    for _ in rig.rounds():
        _queue(rig, "Large", reads=False)
        _gone(rig)


@hostile(_held, tls=True)
def test_clients_vanish_over_tls(rig: Rig) -> None:
    for _ in rig.rounds():
        _queue(rig, "Large")
        _gone(rig)


@hostile(_held)
def test_clients_hang_up_politely_with_replies_queued(rig: Rig) -> None:
    """FIN, not a reset: the connection is closed all the same, after the time to linger."""
    for _ in rig.rounds():
        for _ in range(CLIENTS):
            peer = rig.connect(settings=CLOSED)
            for _ in range(20):
                peer.request("Large", frame(b"%d" % MIB))
            rig.settle(peer)
            peer.sock.close()
        _gone(rig)
