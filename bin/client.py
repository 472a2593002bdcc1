"""`python -m bin.client`: calls Echo and Crypto from a shell, and any other service as `wire-client` does."""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import sys
from typing import Any, BinaryIO, Final

import wire
from proto.crypto.v1 import Algorithm, GetPublicKeyRequest, GetPublicKeyResponse, KeyType, SignRequest
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.algorithms import RULES, verify
from services.keys import RSA_BITS
from wire.programs import cli, client

PROG: Final = "bin.client"

_EXAMPLES: Final = """\
  bin.client echo hello
  bin.client sign --key p256 --file contract.pdf --verify
  bin.client sign --key rsa --algorithm rsa-pss-sha512 --prehash --file big.iso --out big.sig
  bin.client --target vsock:3:5000 --timeout 2 public-key --key ed25519
  bin.client --trace frame=HEADERS,DATA echo hello
"""

_MOST_INPUT_BYTES: Final = 1 << 30
_PIECE_BYTES: Final = 1 << 20

KEYS: Final = {str(each.name).lower(): each for each in KeyType if each}
ALGORITHMS: Final = {str(each.name).lower().replace("_", "-"): each for each in Algorithm if each}
DEFAULT_ALGORITHM: Final = {
    "rsa": "rsa-pss-sha256",
    "p256": "ecdsa-p256-sha256-asn1",
    "p384": "ecdsa-p384-sha384-asn1",
    "ed25519": "ed25519",
}


class Failure(wire.WireError):
    """The call ended well, but its reply is not what it should be."""


def main(arguments: list[str] | None = None) -> int:
    services = (EchoServiceStub.service, CryptoServiceStub.service)
    return client.main(arguments, prog=PROG, commands=_COMMANDS, services=services, examples=_EXAMPLES)


async def _echo(channel: wire.Channel, args: argparse.Namespace, options: dict[str, Any]) -> None:
    data = _input(args)
    reply = await EchoServiceStub(channel).echo(EchoRequest(payload=data), **options)
    if args.json:
        _print_json(payload=reply.payload)
    else:
        # A text is printed as a line; a file or standard input comes back byte for byte.
        _print(reply.payload + (b"" if args.text in (None, "-") else b"\n"))


async def _sign(channel: wire.Channel, args: argparse.Namespace, options: dict[str, Any]) -> None:
    data = _input(args)
    algorithm = ALGORITHMS[args.algorithm or DEFAULT_ALGORITHM[args.key]]
    stub = CryptoServiceStub(channel)
    request = SignRequest(
        key_type=KEYS[args.key], algorithm=algorithm, data=data, prehashed=args.prehash, rsa_bits=args.rsa_bits
    )
    reply = await stub.sign(request, **options)
    if args.verify:
        public = await _get_public_key(stub, args, options)
        if reply.key_id != public.key_id or not verify(
            public.der, algorithm, data, reply.signature, prehashed=args.prehash
        ):
            raise Failure(f"the signature does not verify with the server's public key {public.key_id}")
    if args.out:
        args.out.write_bytes(reply.signature)
    if args.json:
        _print_json(signature=reply.signature, key_id=reply.key_id, verified=args.verify)
    elif not args.out:
        _print(base64.b64encode(reply.signature) + b"\n")
    if args.verify and not args.json:
        print(f"verified with key {reply.key_id}", file=sys.stderr)


async def _public_key(channel: wire.Channel, args: argparse.Namespace, options: dict[str, Any]) -> None:
    reply = await _get_public_key(CryptoServiceStub(channel), args, options)
    if args.json:
        _print_json(der=reply.der, pem=reply.pem, key_id=reply.key_id)
    else:
        _print(reply.pem.encode())


async def _get_public_key(
    stub: CryptoServiceStub, args: argparse.Namespace, options: dict[str, Any]
) -> GetPublicKeyResponse:
    return await stub.get_public_key(GetPublicKeyRequest(key_type=KEYS[args.key], rsa_bits=args.rsa_bits), **options)


def _input(args: argparse.Namespace) -> bytes:
    """What to send: with --prehash the digest of it, for which a file of any size is read piece by piece."""
    if args.file is None and args.text != "-":
        opened: BinaryIO = io.BytesIO(args.text.encode(errors="surrogateescape"))
    else:
        opened = sys.stdin.buffer if args.file is None else args.file.open("rb")
    with opened as source:
        if args.command == "sign" and args.prehash:
            rule = RULES[ALGORITHMS[args.algorithm or DEFAULT_ALGORITHM[args.key]]]
            if rule.hash is None:
                raise Failure("ed25519 hashes the data itself and takes no digest: leave --prehash out")
            digest = hashlib.new(rule.hash.name)
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
            return digest.digest()
        if args.file is not None and args.file.stat().st_size > _MOST_INPUT_BYTES:
            data = None
        else:
            data = source.read(_MOST_INPUT_BYTES + 1)
    if data is None or len(data) > _MOST_INPUT_BYTES:
        advice = "; sign --prehash sends the digest of it only" if args.command == "sign" else ""
        raise Failure(f"{args.file or 'standard input'} is over 1 GiB, which is too long for a message{advice}")
    return data


def _print(output: bytes) -> None:
    sys.stdout.buffer.write(output)


def _print_json(**fields: bytes | str | bool) -> None:
    """One object on a line, bytes in base64 as in protobuf's JSON mapping."""
    plain = {key: base64.b64encode(v).decode() if isinstance(v, bytes) else v for key, v in fields.items()}
    print(json.dumps(plain))


def _add_input(parser: cli.Parser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("text", nargs="?", metavar="TEXT", help='what to send; "-" is standard input')
    source.add_argument("--file", type=cli.readable_file, metavar="F", help="send the contents of a file")


def _add_key(parser: cli.Parser) -> None:
    parser.add_argument("--key", choices=KEYS, required=True, help="type of the key")
    parser.add_argument(
        "--rsa-bits", type=int, choices=RSA_BITS, default=0, help="which RSA key, if the server has several"
    )


def _add_sign(parser: cli.Parser) -> None:
    _add_input(parser)
    _add_key(parser)
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        metavar="NAME",
        help=f"one of {', '.join(ALGORITHMS)}; without it one that fits the key",
    )
    parser.add_argument("--prehash", action="store_true", help="hash here and send the digest only")
    parser.add_argument("--verify", action="store_true", help="check the signature with the server's public key")
    parser.add_argument(
        "--out", type=cli.writable_file, metavar="F", help="write the signature's bytes to a file instead"
    )


_COMMANDS: Final = (
    client.Command("echo", "send bytes and print what comes back", _add_input, _echo),
    client.Command("sign", "print a signature in base64", _add_sign, _sign),
    client.Command("public-key", "print a public key as PEM", _add_key, _public_key),
)


if __name__ == "__main__":
    cli.run_main(main, PROG)
