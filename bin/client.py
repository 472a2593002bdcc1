"""`python -m bin.client`: calls Echo and Crypto from a shell."""

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
from wire.programs import cli
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags

PROG: Final = "bin.client"
DEFAULT_TARGET: Final = "127.0.0.1:50051"

_EPILOG = f"""\
Flags may stand before or behind the command. TEXT may be "-" for standard input.
Results go to standard output; an error goes to standard error as one line with the gRPC code, and the exit status is 1.
{FILTER_HELP}
examples:
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


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    args = parser.parse_args(arguments_of(arguments))
    if (args.tls_cert is None) != (args.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    wire.run(_run, args, loop=args.loop)


async def _run(args: argparse.Namespace) -> None:
    tls = None
    if args.tls or args.tls_ca or args.tls_cert or args.tls_server_name:
        tls = wire.ClientTls(args.tls_ca, args.tls_cert, args.tls_key, args.tls_server_name)
    options = {"timeout": args.timeout, "metadata": metadata_of(args)}
    data = _input(args)
    flags = trace_flags(args)
    trace = None if flags is None else flags.trace([EchoServiceStub.service, CryptoServiceStub.service])
    config = wire.ChannelConfig(engine=args.engine)
    async with wire.Channel(args.target, tls=tls, config=config, trace=trace) as channel:
        await _COMMANDS[args.command](channel, args, data, options)


def metadata_of(args: argparse.Namespace) -> list[tuple[str, str | bytes]]:
    """That before the command, then that behind it."""
    return [*args.metadata, *getattr(args, "more_metadata", ())]


async def _echo(channel: wire.Channel, args: argparse.Namespace, data: bytes, options: dict[str, Any]) -> None:
    reply = await EchoServiceStub(channel).echo(EchoRequest(payload=data), **options)
    if args.json:
        _print_json(payload=reply.payload)
    else:
        # A text is printed as a line; a file or standard input comes back byte for byte.
        _print(reply.payload + (b"" if args.text in (None, "-") else b"\n"))


async def _sign(channel: wire.Channel, args: argparse.Namespace, data: bytes, options: dict[str, Any]) -> None:
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


async def _public_key(channel: wire.Channel, args: argparse.Namespace, data: bytes, options: dict[str, Any]) -> None:
    reply = await _get_public_key(CryptoServiceStub(channel), args, options)
    if args.json:
        _print_json(der=reply.der, pem=reply.pem, key_id=reply.key_id)
    else:
        _print(reply.pem.encode())


_COMMANDS: Final = {"echo": _echo, "sign": _sign, "public-key": _public_key}


async def _get_public_key(
    stub: CryptoServiceStub, args: argparse.Namespace, options: dict[str, Any]
) -> GetPublicKeyResponse:
    return await stub.get_public_key(GetPublicKeyRequest(key_type=KEYS[args.key], rsa_bits=args.rsa_bits), **options)


def _input(args: argparse.Namespace) -> bytes:
    """What to send: with --prehash the digest of it, for which a file of any size is read piece by piece."""
    if args.command == "public-key":
        return b""
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


def _parser() -> cli.Parser:
    parser = cli.Parser(PROG, description="Call Echo and Crypto.", epilog=_EPILOG)
    _add_common_flags(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, description: str) -> cli.Parser:
        sub = commands.add_parser(
            name, help=description, description=description, epilog=f"Flags of all commands: {PROG} --help"
        )
        _add_common_flags(sub, again=True)
        return sub

    def add_input(sub: cli.Parser) -> None:
        source = sub.add_mutually_exclusive_group(required=True)
        source.add_argument("text", nargs="?", metavar="TEXT", help='what to send; "-" is standard input')
        source.add_argument("--file", type=cli.readable_file, metavar="F", help="send the contents of a file")

    def add_key(sub: cli.Parser) -> None:
        sub.add_argument("--key", choices=KEYS, required=True, help="type of the key")
        sub.add_argument(
            "--rsa-bits", type=int, choices=RSA_BITS, default=0, help="which RSA key, if the server has several"
        )

    add_input(command("echo", "send bytes and print what comes back"))
    sign = command("sign", "print a signature in base64")
    add_input(sign)
    add_key(sign)
    sign.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        metavar="NAME",
        help=f"one of {', '.join(ALGORITHMS)}; without it one that fits the key",
    )
    sign.add_argument("--prehash", action="store_true", help="hash here and send the digest only")
    sign.add_argument("--verify", action="store_true", help="check the signature with the server's public key")
    sign.add_argument(
        "--out", type=cli.writable_file, metavar="F", help="write the signature's bytes to a file instead"
    )
    add_key(command("public-key", "print a public key as PEM"))
    return parser


def _add_common_flags(parser: cli.Parser, *, again: bool = False) -> None:
    """`again`: for a command, whose parser must not put its defaults over what stood before the command."""

    def add(flag: str, default: Any = None, **kwargs: Any) -> None:
        if again:
            kwargs |= {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
        else:
            kwargs |= {"default": default}
        parser.add_argument(flag, **kwargs)

    add("--target", DEFAULT_TARGET, type=cli.address, metavar="ADDR", help="where the server listens (%(default)s)")
    add("--timeout", 10.0, type=cli.seconds, metavar="S", help="deadline of each call, in seconds (%(default)g)")
    add(
        "--metadata",
        [],
        action="append",
        dest="more_metadata" if again else "metadata",
        type=cli.metadata_item,
        metavar="K=V",
        help="may be repeated; the value of a key that ends in -bin is given in base64",
    )
    add("--json", False, action="store_true", help="print the reply as a JSON object, bytes in base64")
    add("--tls", False, action="store_true", help="use TLS, trusting the CAs that the system trusts")
    add("--tls-ca", type=cli.readable_file, metavar="FILE", help="use TLS, trusting this CA")
    add("--tls-cert", type=cli.readable_file, metavar="FILE", help="the client's certificate, PEM")
    add("--tls-key", type=cli.readable_file, metavar="FILE", help="its private key, PEM")
    add("--tls-server-name", metavar="NAME", help="the name that the server's certificate must have")
    add("--engine", wire.ChannelConfig().engine, choices=cli.ENGINES, help="HTTP/2 engine (%(default)s)")
    add(
        "--loop",
        "auto",
        type=cli.loop_name,
        metavar="NAME",
        help="event loop: auto, asyncio, uvloop, trio (%(default)s)",
    )
    add_trace_flags(add)


if __name__ == "__main__":
    cli.run_main(main, PROG)
