"""TLS sessions of an earlier connection, resumed by a later one."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOOPS, Probe, ProbeStub, run
from wire.transport.runtime import LoopName


def _resumed(request: bytes, context: wire.ServerContext) -> bytes:
    return str(context.peer.tls_resumed).encode()


async def _ask(address: str, tls: wire.ClientTls) -> str:
    async with wire.Channel(address, tls=tls) as channel:
        return (await ProbeStub(channel).unary(b"")).decode()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_later_channel_resumes_the_session_of_an_earlier_one(loop: LoopName, certificates: Certificates) -> None:
    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with wire.Server([Probe(Unary=_resumed)], tls=server_tls) as server:
            address = await server.listen("127.0.0.1:0")
            plain = wire.ClientTls(certificates.ca)
            assert [await _ask(address, plain) for _ in range(2)] == ["False", "False"]
            resuming = replace(plain, resume=True)
            assert [await _ask(address, resuming) for _ in range(3)] == ["False", "True", "True"]
            resuming.reload()
            assert [await _ask(address, resuming) for _ in range(2)] == ["False", "True"]
            other = replace(resuming, server_name="localhost")  # another name, whose sessions are its own
            assert [await _ask(address, other) for _ in range(2)] == ["False", "True"]
            await server.stop(0)

    run(main, loop=loop)


def test_a_session_that_the_server_does_not_know_falls_back_to_a_whole_handshake(certificates: Certificates) -> None:
    resuming = wire.ClientTls(certificates.ca, resume=True)

    async def ask_new_server() -> str:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key)
        async with wire.Server([Probe(Unary=_resumed)], tls=server_tls) as server:
            answer = await _ask(await server.listen("127.0.0.1:0"), resuming)
            await server.stop(0)
        return answer

    async def main() -> None:
        assert [await ask_new_server() for _ in range(2)] == ["False", "False"]

    run(main)


def test_the_certificate_of_a_client_counts_in_a_resumed_session(certificates: Certificates) -> None:
    def name(request: bytes, context: wire.ServerContext) -> bytes:
        fields = context.peer.certificate_fields or {}
        return f"{context.peer.tls_resumed} {fields['subject']}".encode()

    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca)
        async with wire.Server([Probe(Unary=name)], tls=server_tls) as server:
            address = await server.listen("127.0.0.1:0")
            tls = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key, resume=True)
            first, second = [await _ask(address, tls) for _ in range(2)]
            assert (first.split(" ", 1)[0], second.split(" ", 1)[0]) == ("False", "True")
            assert first.split(" ", 1)[1] == second.split(" ", 1)[1] != "()"
            await server.stop(0)

    run(main)


def test_it_pickles_without_its_sessions(certificates: Certificates) -> None:
    tls = pickle.loads(pickle.dumps(wire.ClientTls(certificates.ca, resume=True)))
    assert (tls.resume, tls.root_ca) == (True, certificates.ca)
