"""The TLS flags of the programs, mTLS included, and certificates that do not fit."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

import wire
from bin import client
from tests.bin.programs import ServerProcess
from tests.certificates import Certificates

Call = Callable[..., bytes]


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[ServerProcess]:
    """One that asks for certificates of the CA."""
    flags = (
        "--tls-cert",
        certificates.server,
        "--tls-key",
        certificates.server_key,
        "--tls-client-ca",
        certificates.ca,
    )
    with ServerProcess("--listen", "127.0.0.1:0", "--rsa-bits", "none", *map(str, flags)) as program:
        yield program
        assert program.end(signal.SIGTERM) == 0
        assert "Traceback" not in program.stderr


@pytest.fixture
def call(server: ServerProcess, capsysbinary: pytest.CaptureFixture[bytes]) -> Call:
    """What the client prints, given flags."""

    def run(*flags: object) -> bytes:
        client.main(["--target", server.address, "echo", "hello", *map(str, flags)])
        return capsysbinary.readouterr().out

    return run


def test_both_sides_are_verified(call: Call, certificates: Certificates) -> None:
    own = ("--tls-cert", certificates.client, "--tls-key", certificates.client_key)
    assert call("--tls-ca", certificates.ca, *own) == b"hello\n"
    assert call("--tls-ca", certificates.ca, *own, "--tls-server-name", "localhost") == b"hello\n"


@pytest.mark.parametrize("identity", ["none", "stranger"])
def test_client_that_the_server_does_not_know_is_refused(call: Call, certificates: Certificates, identity: str) -> None:
    stranger = ("--tls-cert", certificates.stranger, "--tls-key", certificates.stranger_key)
    with pytest.raises(wire.RpcError) as caught:
        call("--tls-ca", certificates.ca, *(stranger if identity == "stranger" else ()))
    assert caught.value.code == wire.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (lambda known: ("--tls-ca", known.stranger_ca), "certificate"),
        (lambda known: ("--tls-ca", known.ca, "--tls-server-name", "elsewhere.example"), "elsewhere.example"),
        (lambda known: ("--tls",), "certificate"),
        (lambda known: (), None),
    ],
    ids=["other CA", "other name", "system's CAs", "no TLS"],
)
def test_server_that_the_client_does_not_know_is_refused(
    call: Call, certificates: Certificates, flags: Callable[[Certificates], tuple[object, ...]], reason: str | None
) -> None:
    with pytest.raises(wire.RpcError, match=reason) as caught:
        call(*flags(certificates))
    assert caught.value.code == wire.StatusCode.UNAVAILABLE
    assert "\n" not in caught.value.message


def test_certificate_with_the_key_of_another_is_refused(call: Call, certificates: Certificates) -> None:
    with pytest.raises(wire.TlsError, match="does not belong"):
        call("--tls-cert", certificates.client, "--tls-key", certificates.stranger_key)
