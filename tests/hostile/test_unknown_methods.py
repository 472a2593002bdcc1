"""Calls of what is not there, at full speed."""

from __future__ import annotations

from tests.hostile.peer import path
from tests.hostile.rig import ALL_LOOPS, Rig, hostile, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.status import StatusCode


def _held(config: ServerConfig) -> float:
    return 16 + unread_mib(config)


@hostile(_held, loops=ALL_LOOPS)
def test_unknown_method_without_the_end_of_its_stream(rig: Rig) -> None:
    """Answered, and left open by the peer, until there are too many."""
    head = f.block(path("/there/is_none"))
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(100 if rig.full else 30):
            if not peer.send(b"".join(f.headers(peer.next_id(), head) for _ in range(100))):
                break
        peer.barrier()
        assert peer.statuses.get(1) == StatusCode.UNIMPLEMENTED


@hostile(_held)
def test_unknown_method_with_data_behind_it(rig: Rig) -> None:
    head = f.block(path("/there/is_none"))
    for _ in rig.rounds():
        peer = rig.connect()
        for _ in range(500):
            each = peer.next_id()
            if not peer.send(f.headers(each, head) + f.data(each, bytes(1000)) * 5 + f.data(each, end=True)):
                break
        peer.barrier()


@hostile(_held)
def test_unknown_methods_that_are_each_another(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        for number in range(5000 if rig.full else 1000):
            if not peer.send(f.headers(peer.next_id(), path(f"/there/is_no_{number}_{'x' * 1000}"), end=True)):
                break
        peer.barrier()


@hostile(_held)
def test_other_content_types_and_methods(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        get = f.block(tuple((n, b"GET") if n == b":method" else (n, v) for n, v in path("Echo")))
        html = f.block(tuple((n, b"text/html") if n == b"content-type" else (n, v) for n, v in path("Echo")))
        streams = []
        for _ in range(500):
            streams += [peer.next_id(), peer.next_id()]
            peer.send(f.headers(streams[-2], get, end=True) + f.headers(streams[-1], html, end=True))
        assert peer.wait_ended(*streams)
        assert set(peer.http_statuses.values()) == {405, 415}
