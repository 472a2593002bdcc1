"""gRPC metadata: what users give, what travels as header fields, and what users get back.

ASCII values travel as they are; values of keys ending in `-bin` are bytes and travel as unpadded base64
(PROTOCOL-HTTP2.md, "Custom-Metadata"). Imports only `errors`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator, Mapping

from wire.errors import MetadataError

MetadataInput = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
"""What may be given as metadata: a mapping, or pairs where a key repeats."""

Fields = tuple[tuple[bytes, bytes], ...]

_KEY = re.compile(r"[0-9a-z_.-]+")
_ASCII_VALUE = re.compile(r"[\x20-\x7e]*")
# Fields that wire itself writes; with HTTP/1.1's connection fields, which HTTP/2 forbids (RFC 9113 §8.2.2).
_RESERVED = frozenset(
    [
        "te",
        "content-type",
        "content-length",
        "user-agent",
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ]
)
# gRPC's own keys that users set: rich errors, when to try again (proposal A6), and what OpenCensus passes on.
_SETTABLE = frozenset({"grpc-status-details-bin", "grpc-retry-pushback-ms", "grpc-trace-bin", "grpc-tags-bin"})

# Fields that carry the call itself, and are no metadata of the user's.
_CALL_FIELDS = frozenset(
    b":method :scheme :path :authority :status te content-type content-length grpc-timeout grpc-encoding "
    b"grpc-accept-encoding grpc-status grpc-message grpc-message-type".split()
)


class Metadata:
    """An ordered, immutable multi-map of lower-case keys to `str`, or `bytes` where the key ends in `-bin`.

    Iterating gives (key, value) pairs in order; `metadata["key"]` and `get` give the first value of a key, `text` and
    `binary` the same with its type. Keys are found in capitals or not.
    With one pair more: `Metadata([*metadata, ("key", "value")])`.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: MetadataInput = ()) -> None:
        """Raises `MetadataError` for a key or value that cannot travel."""
        self._pairs = tuple(_checked(pairs))

    @classmethod
    def from_fields(cls, fields: Fields) -> Metadata:
        """Those of received header fields that are the user's. A `-bin` value that is not base64 raises
        `MetadataError`."""
        metadata = cls()
        metadata._pairs = tuple(
            pair
            for name, value in fields
            if name not in _CALL_FIELDS
            for pair in (_decode_binary(name, value) if name.endswith(b"-bin") else ((_text(name), _text(value)),))
        )
        return metadata

    def to_fields(self) -> Fields:
        """Header fields, in order."""
        return tuple(
            (key.encode(), _encode_binary(value) if isinstance(value, bytes) else value.encode())
            for key, value in self._pairs
        )

    def get(self, key: str, default: str | bytes | None = None) -> str | bytes | None:
        """The first value of `key`, in capitals or not, or `default`."""
        key = key.lower()
        return next((value for name, value in self._pairs if name == key), default)

    def text(self, key: str) -> str | None:
        """The first value of a key that does not end in `-bin`; None when there is none."""
        value = self.get(key)
        return value if isinstance(value, str) else None

    def binary(self, key: str) -> bytes | None:
        """The first value of a key that ends in `-bin`; None when there is none."""
        value = self.get(key)
        return value if isinstance(value, bytes) else None

    def get_all(self, key: str) -> list[str | bytes]:
        """Every value of `key`, in order; empty when there is none."""
        key = key.lower()
        return [value for name, value in self._pairs if name == key]

    def __getitem__(self, key: str) -> str | bytes:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Metadata({list(self._pairs)!r})"


def limited_fields(metadata: MetadataInput, max_bytes: int) -> Fields:
    """Header fields of metadata to send. Raises `MetadataError`, also when they are over `max_bytes` together.

    Counted is Σ name + value + 32 (RFC 9113 §6.5.2). A peer may end the connection, with every call on it, for more
    than it takes.
    """
    fields = (metadata if isinstance(metadata, Metadata) else Metadata(metadata)).to_fields()
    size_bytes = sum(len(name) + len(value) + 32 for name, value in fields)
    if size_bytes > max_bytes:
        raise MetadataError(f"metadata of {size_bytes} bytes is over the limit of {max_bytes} (max_header_list_bytes)")
    return fields


def _checked(pairs: MetadataInput) -> Iterator[tuple[str, str | bytes]]:
    if isinstance(pairs, Mapping):
        pairs = pairs.items()
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise MetadataError(f"metadata is given as (key, value) pairs, not {pair!r}")
        key, value = pair[0].lower(), pair[1]
        if not _KEY.fullmatch(key):
            raise MetadataError(f"metadata key {key!r} may only hold letters, digits, '-', '_' and '.'")
        if key in _RESERVED or (key.startswith("grpc-") and key not in _SETTABLE):
            raise MetadataError(f"metadata key {key!r} is reserved by HTTP/2 or gRPC")
        if key.endswith("-bin"):
            if not isinstance(value, (bytes, bytearray, memoryview)):
                raise MetadataError(f"the value of {key!r} must be bytes, because the key ends in -bin")
            value = bytes(value)
        elif not isinstance(value, str):
            raise MetadataError(f"the value of {key!r} must be str; keys of bytes values end in -bin")
        elif not _ASCII_VALUE.fullmatch(value) or value != value.strip(" "):
            raise MetadataError(
                f"the value of {key!r} must be printable ASCII without spaces at its ends; "
                "keys of bytes values end in -bin"
            )
        yield key, value


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _encode_binary(value: bytes) -> bytes:
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")


def _decode_binary(name: bytes, value: bytes) -> Iterator[tuple[str, bytes]]:
    """Several values may share one field, separated by commas; each may be padded or not."""
    for part in value.split(b","):
        part = part.strip(b" ").rstrip(b"=")
        try:
            yield _text(name), binascii.a2b_base64(part + b"=" * (-len(part) % 4), strict_mode=True)
        except binascii.Error:
            raise MetadataError(f"the value of {_text(name)!r} is not base64") from None
