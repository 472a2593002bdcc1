"""Sign answers with a signature, or says which field is wrong; handlers are called directly."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from unittest.mock import Mock

import pytest

import wire
from proto.crypto.v1 import Algorithm, GetPublicKeyRequest, KeyType, SignRequest, SignResponse
from services.algorithms import RULES, verify
from services.crypto import CryptoServicer
from services.keys import KeyRing

KEYS = KeyRing.generate()
CONTEXT = Mock(spec=wire.ServerContext)


@pytest.fixture
def servicer() -> CryptoServicer:
    return CryptoServicer(KEYS, max_data_bytes=1000)


def sign(servicer: CryptoServicer, **fields: object) -> SignResponse:
    async def call() -> SignResponse:
        reply = servicer.sign(SignRequest(**fields), CONTEXT)  # type: ignore[arg-type]
        return await reply if isinstance(reply, Awaitable) else reply

    return asyncio.run(call())


def refusal(servicer: CryptoServicer, **fields: object) -> str:
    with pytest.raises(wire.RpcError) as caught:
        sign(servicer, **fields)
    assert caught.value.code == wire.StatusCode.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize("algorithm", RULES, ids=lambda each: each.name)
def test_signature_verifies_with_the_public_key_that_the_server_gives(
    servicer: CryptoServicer, algorithm: Algorithm
) -> None:
    key_type = RULES[algorithm].key_type
    reply = sign(servicer, key_type=key_type, algorithm=algorithm, data=b"data")
    public = servicer.get_public_key(GetPublicKeyRequest(key_type=key_type), CONTEXT)
    assert reply.key_id == public.key_id
    assert verify(public.der, algorithm, b"data", reply.signature)
    assert public.pem.startswith("-----BEGIN PUBLIC KEY-----")


def test_digest_is_signed_as_such(servicer: CryptoServicer) -> None:
    digest = hashlib.sha256(b"data").digest()
    algorithm = Algorithm.ECDSA_P256_SHA256_ASN1
    reply = sign(servicer, key_type=KeyType.P256, algorithm=algorithm, data=digest, prehashed=True)
    key = KEYS.get(KeyType.P256)
    assert key is not None
    assert verify(key.der, algorithm, b"data", reply.signature)


def test_cheap_keys_sign_inline_and_dear_ones_do_not(servicer: CryptoServicer) -> None:
    cheap = SignRequest(key_type=KeyType.ED25519, algorithm=Algorithm.ED25519, data=b"data")
    assert isinstance(servicer.sign(cheap, CONTEXT), SignResponse)
    dear = servicer.sign(SignRequest(key_type=KeyType.RSA, algorithm=Algorithm.RSA_PSS_SHA256, data=b"data"), CONTEXT)
    assert asyncio.run(dear).signature  # type: ignore[arg-type]


def test_rsa_key_is_chosen_by_its_modulus() -> None:
    servicer = CryptoServicer(KeyRing.generate(rsa_bits=(2048, 3072)))
    request = {"key_type": KeyType.RSA, "algorithm": Algorithm.RSA_PKCS1_SHA256, "data": b"data"}
    assert len(sign(servicer, **request).signature) == 256
    assert len(sign(servicer, **request, rsa_bits=3072).signature) == 384
    assert servicer.get_public_key(GetPublicKeyRequest(KeyType.RSA, 3072), CONTEXT).key_id == (
        sign(servicer, **request, rsa_bits=3072).key_id
    )


P256 = {"key_type": KeyType.P256, "algorithm": Algorithm.ECDSA_P256_SHA256_ASN1, "data": b"data"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"key_type": KeyType.UNSPECIFIED}, "key_type: not specified"),
        ({"key_type": KeyType(77)}, "key_type: 77 is not one of RSA, P256, P384, ED25519"),
        ({"algorithm": Algorithm.UNSPECIFIED}, "algorithm: not specified"),
        ({"algorithm": Algorithm(99)}, "algorithm: 99 is not one of RSA_PKCS1_SHA256, "),
        (
            {"algorithm": Algorithm.RSA_PSS_SHA256},
            "algorithm: RSA_PSS_SHA256 needs a key of type RSA, not P256",
        ),
        (
            {"prehashed": True},
            "data: a digest for ECDSA_P256_SHA256_ASN1 has 32 bytes, and this one 4",
        ),
        (
            {"key_type": KeyType.ED25519, "algorithm": Algorithm.ED25519, "prehashed": True},
            "prehashed: ED25519 hashes the data itself and takes no digest",
        ),
        ({"data": bytes(1001)}, "data: 1001 bytes are over the limit of 1000"),
        ({"rsa_bits": 2048}, "rsa_bits: 2048 does not go with a key of type P256"),
        ({"key_type": KeyType.RSA, "rsa_bits": 1024}, "rsa_bits: 1024 is not one of 2048, 3072 and 4096"),
    ],
)
def test_wrong_request_is_told_what_is_wrong(servicer: CryptoServicer, change: dict[str, object], text: str) -> None:
    assert refusal(servicer, **(P256 | change)).startswith(text)


def test_data_at_the_limit_is_signed(servicer: CryptoServicer) -> None:
    assert sign(servicer, **(P256 | {"data": bytes(1000)})).signature


def test_key_that_the_server_does_not_have_is_failed_precondition(servicer: CryptoServicer) -> None:
    with pytest.raises(wire.RpcError, match="no key of type RSA of 4096 bits") as caught:
        sign(servicer, key_type=KeyType.RSA, algorithm=Algorithm.RSA_PSS_SHA256, data=b"", rsa_bits=4096)
    assert caught.value.code == wire.StatusCode.FAILED_PRECONDITION
    with pytest.raises(wire.RpcError, match="key_type: not specified"):
        servicer.get_public_key(GetPublicKeyRequest(), CONTEXT)
