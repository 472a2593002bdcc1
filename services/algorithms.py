"""The signing algorithms on offer, those of the Rust library ring: what each needs of a key, how it signs and verifies.

A signature is made with functions bound once to a key and an algorithm (`signer`), so that a request costs one look-up.
Imports only the generated messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import load_der_public_key

from proto.crypto.v1 import Algorithm, KeyType

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an algorithm is made of."""

    key_type: KeyType
    hash: hashes.HashAlgorithm | None = None
    """None: Ed25519, which hashes for itself and takes no digest (RFC 8032 §5.1.6)."""
    pss: bool = False
    """RSASSA-PSS (RFC 8017 §8.1), MGF1 with the same hash, the salt as long as the digest; else PKCS #1 v1.5 (§8.2)."""
    integer_bytes: int = 0
    """ECDSA in fixed form: the bytes of r and of s. 0: DER of ECDSA-Sig-Value (RFC 3279 §2.2.3)."""


RULES: Final[dict[Algorithm, Rule]] = {
    Algorithm.RSA_PKCS1_SHA256: Rule(KeyType.RSA, hashes.SHA256()),
    Algorithm.RSA_PKCS1_SHA384: Rule(KeyType.RSA, hashes.SHA384()),
    Algorithm.RSA_PKCS1_SHA512: Rule(KeyType.RSA, hashes.SHA512()),
    Algorithm.RSA_PSS_SHA256: Rule(KeyType.RSA, hashes.SHA256(), pss=True),
    Algorithm.RSA_PSS_SHA384: Rule(KeyType.RSA, hashes.SHA384(), pss=True),
    Algorithm.RSA_PSS_SHA512: Rule(KeyType.RSA, hashes.SHA512(), pss=True),
    Algorithm.ECDSA_P256_SHA256_ASN1: Rule(KeyType.P256, hashes.SHA256()),
    Algorithm.ECDSA_P256_SHA256_FIXED: Rule(KeyType.P256, hashes.SHA256(), integer_bytes=32),
    Algorithm.ECDSA_P384_SHA384_ASN1: Rule(KeyType.P384, hashes.SHA384()),
    Algorithm.ECDSA_P384_SHA384_FIXED: Rule(KeyType.P384, hashes.SHA384(), integer_bytes=48),
    Algorithm.ED25519: Rule(KeyType.ED25519),
}


def signer(private: PrivateKey, rule: Rule, prehashed: bool) -> Sign:
    """The function that signs data, or with `prehashed` a digest of it, by `rule` with a key of its type."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign
    assert rule.hash is not None
    digest = Prehashed(rule.hash) if prehashed else rule.hash
    if isinstance(private, rsa.RSAPrivateKey):
        scheme = _padding(rule)
        return lambda data: private.sign(data, scheme, digest)
    ecdsa = ec.ECDSA(digest)
    if not rule.integer_bytes:
        return lambda data: private.sign(data, ecdsa)
    size = rule.integer_bytes

    def sign_fixed(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ecdsa))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return sign_fixed


def verify(public_der: bytes, algorithm: Algorithm, data: bytes, signature: bytes, *, prehashed: bool = False) -> bool:
    """Whether `signature` is one of `data` (with `prehashed`: of the digest `data`) by this SubjectPublicKeyInfo.

    False too where the key is not of the algorithm's type. Raises ValueError for bytes that are no public key.
    """
    rule = RULES[algorithm]
    public = load_der_public_key(public_der)
    try:
        if rule.hash is None:
            if not isinstance(public, ed25519.Ed25519PublicKey):
                return False
            public.verify(signature, data)
            return True
        digest = Prehashed(rule.hash) if prehashed else rule.hash
        if isinstance(public, rsa.RSAPublicKey) and rule.key_type is KeyType.RSA:
            public.verify(signature, data, _padding(rule), digest)
        elif isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == _CURVES.get(rule.key_type):
            public.verify(_to_der(signature, rule.integer_bytes), data, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True


_CURVES: Final = {KeyType.P256: "secp256r1", KeyType.P384: "secp384r1"}


def _padding(rule: Rule) -> padding.AsymmetricPadding:
    if not rule.pss:
        return padding.PKCS1v15()
    assert rule.hash is not None
    return padding.PSS(padding.MGF1(rule.hash), rule.hash.digest_size)


def _to_der(signature: bytes, integer_bytes: int) -> bytes:
    if not integer_bytes:
        return signature
    if len(signature) != 2 * integer_bytes:
        raise InvalidSignature
    r, s = signature[:integer_bytes], signature[integer_bytes:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
