"""Peers that take their time: with the preface, the TLS handshake, or everything."""

from __future__ import annotations

import socket
import ssl

from tests.hostile.rig import Rig, hostile
from tests.http2 import frames as f
from wire.rpc.framing import frame
from wire.status import StatusCode


def _closed(sock: socket.socket) -> None:
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise AssertionError("the connection stays") from None


def _hello() -> bytes:
    """A client's first flight of TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


@hostile(config={"preface_timeout_s": 0.3})
def test_no_preface(rig: Rig) -> None:
    for _ in rig.rounds():
        for sent in (b"", f.PREFACE[:10], f.PREFACE, f.PREFACE + f.settings()[:5]):
            with rig.plain_socket() as sock:
                sock.sendall(sent)
                _closed(sock)


@hostile(config={"preface_timeout_s": 0.5})
def test_preface_by_the_byte(rig: Rig) -> None:
    """It comes in time, but SETTINGS do not: bytes that trickle in buy none."""
    for _ in rig.rounds():
        with rig.plain_socket() as sock:
            for byte in f.PREFACE[:-1]:
                sock.send(bytes((byte,)))
            _closed(sock)


@hostile(lambda config: 64, config={"preface_timeout_s": 1.0})
def test_a_thousand_peers_that_say_nothing(rig: Rig) -> None:
    for _ in rig.rounds():
        socks = [rig.plain_socket() for _ in range(400)]
        for sock in socks:
            _closed(sock)
            sock.close()


@hostile(config={"transport": {"handshake_timeout_s": 0.3}}, tls=True)
def test_tls_handshakes_that_stop(rig: Rig) -> None:
    hello = _hello()
    for _ in rig.rounds():
        for size in (0, 1, 5, 50, len(hello) - 1, len(hello)):
            with rig.plain_socket() as sock:
                sock.sendall(hello[:size])
                _closed(sock)


@hostile(lambda config: 16, tls=True)
def test_tls_handshakes_that_are_broken_off(rig: Rig) -> None:
    """Freed at once, and not when the time for a preface is over."""
    hello = _hello()
    for _ in rig.rounds():
        for number in range(100):
            with rig.plain_socket() as sock:
                sock.sendall(hello[: len(hello) * (number % 5) // 4])
        assert rig.eventually(lambda: rig.report()["connections"] <= 1, 3.0), "connections stay"


@hostile(tls=True)
def test_tls_records_of_a_byte(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        data = f.headers(1, f.REQUEST) + f.data(1, frame(b"\x0a\x05hello"), end=True)
        for byte in data:
            peer.send(bytes((byte,)))
        assert peer.wait_ended(1)
        assert peer.statuses[1] == StatusCode.OK


@hostile()
def test_everything_by_the_byte(rig: Rig) -> None:
    for _ in rig.rounds():
        peer = rig.connect()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in f.headers(1, f.REQUEST) + f.data(1, frame(b"\x0a\x05hello"), end=True):
            peer.send(bytes((byte,)))
        assert peer.wait_ended(1)
        assert peer.statuses[1] == StatusCode.OK


@hostile(config={"keepalive": {"time_s": 0.2, "timeout_s": 0.2}})
def test_peer_that_is_gone_without_a_word(rig: Rig) -> None:
    """Its host lost power: keepalive finds out."""
    for _ in rig.rounds():
        peer = rig.connect()
        peer.request("Hold", frame(b"x"))
        peer.barrier()
        # Unread and silent from here on: no ping is answered.
        assert rig.eventually(lambda: rig.report()["connections"] <= 1 or rig.full), "the connection stays"
