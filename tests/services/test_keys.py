"""Keys are made or loaded as asked, kept private, and named by a stable fingerprint."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from proto.crypto.v1 import KeyType
from services.algorithms import PrivateKey
from services.keys import KeyRing
from wire.errors import ConfigurationError


def pem(private: PrivateKey, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_generated_ring_has_a_key_of_each_type() -> None:
    names = [key.name for key in KeyRing.generate()]
    assert names == ["rsa-2048", "p256", "p384", "ed25519"]


def test_ring_without_rsa_has_the_others() -> None:
    ring = KeyRing.generate(rsa_bits=())
    assert ring.get(KeyType.RSA) is None
    assert ring.get(KeyType.ED25519) is not None


def test_first_rsa_modulus_is_the_one_meant_by_0() -> None:
    ring = KeyRing.generate(rsa_bits=(3072, 2048))
    assert ring.get(KeyType.RSA) is ring.get(KeyType.RSA, 3072)
    assert ring.get(KeyType.RSA, 2048) is not ring.get(KeyType.RSA)
    assert ring.get(KeyType.RSA, 4096) is None


@pytest.mark.parametrize("bits", [1024, 2047, 8192])
def test_rsa_modulus_that_is_not_offered_is_refused(bits: int) -> None:
    with pytest.raises(ConfigurationError, match=str(bits)):
        KeyRing.generate(rsa_bits=(bits,))


def test_key_id_is_the_start_of_the_fingerprint_of_the_public_key() -> None:
    key = KeyRing.generate(rsa_bits=()).get(KeyType.P256)
    assert key is not None
    assert key.key_id == hashlib.sha256(key.der).digest()[:16].hex()
    public = load_pem_public_key(key.pem.encode())
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.der


def test_nothing_private_is_in_the_repr() -> None:
    for key in KeyRing.generate():
        assert repr(key).count("=") == 4  # name, key_type, rsa_bits, key_id


def test_keys_in_a_directory_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "keys"
    first = [key.key_id for key in KeyRing.load(directory)]
    assert [key.key_id for key in KeyRing.load(directory)] == first
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["ed25519.pem", "p256.pem", "p384.pem", "rsa-2048.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_key_file_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    KeyRing.load(tmp_path, rsa_bits=())
    assert not caplog.records
    (tmp_path / "p256.pem").chmod(0o644)
    KeyRing.load(tmp_path, rsa_bits=())
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/p256.pem can be read by others than its owner"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pem(rsa.generate_private_key(65537, 1024)), "holds a key of the kind rsa-1024, not rsa-2048"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "holds a key of the kind p256, not rsa-2048"),
        (pem(ec.generate_private_key(ec.SECP521R1())), "holds a key of the kind secp521r1, not rsa-2048"),
        (pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "is encrypted"),
        (b"", "does not hold a private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "does not hold a private key"),
    ],
    ids=["RSA too short", "other type", "other curve", "encrypted", "empty", "garbage"],
)
def test_file_with_another_key_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "rsa-2048.pem").write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason):
        KeyRing.load(tmp_path)


def test_a_directory_that_others_can_write_to_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    KeyRing.load(tmp_path, rsa_bits=())
    assert caplog.messages == [f"{tmp_path} can be written by others than its owner, who could put other keys there"]


def test_a_directory_in_place_of_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "p256.pem").mkdir(mode=0o700)
    with pytest.raises(
        ConfigurationError, match=f"cannot keep keys in {tmp_path}: {tmp_path}/p256.pem: is a directory"
    ):
        KeyRing.load(tmp_path, rsa_bits=())


def test_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot keep keys in"):
        KeyRing.load(tmp_path / "file")
