"""The TLS filter: handshakes that fail, on either side, and what TLS adds to the life of a transport.

Everything that a transport with TLS has in common with one without is in `test_link_contract`.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, cast

import anyio
import pytest

from tests.certificates import Certificates
from tests.leftovers import uncollected
from tests.transport.harness import Recorder, logged, quick, receive, run_loop
from wire.errors import TlsError
from wire.transport import sockets
from wire.transport.address import parse_address
from wire.transport.contract import Answer, Peer, Runtime, SocketCounters, Transport
from wire.transport.tls import ClientTls, ServerTls
from wire.transport.tls_transport import LOST_IN_HANDSHAKE, TlsTransport

NO_ALPN = "the peer does not offer HTTP/2 (ALPN h2)"


class Server:
    def __init__(
        self, runtime: Runtime, tls: ServerTls | None, on_made: Callable[[Transport], None] | None = None, **config: Any
    ) -> None:
        self.runtime = runtime
        self.on_made = on_made
        self.recorders: list[Recorder] = []
        sock = sockets.bind(parse_address("127.0.0.1:0"))
        self.address = parse_address(sockets.bound_address(sock))
        self.sockaddr = sock.getsockname()
        self.listener = runtime.listen(sock, self._make, tls=tls, config=quick(**config))

    def _make(self) -> Recorder:
        self.recorders.append(Recorder(self.runtime, on_made=self.on_made))
        return self.recorders[-1]

    async def connect(self, tls: ClientTls | None, **config: Any) -> Recorder:
        recorder = Recorder(self.runtime)
        (candidate,) = await self.runtime.resolve(self.address, 5)
        await self.runtime.connect(candidate, recorder, tls=tls, config=quick(**config))
        return recorder

    async def refusal(self, tls: ClientTls, **config: Any) -> str:
        """The sentence that a client fails with, less the address."""
        with pytest.raises(TlsError) as caught:
            await self.connect(tls, **config)
        prefix = f"cannot connect to {self.address}: "
        assert str(caught.value).startswith(prefix)
        return str(caught.value).removeprefix(prefix)


def server_tls(certificates: Certificates, *, mutual: bool = False) -> ServerTls:
    return ServerTls(certificates.server, certificates.server_key, certificates.ca if mutual else None)


def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Why the server refused its clients, from its log."""
    lines = [re.fullmatch(r"refused ipv4:127\.0\.0\.1:\d+: (.*)", message) for message in logged(caplog)]
    return [line[1] if line else "a line of another form" for line in lines]


def test_mutual_tls_gives_each_side_the_certificate_of_the_other(loop: str, certificates: Certificates) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates, mutual=True))
        client = await server.connect(ClientTls(certificates.ca, certificates.client, certificates.client_key))
        await server.recorders[0].until(lambda recorder: recorder.calls)
        for transport, path in (
            (client.transport, certificates.server),
            (server.recorders[0].transport, certificates.client),
        ):
            assert transport.peer.certificate == ssl.PEM_cert_to_DER_cert(path.read_text())
            assert transport.peer.certificate_fields is not None
            assert transport.peer.certificate_fields["subject"] == ((("commonName", path.stem),),)
            assert transport.peer.tls_version == "TLSv1.3"
        server.listener.close()

    run_loop(loop, test)


@pytest.mark.parametrize("stranger", [False, True])
def test_a_client_whose_certificate_is_missing_or_not_trusted_reaches_no_receiver(
    stranger: bool, loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates, mutual=True))
        identity = (certificates.stranger, certificates.stranger_key) if stranger else (None, None)
        # TLS 1.3: the client has finished before the server judges its certificate (RFC 8446 §2).
        client = await server.connect(ClientTls(certificates.ca, *identity))
        await client.lost()
        assert isinstance(client.error, TlsError)
        assert str(client.error) == f"lost {server.address}: " + (
            "the peer does not trust the CA of our certificate"
            if stranger
            else "the server requires a client certificate"
        )
        assert [recorder.calls for recorder in server.recorders] == [[]]
        server.listener.close()

    run_loop(loop, test)
    assert refused(caplog) == [
        "the peer's certificate was not accepted: unable to get local issuer certificate; "
        "it must be signed by a CA that this side was told to trust"
        if stranger
        else "the client sent no certificate"
    ]


def test_a_server_that_is_not_trusted_or_has_another_name_is_refused(
    loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates))
        assert await server.refusal(ClientTls(certificates.stranger_ca)) == (
            "the peer's certificate was not accepted: unable to get local issuer certificate; "
            "it must be signed by a CA that this side was told to trust"
        )
        assert await server.refusal(ClientTls(certificates.ca, server_name="example.com")) == (
            "the peer's certificate was not accepted: Hostname mismatch, certificate is not valid for 'example.com'; "
            "ClientTls.server_name says which name to expect"
        )
        (await server.connect(ClientTls(certificates.ca, server_name="localhost"))).transport.abort()
        server.listener.close()

    run_loop(loop, test)
    assert refused(caplog)[:2] == [
        "the peer does not trust the CA of our certificate",
        "the peer refused our certificate",
    ]


def test_a_peer_without_http2_is_refused_on_both_sides(
    loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        client_tls, other_tls = ClientTls(certificates.ca), ClientTls(certificates.ca)
        other_tls.context.set_alpn_protocols(["http/1.1"])
        server = Server(runtime, server_tls(certificates))
        assert await server.refusal(other_tls) == NO_ALPN
        old = server_tls(certificates)
        old.context.set_alpn_protocols(["http/1.1"])
        old_server = Server(runtime, old)
        assert await old_server.refusal(client_tls) == NO_ALPN
        server.listener.close()
        old_server.listener.close()

    run_loop(loop, test)
    assert NO_ALPN in refused(caplog)


def test_a_client_that_speaks_no_tls_is_refused_with_one_line(
    loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates))
        for hello in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
            with socket.create_connection(server.sockaddr) as client:
                client.send(hello)
                while await receive(client):
                    pass
        assert [recorder.calls for recorder in server.recorders] == [[]] * 3
        server.listener.close()

    run_loop(loop, test)
    assert refused(caplog) == ["the peer does not speak TLS, and this port speaks TLS"] * 3


def test_a_server_that_speaks_no_tls_is_told(loop: str, certificates: Certificates) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, None, lambda transport: transport.write(b"HTTP/1.1 400 Bad Request"))
        assert await server.refusal(ClientTls(certificates.ca)) == "the peer does not speak TLS"
        server.listener.close()

    run_loop(loop, test)


def test_a_server_that_hangs_up_or_says_nothing_is_told(loop: str, certificates: Certificates) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, None)
        tls = ClientTls(certificates.ca)
        for end in ("close", "abort"):
            server.on_made = methodcaller(end)
            assert "the peer closed the connection during the TLS handshake" in await server.refusal(tls)
        server.on_made = None
        silence = await server.refusal(tls, connect_timeout_s=0.05)
        assert re.fullmatch(r"the TLS handshake did not finish within 0\.0\d+ s", silence)
        server.listener.close()

    run_loop(loop, test)


def test_a_client_that_does_not_finish_its_handshake_is_closed_after_a_time(
    loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates), handshake_timeout_s=0.01)
        with socket.create_connection(server.sockaddr) as client:
            client.send(b"\x16\x03\x01")  # the beginning of a record
            while await receive(client):
                pass
        assert [recorder.calls for recorder in server.recorders] == [[]]
        server.listener.close()

    run_loop(loop, test)
    assert refused(caplog) == ["the TLS handshake did not finish within 0.01 s"]


def test_a_client_that_vanishes_in_its_handshake_is_told_once(
    loop: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, server_tls(certificates), max_connections=1)
        socket.create_connection(server.sockaddr).close()
        while not refused(caplog) or cast(Any, runtime)._transports:  # it is told before its transport is gone
            await runtime.sleep(0.001)
        client = await server.connect(ClientTls(certificates.ca))  # the place is free again
        await server.recorders[-1].until(lambda recorder: recorder.calls)
        client.transport.abort()
        server.listener.close()

    run_loop(loop, test)
    assert refused(caplog) == [LOST_IN_HANDSHAKE]


def test_a_connect_that_is_cancelled_in_the_handshake_closes_its_socket(loop: str, certificates: Certificates) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.connect, ClientTls(certificates.ca))
            while not server.recorders:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        recorder = server.recorders[0]
        await recorder.until(lambda recorder: {"eof", "lost"} & set(recorder.calls))
        recorder.transport.close()
        server.listener.close()

    run_loop(loop, test)


# The filter alone, on a raw transport that keeps what is written.


class RawTransport:
    def __init__(self) -> None:
        self.peer = Peer("ipv4:10.0.0.1:1")
        self.written = bytearray()
        self.calls: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return None

    def local_address(self) -> str | None:
        return None

    def unsent_bytes(self) -> int:
        return len(self.written)

    def take(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data

    def __getattr__(self, name: str) -> Callable[[], None]:
        return lambda: self.calls.append(name)


class Clockless:
    """A runtime for filters without a loop: its timers never fire."""

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Any:
        return self

    def cancel(self) -> None:
        pass


class Side:
    def __init__(
        self, context: ssl.SSLContext, server_name: str | None, step_bytes: int, answer: Answer | None = None
    ) -> None:
        self.raw = RawTransport()
        self.recorder = Recorder(Clockless())  # type: ignore[arg-type]
        self.step_bytes = step_bytes
        self.finished: list[str | None] = []
        self.tls = TlsTransport(
            self.recorder,
            context,
            server_name=server_name,
            timeout_s=1,
            call_later=Clockless().call_later,
            finished=self.finished.append,
            answer=answer,
        )

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), self.step_bytes):
            self.tls.data_received(data[start : start + self.step_bytes])


@pytest.fixture(params=[1 << 20, 1000, 1], ids=["whole", "pieces", "bytes"])
def sides(request: pytest.FixtureRequest, certificates: Certificates) -> tuple[Side, Side]:
    """A client and a server after their handshake, whose bytes come whole, in pieces, or one by one."""
    client = Side(ClientTls(certificates.ca).context, "localhost", request.param)
    server = Side(server_tls(certificates).context, None, request.param)
    client.tls.connection_made(client.raw)
    server.tls.connection_made(server.raw)
    exchange(client, server)
    assert client.finished == server.finished == [None]
    assert client.recorder.calls == server.recorder.calls == ["made"]
    return client, server


def exchange(one: Side, other: Side) -> None:
    while one.raw.written or other.raw.written:
        other.feed(one.raw.take())
        one.feed(other.raw.take())


class Stranger:
    """A client that does not offer HTTP/2, and a server that answers it."""

    def __init__(self, certificates: Certificates, answer: Answer, step_bytes: int = 1) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=certificates.ca)
        self.ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.server = Side(server_tls(certificates).context, None, step_bytes, answer)
        self.server.tls.connection_made(self.server.raw)
        shaken = False
        while not shaken:
            try:
                self.ssl.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
            self.exchange()

    def exchange(self) -> None:
        self.server.feed(self._outgoing.read())
        self._incoming.write(self.server.raw.take())


def test_a_client_that_does_not_offer_http2_is_answered_in_what_it_speaks(certificates: Certificates) -> None:
    stranger = Stranger(certificates, lambda data: data[::-1], 1 << 20)
    assert stranger.server.finished == []  # it has not said anything
    stranger.ssl.write(b"hello")
    stranger.exchange()
    assert stranger.ssl.read(100) == b"olleh"
    assert stranger.ssl.read(100) == b""  # close_notify
    assert stranger.server.raw.calls == ["close"]
    assert stranger.server.finished == [NO_ALPN]
    stranger.ssl.write(b"more")
    stranger.exchange()
    assert stranger.server.recorder.calls == []


@pytest.mark.parametrize("end", ["no answer", "close", "eof", "lost", "time"])
def test_a_client_that_does_not_offer_http2_and_gets_no_answer(end: str, certificates: Certificates) -> None:
    stranger = Stranger(certificates, lambda data: b"")
    tls = stranger.server.tls
    if end == "no answer":
        stranger.ssl.write(b"x" * 100)
    elif end == "close":
        with pytest.raises(ssl.SSLWantReadError):
            stranger.ssl.unwrap()
    stranger.exchange()
    if end == "eof":
        tls.eof_received()
    elif end == "time":
        tls._time_out()
    tls.connection_lost(None)
    assert stranger.server.finished == [NO_ALPN]
    assert stranger.server.recorder.calls == []


def test_messages_pass_in_any_chunking(sides: tuple[Side, Side]) -> None:
    client, server = sides
    message = bytes(range(256)) * 300
    client.recorder.transport.write(message)
    client.recorder.transport.write(b"")
    server.recorder.transport.write(message[::-1])
    exchange(client, server)
    assert server.recorder.data == message
    assert client.recorder.data == message[::-1]


def test_one_read_is_one_call_and_one_write_is_one_write(certificates: Certificates, sides: tuple[Side, Side]) -> None:
    client, server = sides
    client.recorder.transport.write(b"a" * 100_000)  # seven records
    client.recorder.transport.write(b"b")
    server.tls.data_received(client.raw.take())
    assert server.recorder.chunks == 1


def test_close_notify_is_the_end_and_what_comes_after_is_dropped(sides: tuple[Side, Side]) -> None:
    client, server = sides
    client.recorder.transport.write(b"last words")
    client.recorder.transport.close()
    assert client.raw.calls == ["close"]
    said = client.raw.take()
    server.feed(said + b"garbage behind the end")
    assert server.recorder.data == b"last words"
    assert server.recorder.calls == ["made", "data", "eof"]
    server.tls.eof_received()
    assert server.recorder.calls == ["made", "data", "eof"]
    server.feed(b"more" * 1000)
    assert server.tls._incoming.pending < 100  # not kept either
    server.recorder.transport.write(b"still heard?")  # RFC 8446 §6.1: each direction ends by itself
    assert server.raw.written


def test_an_end_without_close_notify_is_the_end_too(sides: tuple[Side, Side]) -> None:
    _, server = sides
    server.tls.eof_received()
    assert server.recorder.calls == ["made", "eof"]


def test_a_record_that_was_tampered_with_ends_the_transport_with_an_alert_and_an_error(
    sides: tuple[Side, Side],
) -> None:
    client, server = sides
    client.recorder.transport.write(b"x" * 100)
    record = bytearray(client.raw.take())
    record[-1] ^= 1
    with uncollected() as found:
        server.feed(bytes(record))
    assert found == {}
    assert server.raw.calls == ["close"]
    assert server.raw.written
    client.feed(server.raw.take())
    server.tls.connection_lost(None)
    client.tls.connection_lost(None)
    assert server.recorder.calls == client.recorder.calls == ["made", "lost"]
    for side in (server, client):
        assert isinstance(side.recorder.error, TlsError)
        assert str(side.recorder.error).startswith("lost ipv4:10.0.0.1:1: ")


def test_back_pressure_and_reading_are_passed_through(sides: tuple[Side, Side]) -> None:
    client, _ = sides
    client.tls.pause_writing()
    client.tls.resume_writing()
    assert client.recorder.calls == ["made", "pause", "resume"]
    client.recorder.transport.pause_reading()
    client.recorder.transport.resume_reading()
    assert client.raw.calls == ["pause_reading", "resume_reading"]


def test_nothing_is_written_after_close_or_abort(sides: tuple[Side, Side]) -> None:
    client, server = sides
    client.recorder.transport.close()
    client.raw.take()
    server.recorder.transport.abort()
    for side in sides:
        side.recorder.transport.write(b"late")
        side.recorder.transport.close()
        assert not side.raw.written
    assert (client.raw.calls, server.raw.calls) == (["close"], ["abort"])
