"""A signing service for an enclave or a virtual machine: the key is made inside, and only signatures leave it.

    python enclave_signer.py vsock:any:5000          # inside; only the parent (CID 3 in Nitro Enclaves) may connect

The caller sends the SHA-256 digest of what is to be signed (32 bytes) and gets an ASN.1 ECDSA signature of P-256. A
real one would prove to its caller, by an attestation document, that the public key is the enclave's own.
"""

from __future__ import annotations

import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import wire

PARENT_CID = 3
DIGEST_BYTES = 32
_ALGORITHM = ec.ECDSA(Prehashed(hashes.SHA256()))


class SignerStub(wire.Stub[wire.AnyChannel]):
    public_key = wire.UnaryUnary("PublicKey", bytes, bytes)
    sign = wire.UnaryUnary("Sign", bytes, bytes)
    service = wire.Service("example.Signer", (public_key, sign))


class Signer(wire.Servicer):
    service = SignerStub.service

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self, request: bytes, context: wire.ServerContext) -> bytes:
        """DER, SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, request: bytes, context: wire.ServerContext) -> bytes:
        if len(request) != DIGEST_BYTES:
            text = f"a SHA-256 digest has {DIGEST_BYTES} bytes, and not {len(request)}"
            raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, text)
        return self._key.sign(request, _ALGORITHM)  # 20 µs: no reason for a thread


def make_server() -> wire.Server:
    config = wire.ServerConfig(transport=wire.TransportConfig(vsock_allow_cids=frozenset({PARENT_CID})))
    return wire.Server([Signer()], config=config)


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "vsock:any:5000"
    sys.exit(wire.serve(make_server, address, started=lambda bound: print("signing on", *bound)))
