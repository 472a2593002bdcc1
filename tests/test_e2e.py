"""The whole of it: a server with both services, a channel to it, echoes and signatures, and a clean end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

import wire
from proto.crypto.v1 import Algorithm, GetPublicKeyRequest, GetPublicKeyResponse, KeyType, SignRequest
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceStub
from services.crypto import CryptoServicer
from services.echo import EchoServicer
from services.keys import KeyRing
from tests.support import run
from wire.config import EngineName
from wire.transport.runtime import LoopName

Verify = Callable[[bytes, bytes], None]

_DATA = b"to be signed \x00\xff\r\n"
_PSS_SHA384 = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=padding.PSS.DIGEST_LENGTH)


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing.generate([2048])


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/e2e.sock"


def test_a_server_echoes_signs_and_ends_cleanly(
    address: str, loop: LoopName, engine: EngineName, keys: KeyRing
) -> None:
    run(partial(_everything, address, engine, keys), loop=loop)
    if address.startswith("unix:"):
        assert not Path(address.removeprefix("unix:")).exists()


async def _everything(address: str, engine: EngineName, keys: KeyRing) -> None:
    config = wire.ServerConfig(engine=engine)
    async with wire.Server([EchoServicer(), CryptoServicer(keys)], config=config) as server:
        bound = await server.listen(address)
        async with wire.Channel(bound, config=wire.ChannelConfig(engine=engine)) as channel:
            await _echoes(EchoServiceStub(channel))
            await _signs(CryptoServiceStub(channel))
            assert len(server.connections) == 1
        await server.stop()
        assert not server.connections
        async with wire.Channel(bound, config=wire.ChannelConfig(engine=engine)) as channel:
            with pytest.raises(wire.RpcError, match="cannot connect") as failure:
                await EchoServiceStub(channel).echo(EchoRequest(payload=b"anybody?"))
            assert failure.value.code is wire.StatusCode.UNAVAILABLE


async def _echoes(stub: EchoServiceStub) -> None:
    for payload in (b"", b"hello", bytes(range(256)), b"x" * (1 << 20)):
        assert (await stub.echo(EchoRequest(payload=payload), timeout=30)).payload == payload

    replies: dict[int, bytes] = {}

    async def echo(number: int) -> None:
        replies[number] = (await stub.echo(EchoRequest(payload=b"%d" % number))).payload

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(echo, number)
    assert replies == {number: b"%d" % number for number in range(50)}

    payloads = [b"%d" % number for number in range(100)]
    call = stub.echo_stream([EchoRequest(payload=payload) for payload in payloads])
    assert [reply.payload async for reply in call] == payloads
    assert call.code is wire.StatusCode.OK

    call = stub.echo_stream()
    async with call:
        for payload in payloads[:3]:  # one at a time, each answered before the next is sent
            await call.send(EchoRequest(payload=payload))
            assert (await anext(aiter(call))).payload == payload
        await call.end()
        assert [reply async for reply in call] == []


async def _signs(stub: CryptoServiceStub) -> None:
    public = {
        key_type: await stub.get_public_key(GetPublicKeyRequest(key_type=key_type))
        for key_type in (KeyType.RSA, KeyType.P256, KeyType.P384, KeyType.ED25519)
    }
    for algorithm, key_type, verify in _verifications(public):
        reply = await stub.sign(SignRequest(key_type=key_type, algorithm=algorithm, data=_DATA), timeout=30)
        assert reply.key_id == public[key_type].key_id
        verify(reply.signature, _DATA)

    digest = hashlib.sha256(_DATA).digest()
    request = SignRequest(
        key_type=KeyType.P256, algorithm=Algorithm.ECDSA_P256_SHA256_ASN1, data=digest, prehashed=True
    )
    _ec_verify(public[KeyType.P256], hashes.SHA256())((await stub.sign(request)).signature, _DATA)

    with pytest.raises(wire.RpcError, match="ED25519 needs a key of type ED25519, not RSA") as failure:
        await stub.sign(SignRequest(key_type=KeyType.RSA, algorithm=Algorithm.ED25519, data=_DATA))
    assert failure.value.code is wire.StatusCode.INVALID_ARGUMENT


def _verifications(public: dict[KeyType, GetPublicKeyResponse]) -> list[tuple[Algorithm, KeyType, Verify]]:
    """Some of every kind of algorithm, each with a check that owes nothing to the services."""
    rsa_key = load_pem_public_key(public[KeyType.RSA].pem.encode())
    ed25519_key = load_der_public_key(public[KeyType.ED25519].der)
    assert isinstance(rsa_key, rsa.RSAPublicKey)
    assert isinstance(ed25519_key, ed25519.Ed25519PublicKey)
    p384_fixed = _ec_verify(public[KeyType.P384], hashes.SHA384(), fixed_bytes=48)
    return [
        (
            Algorithm.RSA_PKCS1_SHA256,
            KeyType.RSA,
            lambda signature, data: rsa_key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256()),
        ),
        (
            Algorithm.RSA_PSS_SHA384,
            KeyType.RSA,
            lambda signature, data: rsa_key.verify(signature, data, _PSS_SHA384, hashes.SHA384()),
        ),
        (Algorithm.ECDSA_P256_SHA256_ASN1, KeyType.P256, _ec_verify(public[KeyType.P256], hashes.SHA256())),
        (Algorithm.ECDSA_P384_SHA384_FIXED, KeyType.P384, p384_fixed),
        (Algorithm.ED25519, KeyType.ED25519, ed25519_key.verify),
    ]


def _ec_verify(public: GetPublicKeyResponse, hash_: hashes.HashAlgorithm, fixed_bytes: int = 0) -> Verify:
    key = load_der_public_key(public.der)
    assert isinstance(key, ec.EllipticCurvePublicKey)

    def verify(signature: bytes, data: bytes) -> None:
        if fixed_bytes:
            assert len(signature) == 2 * fixed_bytes
            numbers = (int.from_bytes(signature[:fixed_bytes], "big"), int.from_bytes(signature[fixed_bytes:], "big"))
            signature = utils.encode_dss_signature(*numbers)
        key.verify(signature, data, ec.ECDSA(hash_))

    return verify


def test_the_objects_that_a_user_holds_say_what_they_are() -> None:
    seen: list[str] = []

    class Servicer(EchoServicer):
        def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
            seen.append(repr(context))
            return EchoResponse(payload=request.payload)

    async def main() -> None:
        channel = wire.Channel("127.0.0.1:1")
        assert repr(channel) == "<Channel to ipv4:127.0.0.1:1: not open>"
        async with wire.Server([Servicer()]) as server:
            bound = await server.listen("127.0.0.1:0")
            async with wire.Channel(bound) as channel:
                call = EchoServiceStub(channel).echo(EchoRequest(payload=b"x"))
                assert repr(call) == "<UnaryUnaryCall of /echo.v1.EchoService/Echo: open>"
                await call
                assert repr(call) == "<UnaryUnaryCall of /echo.v1.EchoService/Echo: OK>"
                assert repr(channel) == f"<Channel to {bound}: READY, 1 connections ready, 0 calls open, 0 waiting>"
                assert repr(server) == "<Server of echo.v1.EchoService: 1 listeners, 1 connections>"
        assert repr(server).startswith("<Server of echo.v1.EchoService: stopped, ")
        assert seen[0].startswith("<UnaryRequestCall of /echo.v1.EchoService/Echo from ipv4:127.0.0.1:")
        assert seen[0].endswith(": open>")

    run(main)
