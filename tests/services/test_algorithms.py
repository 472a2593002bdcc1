"""Every algorithm signs what its own verification accepts, in the form that its name promises."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from proto.crypto.v1 import Algorithm, KeyType
from services.algorithms import RULES, Rule, signer, verify
from services.keys import KeyRing, SigningKey

KEYS = KeyRing.generate()
DATA = b"what is signed"


def key_for(rule: Rule) -> SigningKey:
    key = KEYS.get(rule.key_type)
    assert key is not None
    return key


def test_every_algorithm_but_the_unspecified_one_has_a_rule() -> None:
    assert set(RULES) == set(Algorithm) - {Algorithm.UNSPECIFIED}


@pytest.mark.parametrize("algorithm", RULES, ids=lambda each: each.name)
@pytest.mark.parametrize("prehashed", [False, True])
def test_signature_verifies_and_no_other_does(algorithm: Algorithm, prehashed: bool) -> None:
    rule = RULES[algorithm]
    if prehashed and rule.hash is None:
        pytest.skip("takes no digest")
    key = key_for(rule)
    data = hashlib.new(rule.hash.name, DATA).digest() if prehashed and rule.hash else DATA
    signature = signer(key.private, rule, prehashed)(data)
    assert verify(key.der, algorithm, data, signature, prehashed=prehashed)
    assert verify(key.der, algorithm, DATA, signature)  # a digest signed is its data signed
    altered = bytes([signature[0], signature[1], *signature[2:-1], signature[-1] ^ 1])
    assert not verify(key.der, algorithm, data, altered, prehashed=prehashed)
    assert not verify(key.der, algorithm, data, signature[:-1], prehashed=prehashed)
    assert not verify(key.der, algorithm, DATA + b".", signature)


@pytest.mark.parametrize("algorithm", RULES, ids=lambda each: each.name)
def test_key_of_another_type_verifies_nothing(algorithm: Algorithm) -> None:
    rule = RULES[algorithm]
    signature = signer(key_for(rule).private, rule, False)(DATA)
    for other in KEYS:
        assert verify(other.der, algorithm, DATA, signature) == (other.key_type == rule.key_type)


@pytest.mark.parametrize("name", ["SHA256", "SHA384", "SHA512"])
def test_rsa_names_mean_the_schemes_of_rfc_8017(name: str) -> None:
    """Checked with the library itself: PKCS #1 v1.5, and PSS with MGF1 of the same hash and a salt as long as it."""
    key = key_for(RULES[Algorithm.RSA_PKCS1_SHA256])
    public = load_der_public_key(key.der)
    assert isinstance(public, rsa.RSAPublicKey)
    algorithm: hashes.HashAlgorithm = getattr(hashes, name)()
    pkcs1 = signer(key.private, RULES[Algorithm[f"RSA_PKCS1_{name}"]], False)(DATA)
    public.verify(pkcs1, DATA, padding.PKCS1v15(), algorithm)
    pss = signer(key.private, RULES[Algorithm[f"RSA_PSS_{name}"]], False)(DATA)
    public.verify(pss, DATA, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)


@pytest.mark.parametrize(
    ("curve", "size", "hash_"), [("P256_SHA256", 32, hashes.SHA256()), ("P384_SHA384", 48, hashes.SHA384())]
)
def test_ecdsa_comes_as_der_and_as_two_integers_of_fixed_length(
    curve: str, size: int, hash_: hashes.HashAlgorithm
) -> None:
    asn1, fixed = Algorithm[f"ECDSA_{curve}_ASN1"], Algorithm[f"ECDSA_{curve}_FIXED"]
    key = key_for(RULES[asn1])
    public = load_der_public_key(key.der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(signer(key.private, RULES[asn1], False)(DATA), DATA, ec.ECDSA(hash_))
    for _ in range(600):  # one in 256 has a leading zero byte, which must stay
        signature = signer(key.private, RULES[fixed], False)(DATA)
        assert len(signature) == 2 * size
        if 0 in (signature[0], signature[size]):
            break
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    public.verify(utils.encode_dss_signature(r, s), DATA, ec.ECDSA(hash_))


def test_ed25519_is_that_of_rfc_8032() -> None:
    """RFC 8032 §7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    expected = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    assert signer(private, RULES[Algorithm.ED25519], False)(b"\x72").hex() == expected


def test_bytes_that_are_no_public_key_raise() -> None:
    with pytest.raises(ValueError, match=r"."):
        verify(b"nonsense", Algorithm.ED25519, DATA, b"")


def test_rules_name_real_key_types() -> None:
    assert {rule.key_type for rule in RULES.values()} == set(KeyType) - {KeyType.UNSPECIFIED}
