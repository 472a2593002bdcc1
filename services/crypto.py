"""Crypto: signs with the server's keys."""

from __future__ import annotations

from collections.abc import Awaitable
from itertools import product
from typing import Final, NamedTuple, NoReturn

import wire
from proto.crypto.v1 import (
    Algorithm,
    GetPublicKeyRequest,
    GetPublicKeyResponse,
    KeyType,
    SignRequest,
    SignResponse,
)
from proto.crypto.v1.crypto_wire import CryptoServiceBase
from services.algorithms import RULES, Sign, signer
from services.keys import RSA_BITS, KeyRing, SigningKey
from services.threads import Threads, available_cores

MAX_DATA_BYTES: Final = 1 << 20


class _Signer(NamedTuple):
    """What one valid choice of key type, RSA modulus, algorithm and `prehashed` comes to."""

    sign: Sign
    key_id: str
    dear: bool
    """Too slow to run in the event loop, where it would hold up every other call."""
    shortest_bytes: int
    longest_bytes: int
    """Bounds of the data: up to the limit, or exactly a digest."""


class CryptoServicer(CryptoServiceBase):
    """Signs with `keys`; data of more than `max_data_bytes` is refused.

    Signatures that take long are made in `threads` threads, by default one for each core.
    """

    def __init__(self, keys: KeyRing, *, max_data_bytes: int = MAX_DATA_BYTES, threads: int | None = None) -> None:
        self._keys = keys
        self._threads = Threads(threads or available_cores())
        # Every choice that is valid, so that the check of a request is one look-up.
        self._signers: dict[tuple[int, int, int, bool], _Signer] = {}
        for algorithm, rule in RULES.items():
            digest_bytes = rule.hash.digest_size if rule.hash else None
            for bits, prehashed in product((0, *RSA_BITS), (False, True)):
                key = keys.get(rule.key_type, bits)
                if key is None or (prehashed and digest_bytes is None):
                    continue
                bounds = (digest_bytes, digest_bytes) if prehashed and digest_bytes else (0, max_data_bytes)
                self._signers[rule.key_type, bits, algorithm, prehashed] = _Signer(
                    signer(key.private, rule, prehashed), key.key_id, key.key_type in _DEAR, *bounds
                )

    def sign(self, request: SignRequest, context: wire.ServerContext) -> SignResponse | Awaitable[SignResponse]:
        data = request.data
        chosen = self._signers.get((request.key_type, request.rsa_bits, request.algorithm, request.prehashed))
        if chosen is None:
            self._refuse_choice(request)
        sign, key_id, dear, shortest_bytes, longest_bytes = chosen
        if not shortest_bytes <= len(data) <= longest_bytes:
            self._refuse_length(request, chosen)
        if dear:
            return self._threads.run(_signed, sign, data, key_id)
        return SignResponse(signature=sign(data), key_id=key_id)

    def get_public_key(self, request: GetPublicKeyRequest, context: wire.ServerContext) -> GetPublicKeyResponse:
        key = self._key(request.key_type, request.rsa_bits)
        return GetPublicKeyResponse(der=key.der, pem=key.pem, key_id=key.key_id)

    def _refuse_choice(self, request: SignRequest) -> NoReturn:
        """Say what is wrong with a request that `_signers` does not hold."""
        key = self._key(request.key_type, request.rsa_bits)
        rule = RULES.get(request.algorithm)
        if rule is None:
            _invalid(_unknown("algorithm", request.algorithm, Algorithm))
        if rule.key_type != key.key_type:
            _invalid(
                f"algorithm: {request.algorithm.name} needs a key of type {rule.key_type.name}, not {key.key_type.name}"
            )
        _invalid(f"prehashed: {request.algorithm.name} hashes the data itself and takes no digest")

    def _refuse_length(self, request: SignRequest, chosen: _Signer) -> NoReturn:
        size, name = len(request.data), request.algorithm.name
        if request.prehashed:
            _invalid(f"data: a digest for {name} has {chosen.longest_bytes} bytes, and this one {size}")
        _invalid(f"data: {size} bytes are over the limit of {chosen.longest_bytes}; sign a digest (prehashed)")

    def _key(self, key_type: KeyType, rsa_bits: int) -> SigningKey:
        if key_type not in _KEY_TYPES:
            _invalid(_unknown("key_type", key_type, KeyType))
        key = self._keys.get(key_type, rsa_bits)
        if key is not None:
            return key
        if key_type != KeyType.RSA and rsa_bits:
            _invalid(f"rsa_bits: {rsa_bits} does not go with a key of type {key_type.name}")
        if rsa_bits and rsa_bits not in RSA_BITS:
            _invalid(f"rsa_bits: {rsa_bits} is not one of 2048, 3072 and 4096")
        size = f" of {rsa_bits} bits" if rsa_bits else ""
        raise wire.RpcError(
            wire.StatusCode.FAILED_PRECONDITION, f"this server has no key of type {key_type.name}{size}"
        )


_KEY_TYPES: Final = frozenset(KeyType) - {KeyType.UNSPECIFIED}
_DEAR: Final = frozenset({KeyType.RSA, KeyType.P384})


def _signed(sign: Sign, data: bytes, key_id: str) -> SignResponse:
    return SignResponse(signature=sign(data), key_id=key_id)


def _invalid(message: str) -> NoReturn:
    raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, message)


def _unknown(field: str, value: int, choices: type[KeyType] | type[Algorithm]) -> str:
    if value == 0:
        return f"{field}: not specified"
    return f"{field}: {int(value)} is not one of {', '.join(choice.name or '' for choice in choices if choice)}"
