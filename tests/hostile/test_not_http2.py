"""What is no HTTP/2, on the port: HTTP/1.1 is told so in its own words, the rest is closed, within a second."""

from __future__ import annotations

import socket

import pytest

from tests.hostile.rig import ALL_LOOPS, Rig, hostile
from tests.http2 import frames as f

REQUESTS = {
    "curl": b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
    "a form": b"POST /echo.v1.EchoService/Echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "a websocket": b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "OPTIONS": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "PUT": b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PATCH": b"PATCH /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "DELETE": b"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a proxy": b"CONNECT localhost:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "requests in a row": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    "large headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Large: %s\r\n" % (b"x" * 1000) * 100 + b"\r\n",
}
OTHERS = {
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "zeros": bytes(1000),
    "all ones": b"\xff" * 1000,
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "a preface that is wrong at its end": f.PREFACE[:-1] + b"x" + f.settings(),
    "a preface twice": f.PREFACE * 2,
    "no SETTINGS": f.PREFACE + f.ping(),
    "lower case": f.PREFACE.lower(),
    "HTTP/2 without a preface": f.settings() + f.headers(1, end=True),
    "a newline": b"\r\n\r\n\r\n" * 10,
    "SMTP": b"EHLO localhost\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n" * 2,
}


def _answer(sock: socket.socket) -> bytes:
    """All until the end of the connection, which must come."""
    got = b""
    try:
        while more := sock.recv(1 << 16):
            got += more
    except ConnectionResetError:  # behind what it had sent
        pass
    except TimeoutError:
        raise AssertionError(f"the connection stays; {got!r}") from None
    return got


@hostile(loops=ALL_LOOPS)
def test_http_1_requests(rig: Rig) -> None:
    for _ in rig.rounds():
        for name, request in REQUESTS.items():
            with rig.plain_socket() as sock:
                sock.sendall(request)
                answer = _answer(sock)
            assert answer.startswith(b"HTTP/1.1 4"), f"{name}: {answer[:100]!r}"
            assert b"gRPC" in answer, name
            assert b"\r\n\r\n" in answer, name


@hostile()
def test_http_1_request_by_the_byte(rig: Rig) -> None:
    for _ in rig.rounds():
        for name in ("curl", "a form", "HTTP/1.0"):
            with rig.plain_socket() as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    for byte in REQUESTS[name]:
                        sock.send(bytes((byte,)))
                except OSError:  # it was told before the end of it
                    pass
                answer = _answer(sock)
            # What it sends on may meet a closed socket, and the reset takes an answer that was not read.
            assert not answer or answer.startswith(b"HTTP/1.1 4"), f"{name}: {answer[:100]!r}"


@hostile(loops=ALL_LOOPS)
def test_garbage(rig: Rig) -> None:
    for _ in rig.rounds():
        for garbage in OTHERS.values():
            with rig.plain_socket() as sock:
                sock.sendall(garbage)
                assert not _answer(sock).startswith(b"HTTP"), garbage
        assert rig.eventually(lambda: rig.report()["connections"] <= 1)


@hostile()
def test_garbage_by_the_hundred(rig: Rig) -> None:
    for _ in rig.rounds():
        for _ in range(300 if rig.full else 100):
            with rig.plain_socket() as sock:
                sock.sendall(b"\xff" * 1000)
                _answer(sock)


@hostile(tls=True)
def test_no_tls_on_a_port_with_tls(rig: Rig) -> None:
    for _ in rig.rounds():
        for garbage in (f.PREFACE + f.settings(), REQUESTS["curl"], bytes(100), b"\xff" * 1000):
            with rig.plain_socket() as sock:
                sock.sendall(garbage)
                _answer(sock)
        assert rig.eventually(lambda: rig.report()["connections"] <= 1)


@hostile(tls=True, loops=ALL_LOOPS)
def test_http_1_requests_over_tls_without_alpn(rig: Rig) -> None:
    for _ in rig.rounds():
        for name, request in REQUESTS.items():
            for protocols in ([], ["http/1.1"]):
                with rig.tls_socket(protocols) as sock:
                    sock.sendall(request)
                    answer = _answer(sock)
                assert answer.startswith(b"HTTP/1.1 4"), f"{name}: {answer[:100]!r}"
                assert b"gRPC" in answer, name
        assert rig.eventually(lambda: rig.report()["connections"] <= 1)


@hostile(tls=True)
def test_anything_else_over_tls_without_alpn(rig: Rig) -> None:
    for _ in rig.rounds():
        for garbage in OTHERS.values():
            with rig.tls_socket([]) as sock:
                sock.sendall(garbage)
                assert _answer(sock) == b"", garbage
        assert rig.eventually(lambda: rig.report()["connections"] <= 1)


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_what_they_say(name: str) -> None:
    assert b" HTTP/1." in REQUESTS[name]
