"""Flags of programs that make calls: where to, by TLS, with which metadata, and what describes its methods."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wire
from wire.programs import cli

if TYPE_CHECKING:
    from wire.standard.dynamic import Schema

Add = Callable[..., Any]
"""`add_argument` of a parser or a group."""

DEFAULT_TIMEOUT_S: Final = 10.0
"""Deadline of a call that is not a stream."""


def add_tls_flags(add: Add) -> None:
    """--tls and its like, for `tls_of`."""
    add("--tls", default=False, action="store_true", help="use TLS, trusting the CAs that the system trusts")
    add("--tls-ca", default=None, type=cli.readable_file, metavar="FILE", help="use TLS, trusting this CA")
    add("--tls-cert", default=None, type=cli.readable_file, metavar="FILE", help="the client's certificate, PEM")
    add("--tls-key", default=None, type=cli.readable_file, metavar="FILE", help="its private key, PEM")
    add("--tls-server-name", default=None, metavar="NAME", help="the name that the server's certificate must have")


def check_tls_flags(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if (args.tls_cert is None) != (args.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")


def tls_of(args: argparse.Namespace) -> wire.ClientTls | None:
    """What the TLS flags ask for; None without any."""
    if args.tls or args.tls_ca or args.tls_cert or args.tls_server_name:
        return wire.ClientTls(args.tls_ca, args.tls_cert, args.tls_key, args.tls_server_name)
    return None


def header(text: str) -> tuple[str, str | bytes]:
    """`key: value`, as curl's and grpcurl's -H take it; bytes in base64 for a key ending in -bin."""
    key, separator, value = text.partition(":")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'key: value'")
    return cli.metadata_item(f"{key.strip()}={value.strip()}")


def add_metadata_flags(add: Add) -> None:
    """--metadata and -H, both for `args.metadata`, a list of pairs."""
    for flags, item, metavar, text in (
        (("--metadata",), cli.metadata_item, "K=V", "may be repeated; bytes for a key that ends in -bin in base64"),
        (("-H", "--header"), header, "'K: V'", "the same as curl writes it"),
    ):
        add(*flags, default=[], action="append", dest="metadata", type=item, metavar=metavar, help=text)


def add_schema_flags(add: Add) -> None:
    """--proto, -I and --protoset, for `schema_of`."""
    files = "a .proto file that describes the server, in place of reflection; may be repeated"
    add("--proto", default=[], action="append", metavar="FILE", help=files)
    add("-I", "--proto-path", default=[], action="append", metavar="DIR", help="where --proto and its imports lie")
    add(
        "--protoset",
        default=[],
        action="append",
        type=cli.readable_file,
        metavar="FILE",
        help="the same by descriptors, as `protoc --include_imports -o FILE` writes them",
    )


def schema_of(
    args: argparse.Namespace, channel: wire.Channel, *, timeout: float | None, metadata: wire.MetadataInput
) -> Schema:
    """What --proto and --protoset say, or else what the server says by reflection. Raises `ConfigurationError`."""
    dynamic = require_dynamic()
    if not args.proto and not args.protoset:
        return dynamic.ReflectedSchema(channel, timeout=timeout, metadata=metadata)  # type: ignore[no-any-return]
    schema: Schema = dynamic.Schema()
    for path in args.protoset:
        schema.add_files(_files_of(dynamic, path))
    if args.proto:
        from wire.generate.descriptors import descriptor_set

        schema.add_files(dynamic.files_of_set(descriptor_set(args.proto, include=args.proto_path)))
    return schema


def require_dynamic() -> Any:
    """The module of dynamic messages. Ends the program with a sentence where protobuf is not installed."""
    try:
        from wire.standard import dynamic
    except ImportError as error:
        raise SystemExit(str(error)) from None
    return dynamic


def _files_of(dynamic: Any, path: Path) -> Any:
    try:
        return dynamic.files_of_set(path.read_bytes())
    except wire.ConfigurationError as error:
        raise wire.ConfigurationError(f"{path}: {error}") from None
