"""`grpclib.metadata`: metadata as multi-dicts, deadlines, and the text of grpc-timeout and grpc-message.

Sources: PROTOCOL-HTTP2.md ("Timeout", "Status-Message", "Custom-Metadata").
"""

from __future__ import annotations

import platform
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import quote, unquote

from multidict import MultiDict

from wire.grpclib._version import __version__

Value: TypeAlias = str | bytes
_Metadata: TypeAlias = MultiDict[Value]
_MetadataLike: TypeAlias = Mapping[str, Value] | Collection[tuple[str, Value]]
_Headers: TypeAlias = Collection[tuple[str, str]]

USER_AGENT = (
    f"grpc-python-grpclib/{__version__} "
    f"({platform.system()}; {platform.python_implementation()}/{platform.python_version()})"
).lower()

_UNIT_S = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d+)([HMSmun])")
_KEY = re.compile(r"[0-9a-z_.\-]+")
_TEXT = re.compile(r"[ !-~]+")
_OWN_KEYS = frozenset(("te", "content-type", "user-agent"))
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def decode_timeout(value: str) -> float:
    """Seconds of a grpc-timeout. Raises ValueError."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise ValueError(f"Invalid timeout: {value}")
    return int(match[1]) * _UNIT_S[match[2]]


def encode_timeout(timeout: float) -> str:
    """A grpc-timeout, cut down to whole units: seconds above 10, then milli-, micro- and nanoseconds."""
    if timeout > 10:
        return f"{int(timeout)}S"
    if timeout > 0.01:
        return f"{int(timeout * 10**3)}m"
    if timeout > 0.00001:
        return f"{int(timeout * 10**6)}u"
    return f"{int(timeout * 10**9)}n"


class Deadline:
    """A point in time, after which a call is given up."""

    __slots__ = ("_timestamp",)

    def __init__(self, *, _timestamp: float) -> None:
        self._timestamp = _timestamp

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Deadline):
            raise TypeError(
                f"comparison is not supported between instances of '{type(self).__name__}' and '{type(other).__name__}'"
            )
        return self._timestamp < other._timestamp

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deadline) and self._timestamp == other._timestamp

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_headers(cls, headers: _Headers) -> Deadline | None:
        """The earliest of those in a request's headers; None without one. Raises ValueError."""
        timeouts = [decode_timeout(value) for key, value in headers if key == "grpc-timeout"]
        return cls.from_timeout(min(timeouts)) if timeouts else None

    @classmethod
    def from_timeout(cls, timeout: float) -> Deadline:
        """`timeout` seconds from now."""
        return cls(_timestamp=time.monotonic() + timeout)

    def time_remaining(self) -> float:
        """Seconds until then, at least 0."""
        return max(0, self._timestamp - time.monotonic())


def encode_grpc_message(message: str) -> str:
    return quote(message, safe=_UNQUOTED, encoding="utf-8")


def decode_grpc_message(value: str) -> str:
    return unquote(value, encoding="utf-8", errors="replace")


def encode_bin_value(value: bytes) -> bytes:
    return b64encode(value).rstrip(b"=")


def decode_bin_value(value: bytes) -> bytes:
    return b64decode(value + b"=" * (-len(value) % 4))


def encode_metadata(metadata: _MetadataLike) -> list[tuple[str, str]]:
    """Header fields of metadata to send. Raises ValueError and TypeError for what cannot travel."""
    return [
        (key, encode_bin_value(value).decode("ascii") if isinstance(value, bytes) else value)
        for key, value in checked(metadata)
    ]


def checked(metadata: _MetadataLike) -> list[tuple[str, Value]]:
    """The pairs of metadata to send. Raises as `encode_metadata` does."""
    pairs: Iterable[tuple[str, Value]] = metadata.items() if isinstance(metadata, Mapping) else metadata
    result = []
    for key, value in pairs:
        if key in _OWN_KEYS or key.startswith("grpc-") or not _KEY.fullmatch(key):
            raise ValueError(f"Invalid metadata key: {key!r}")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"Invalid metadata value type, bytes expected: {value!r}")
        elif not isinstance(value, str):
            raise TypeError(f"Invalid metadata value type, str expected: {value!r}")
        elif not _TEXT.fullmatch(value):
            raise ValueError(f"Invalid metadata value: {value!r}")
        result.append((key, value))
    return result


def decode_metadata(headers: _Headers) -> _Metadata:
    """The user's among received header fields."""
    return received(
        (key, decode_bin_value(value.encode("ascii")) if key.endswith("-bin") else value) for key, value in headers
    )


def received(pairs: Iterable[tuple[str, Value]]) -> _Metadata:
    """A multi-dict of those pairs that are the user's, and not gRPC's."""
    return MultiDict([pair for pair in pairs if not pair[0].startswith((":", "grpc-")) and pair[0] not in _OWN_KEYS])
