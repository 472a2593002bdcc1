"""The signing keys of a server: generated when it starts, or kept in a directory between its starts.

Private keys stay in this process and in that directory: nothing here prints, logs or returns them in a form that could
be stored. Workers forked afterwards share them. Imports `algorithms`, `wire.errors` and the generated messages.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from proto.crypto.v1 import KeyType
from services.algorithms import PrivateKey
from wire.errors import ConfigurationError

RSA_BITS: Final = (2048, 3072, 4096)
"""The moduli offered. Less than 2048 is refused wherever it comes from (NIST SP 800-131A)."""

_CURVES: Final[dict[KeyType, ec.EllipticCurve]] = {KeyType.P256: ec.SECP256R1(), KeyType.P384: ec.SECP384R1()}

_log = logging.getLogger("services.keys")


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """One private key with what may be told about it."""

    name: str
    """"rsa-2048", "p256", "p384" or "ed25519": its file's stem."""
    key_type: KeyType
    rsa_bits: int
    """0 where it is no RSA key."""
    private: PrivateKey = field(repr=False)
    der: bytes = field(repr=False)
    """The public key: SubjectPublicKeyInfo, DER."""
    key_id: str
    """The first 16 bytes of the SHA-256 of `der`, in hexadecimal: the same for as long as the key is."""

    @property
    def pem(self) -> str:
        """The public key as PEM."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


class KeyRing:
    """One key of each type, RSA once for each modulus asked for; `rsa_bits` 0 means the first of those."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys: dict[tuple[int, int], SigningKey] = {}
        for key in keys:
            self._keys[key.key_type, key.rsa_bits] = key
            self._keys.setdefault((key.key_type, 0), key)
            _sign_once(key.private)

    @classmethod
    def generate(cls, rsa_bits: Iterable[int] = (2048,)) -> KeyRing:
        """New keys, which end with this process. An RSA key takes from a tenth of a second to several seconds."""
        return cls(_describe(name, _generate(name)) for name in _names(rsa_bits))

    @classmethod
    def load(cls, directory: Path, rsa_bits: Iterable[int] = (2048,)) -> KeyRing:
        """The keys in `directory` as NAME.pem (PKCS #8, not encrypted); those that are missing are made and kept there,
        readable by their owner only. Raises `ConfigurationError` for a file that holds another kind of key or none."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.stat().st_mode & 0o022:
                _log.warning("%s can be written by others than its owner, who could put other keys there", directory)
            return cls([_load_or_create(directory, name) for name in _names(rsa_bits)])
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            where = "" if error.filename in (None, str(directory)) else f"{error.filename}: "
            raise ConfigurationError(f"cannot keep keys in {directory}: {where}{reason}") from error

    def get(self, key_type: int, rsa_bits: int = 0) -> SigningKey | None:
        """The key of a type; None where there is none. `rsa_bits` 0 takes the first."""
        return self._keys.get((key_type, rsa_bits))

    def __iter__(self) -> Iterator[SigningKey]:
        """Each key once, in the order they were given."""
        return iter(dict.fromkeys(self._keys.values()))


def _names(rsa_bits: Iterable[int]) -> list[str]:
    for bits in rsa_bits:
        if bits not in RSA_BITS:
            raise ConfigurationError(f"an RSA key of {bits} bits is not offered, only of 2048, 3072 and 4096")
    return [f"rsa-{bits}" for bits in rsa_bits] + ["p256", "p384", "ed25519"]


def _generate(name: str) -> PrivateKey:
    if name == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if name.startswith("rsa-"):
        _log.info("generating an RSA key of %s bits", name.removeprefix("rsa-"))
        return rsa.generate_private_key(public_exponent=65537, key_size=int(name.removeprefix("rsa-")))
    return ec.generate_private_key(_CURVES[KeyType[name.upper()]])


def _describe(name: str, private: PrivateKey) -> SigningKey:
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bits = private.key_size if isinstance(private, rsa.RSAPrivateKey) else 0
    key_type = KeyType.RSA if bits else KeyType[name.upper()]
    return SigningKey(name, key_type, bits, private, der, hashlib.sha256(der).hexdigest()[:32])


def _name_of(private: object) -> str:
    """The name that a key of this kind goes by, offered or not."""
    match private:
        case rsa.RSAPrivateKey():
            return f"rsa-{private.key_size}"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
        case ec.EllipticCurvePrivateKey():
            return {"secp256r1": "p256", "secp384r1": "p384"}.get(private.curve.name, private.curve.name)
        case _:
            return type(private).__name__


def _load_or_create(directory: Path, name: str) -> SigningKey:
    path = directory / f"{name}.pem"
    if not path.exists():
        _create(path, _generate(name))
    if path.stat().st_mode & 0o077:
        _log.warning("%s can be read by others than its owner", path)
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except TypeError:  # how cryptography says that it wants a password
        raise ConfigurationError(f"{path} is encrypted; a key without a password is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError(f"{path} does not hold a private key in PEM (PKCS #8)") from None
    if _name_of(private) != name:
        raise ConfigurationError(f"{path} holds a key of the kind {_name_of(private)}, not {name}")
    assert isinstance(private, PrivateKey)
    return _describe(name, private)


def _create(path: Path, private: PrivateKey) -> None:
    """Write the key whole or not at all; where another server has just written one of this name, that one stays."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
    finally:
        temporary.unlink(missing_ok=True)


def _sign_once(private: PrivateKey) -> None:
    """Set up now what the library sets up at a key's first use, RSA's blinding above all, so that no request waits."""
    match private:
        case rsa.RSAPrivateKey():
            private.sign(b"", padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey():
            private.sign(b"", ec.ECDSA(hashes.SHA256()))
        case _:
            private.sign(b"")
