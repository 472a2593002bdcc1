"""Channels that reach their servers by way of an HTTP proxy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc
import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOCAL, LOOPS, Probe, ProbeStub, run, status_of
from wire.transport.address import Address, ProxiedAddress, TcpAddress, parse_address
from wire.transport.http_proxy import ask_proxy, through_proxy
from wire.transport.runtime import LoopName

API = TcpAddress("api.example", 443)


@dataclass
class Proxy:
    """`asked`: what came before the first empty line, of each connection. `answer`: instead of going on."""

    url: str = ""
    answer: bytes = b""
    asked: list[str] = field(default_factory=list)

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await client.receive()
            self.asked.append(head.decode())
            if self.answer:
                await client.send(self.answer)
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            async with await anyio.connect_tcp(host.strip("[]"), int(port)) as server:
                await client.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_copy, client, server)
                    await _copy(server, client)
                    tasks.cancel_scope.cancel()


async def _copy(source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream) -> None:
    try:
        async for data in source:
            await sink.send(data)
        await sink.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        pass


@asynccontextmanager
async def proxy(answer: bytes = b"") -> AsyncIterator[Proxy]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    made = Proxy(f"http://127.0.0.1:{port}", answer)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, made.serve)
        yield made
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("loop", LOOPS)
def test_calls_go_through_the_proxy_in_the_clear_and_with_tls(loop: LoopName, certificates: Certificates) -> None:
    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with wire.Server([Probe()]) as server, proxy() as between:
            ports = [(await server.listen(LOCAL, tls=each)).rpartition(":")[2] for each in (False, server_tls)]
            config = wire.ChannelConfig(http_proxy=between.url.replace("//", "//me:s%40crt@"))
            for port, tls in zip(ports, (None, wire.ClientTls(certificates.ca)), strict=True):
                async with wire.Channel(f"localhost:{port}", tls=tls, config=config) as channel:
                    call = ProbeStub(channel).unary(b"x")
                    assert await call == b"x"
            first, second = between.asked
            authorization = "Proxy-Authorization: Basic bWU6c0BjcnQ="
            assert first.split("\r\n")[:3] == [
                f"CONNECT localhost:{ports[0]} HTTP/1.1",
                f"Host: localhost:{ports[0]}",
                authorization,
            ]
            assert second.startswith(f"CONNECT localhost:{ports[1]} ")

    run(main, loop=loop)


def test_threads_go_through_the_proxy() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server, proxy() as between:
            address = await server.listen(LOCAL)

            def call() -> bytes:
                config = wire.ChannelConfig(http_proxy=between.url)
                with wire.blocking.Channel(address, config=config) as channel:
                    return ProbeStub(channel).unary(b"x")

            assert await anyio.to_thread.run_sync(call) == b"x"

    run(main)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            'the proxy answered "407 Proxy Authentication Required"',
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "what listens there is no HTTP proxy"),
        (b"x" * 20_000, "what listens there is no HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection"),
    ],
)
def test_a_proxy_that_does_not_go_on_is_said_in_one_sentence(answer: bytes, sentence: str) -> None:
    async def main() -> None:
        async with proxy(answer) as between:
            config = wire.ChannelConfig(http_proxy=between.url, connect_retries=0)
            async with wire.Channel("api.example:443", config=config) as channel:
                code, text = await status_of(ProbeStub(channel).unary(b"x"))
                assert code is wire.StatusCode.UNAVAILABLE
                where = between.url.removeprefix("http://")
                assert f"cannot connect to dns:///api.example:443 through the proxy dns:///{where}: {sentence}" in text

    run(main)


class _Given:
    """A socket's other end sends these, one after the other, each when it is waited for."""

    def __init__(self, peer: socket.socket, parts: Iterable[bytes]) -> None:
        self._peer = peer
        self._parts = iter(parts)

    async def wait_readable(self, sock: socket.socket, /) -> None:
        self._peer.sendall(next(self._parts))


@pytest.mark.parametrize("whole", [True, False])
def test_what_the_server_sends_at_once_is_left_to_it(whole: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n"

    async def main() -> None:
        sock, peer = socket.socketpair()
        with sock, peer:
            sent = [answer + b"settings"] if whole else [*(bytes([byte]) for byte in answer[:-1]), b"\nsettings"]
            await ask_proxy(sock, ProxiedAddress(API, TcpAddress("p", 80)), _Given(peer, sent))  # type: ignore[arg-type]
            assert sock.recv(100) == b"settings"
            assert peer.recv(1000).startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")

    run(main)


@pytest.mark.parametrize(
    ("target", "tls", "through"),
    [
        ("api.example:443", True, "secure.example"),
        ("api.example:80", False, "plain.example"),
        ("inner.example:443", True, None),
        ("localhost:443", True, None),
        ("127.0.0.1:443", True, None),
        ("[::1]:443", True, None),
        ("unix:/run/app.sock", False, None),
    ],
)
def test_the_environment_says_which_proxy(
    target: str, tls: bool, through: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://secure.example:3128")
    monkeypatch.setenv("http_proxy", "plain.example:3128")
    monkeypatch.setenv("no_proxy", "inner.example,other.example")
    address = parse_address(target)
    way = through_proxy(address, "environment", tls=tls)
    if through is None:
        assert way is address
    else:
        assert isinstance(address, TcpAddress)
        assert way == ProxiedAddress(address, TcpAddress(through, 3128))


@pytest.mark.parametrize(
    ("target", "proxy_url", "sentence"),
    [
        ("api.example:443", "https://p:3128", 'an http_proxy reads "http://host:port"'),
        ("api.example:443", "p:3128", 'an http_proxy reads "http://host:port"'),
        ("api.example:443", "http://p:x", 'an http_proxy reads "http://host:port"'),
        ("unix:/run/app.sock", "http://p:3128", "http_proxy is for one host and port, and unix:/run/app.sock is none"),
    ],
)
def test_what_cannot_be_a_proxy_is_refused(target: str, proxy_url: str, sentence: str) -> None:
    address: Address = parse_address(target)
    with pytest.raises(wire.ConfigurationError, match=sentence):
        through_proxy(address, proxy_url, tls=True)
