"""TLS settings: what is built from them, and the sentence for each file that cannot be used."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import wire
from tests.certificates import Certificates
from tests.support import LOCAL, Probe, ProbeStub, run
from wire.errors import ConfigurationError, TlsError
from wire.transport.tls import ClientTls, ServerTls


def test_both_sides_want_tls_1_2_or_newer(certificates: Certificates) -> None:
    for tls in (ServerTls(certificates.server, certificates.server_key), ClientTls(certificates.ca), ClientTls()):
        assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_verifies_the_server_and_its_name() -> None:
    context = ClientTls().context
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_server_asks_for_client_certificates_only_with_a_client_ca(certificates: Certificates) -> None:
    server, key = certificates.server, certificates.server_key
    assert ServerTls(server, key).context.verify_mode == ssl.CERT_NONE
    assert ServerTls(server, key, client_ca=certificates.ca).context.verify_mode == ssl.CERT_REQUIRED


def test_settings_are_equal_by_their_paths_and_survive_pickling(certificates: Certificates) -> None:
    server = ServerTls(certificates.server, certificates.server_key, certificates.ca)
    client = ClientTls(certificates.ca, certificates.client, certificates.client_key, "name")
    for tls in (server, client):
        assert pickle.loads(pickle.dumps(tls)) == tls
    assert "context" not in repr(server)


def test_a_context_of_ones_own_is_taken_as_it_is() -> None:
    mine, other = (ssl.create_default_context() for _ in range(2))
    client = ClientTls.from_context(mine, "name")
    assert (client.context, client.server_name) == (mine, "name")
    assert client == ClientTls.from_context(mine, "name") != ClientTls.from_context(other, "name")
    server = ServerTls.from_context(mine)
    assert server.context is mine
    assert server != ServerTls.from_context(other)
    assert repr(server).startswith("ServerTls(certificate='SSLContext at 0x")


@pytest.mark.parametrize("year", [1999, 2001, 2049, 2051])
@pytest.mark.parametrize("side", ["server", "client"])
def test_a_certificate_of_ones_own_is_warned_of_when_its_dates_are_wrong(
    side: str, year: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a" * 60)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(year, 1, 2, 3, 4, 5, tzinfo=UTC))
        .not_valid_after(datetime(year + 1, 1, 2, 3, 4, 5, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "own.pem", tmp_path / "own.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    if side == "server":
        ServerTls(*paths)
    else:
        ClientTls(None, *paths)
    if year < 2025:
        said = f"expired at {year + 1}-01-02 03:04:05+00:00"
    else:
        said = f"is not valid before {year}-01-02 03:04:05+00:00"
    assert caplog.messages == [f"the certificate {paths[0]} {said}: peers will refuse it"]


def test_a_certificate_that_is_valid_is_not_warned_of(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    ServerTls(certificates.server, certificates.server_key)
    assert caplog.messages == []


def test_a_client_certificate_goes_with_its_key(certificates: Certificates) -> None:
    with pytest.raises(ConfigurationError, match="needs its key"):
        ClientTls(certificates.ca, certificate=certificates.client)
    with pytest.raises(ConfigurationError, match="a key its certificate"):
        ClientTls(certificates.ca, key=certificates.client_key)


def encrypted(key: Path, directory: Path) -> Path:
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    path = directory / "encrypted.key"
    path.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return path


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda c, d: ServerTls(d / "none.pem", c.server_key), "cannot read {d}/none.pem: no such file or directory"),
        (lambda c, d: ServerTls(c.server, d / "none.key"), "cannot read {d}/none.key: no such file or directory"),
        (lambda c, d: ServerTls(c.server, d), "cannot read {d}: is a directory"),
        (
            lambda c, d: ServerTls(c.server, c.client_key),
            "the private key {c.client_key} does not belong to the certificate {c.server}",
        ),
        (
            lambda c, d: ServerTls(c.server_key, c.server_key),
            "the certificate {c.server_key} and the private key {c.server_key} cannot be used: both must be PEM files",
        ),
        (
            lambda c, d: ServerTls(c.server, encrypted(c.server_key, d)),
            "the private key {d}/encrypted.key has a passphrase; give a key without one",
        ),
        (
            lambda c, d: ServerTls(c.server, c.server_key, d / "none.pem"),
            "cannot read {d}/none.pem: no such file or directory",
        ),
        (lambda c, d: ClientTls(c.server_key), "{c.server_key} holds no CA certificates in PEM form"),
        (lambda c, d: ClientTls(d / "none.pem"), "cannot read {d}/none.pem: no such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_sentence(
    make: Callable[[Certificates, Path], object], sentence: str, certificates: Certificates, tmp_path: Path
) -> None:
    with pytest.raises(TlsError) as caught:
        make(certificates, tmp_path)
    assert str(caught.value).startswith(sentence.format(c=certificates, d=tmp_path))


def test_nothing_is_verified_when_that_is_asked_for(certificates: Certificates) -> None:
    tls = ClientTls(verify=False)
    assert (tls.context.verify_mode, tls.context.check_hostname) == (ssl.CERT_NONE, False)
    assert pickle.loads(pickle.dumps(tls)) == tls
    with pytest.raises(ConfigurationError, match="of no use with verify=False"):
        ClientTls(certificates.ca, verify=False)


def test_files_that_cannot_be_used_change_nothing_when_reloaded(certificates: Certificates, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    certificate.write_bytes(certificates.server.read_bytes())
    key.write_bytes(certificates.server_key.read_bytes())
    server, client = ServerTls(certificate, key), ClientTls(certificates.ca, certificate, key)
    for tls in (server, client):
        tls.reload()
    key.write_bytes(certificates.stranger_key.read_bytes())
    for tls in (server, client):
        with pytest.raises(TlsError, match="does not belong"):
            tls.reload()
    ServerTls(certificates.server.read_bytes(), certificates.server_key.read_bytes(), certificates.ca).reload()


def test_contexts_of_ones_own_are_not_reloaded() -> None:
    for kind in (ServerTls, ClientTls):
        with pytest.raises(ConfigurationError, match="reloaded by whoever made it"):
            kind.from_context(ssl.create_default_context()).reload()


def _renew(path: Path, content: Path) -> None:
    """As certbot and Kubernetes do: another file takes the place of the old one."""
    other = path.with_suffix(".new")
    other.write_bytes(content.read_bytes())
    other.replace(path)


def test_files_that_have_changed_are_read_again_by_a_new_connection(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    _renew(certificate, certificates.server)
    _renew(key, certificates.server_key)
    for make in (partial(ServerTls, certificate, key), partial(ClientTls, certificates.ca, certificate, key)):
        tls, lazy, deaf = (make(reload_interval_s=each) for each in (0, 3600, None))
        first = tls.current()
        assert tls.current() is first
        _renew(certificate, certificates.stranger)
        caplog.clear()
        assert tls.current() is first  # the key is not there yet
        assert tls.current() is first
        (record,) = caplog.records
        assert "cannot be used, so that what was read before stays: the private key" in record.getMessage()
        _renew(key, certificates.stranger_key)
        assert tls.current() is not first
        for other in (lazy, deaf):
            assert other.current() is other.context
        _renew(certificate, certificates.server)
        _renew(key, certificates.server_key)


def test_only_files_are_watched_and_only_so_often(certificates: Certificates) -> None:
    assert ServerTls(certificates.server.read_bytes(), certificates.server_key.read_bytes())._watch is None
    assert ClientTls()._watch is None
    with pytest.raises(ConfigurationError, match="reload_interval_s is -1, but must be 0 or more, or None"):
        ClientTls(certificates.ca, reload_interval_s=-1)
    kept = pickle.loads(pickle.dumps(ClientTls(certificates.ca, reload_interval_s=5)))
    assert kept == ClientTls(certificates.ca, reload_interval_s=5)


def test_a_server_shows_its_renewed_certificate_to_new_connections_alone(
    certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    _renew(certificate, certificates.server)
    _renew(key, certificates.server_key)

    async def shown(channel: wire.Channel) -> bytes | None:
        call = ProbeStub(channel).unary(b"x")
        assert await call == b"x"
        assert call.peer is not None
        return call.peer.certificate

    async def main() -> None:
        tls = ServerTls(certificate, key, reload_interval_s=0)
        trust = ClientTls(verify=False)
        async with wire.Server([Probe()], tls=tls) as server:
            address = await server.listen(LOCAL)
            async with wire.Channel(address, tls=trust) as before:
                old = await shown(before)
                _renew(certificate, certificates.stranger)
                _renew(key, certificates.stranger_key)
                async with wire.Channel(address, tls=trust) as after:
                    assert await shown(after) not in (old, None)
                assert await shown(before) == old

    run(main)
