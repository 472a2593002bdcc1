"""Message compression (compression.md): the encodings by name, each as a pair of functions on whole messages.

gzip and deflate (zlib format) always; zstd where the standard library has it (Python ≥ 3.14). Imports only `errors`
and `status`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from wire.errors import ConfigurationError
from wire.status import RpcError, StatusCode

Compressor = Callable[[bytes], bytes]
Decompressor = Callable[[bytes, int], bytes]
"""(message, most bytes it may become) → message. Raises `RpcError` INTERNAL for corrupt input, RESOURCE_EXHAUSTED for
too much."""

try:
    from compression import zstd as _zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    _zstd = None


def _zlib_compressor(window_bits: int) -> Compressor:
    def compress(message: bytes) -> bytes:
        compressor = zlib.compressobj(wbits=window_bits)
        return compressor.compress(message) + compressor.flush()

    return compress


def _bounded(name: str, new: Callable[[], Any], errors: type[Exception]) -> Decompressor:
    def decompress(message: bytes, max_bytes: int) -> bytes:
        decompressor = new()
        try:
            plain: bytes = decompressor.decompress(message, max_bytes + 1)
        except errors:
            raise RpcError(StatusCode.INTERNAL, f"message is not valid {name}") from None
        if len(plain) > max_bytes:
            plain = b""  # the exception would hold it for as long as somebody holds that
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED, f"message is over the limit of {max_bytes} bytes decompressed"
            )
        if not decompressor.eof:
            raise RpcError(StatusCode.INTERNAL, f"message is {name} that was cut short")
        return plain

    return decompress


_GZIP_BITS = 16 + zlib.MAX_WBITS

_COMPRESSORS: dict[str, Compressor] = {
    "gzip": _zlib_compressor(_GZIP_BITS),
    "deflate": _zlib_compressor(zlib.MAX_WBITS),
}
_DECOMPRESSORS: dict[str, Decompressor] = {
    "gzip": _bounded("gzip", lambda: zlib.decompressobj(_GZIP_BITS), zlib.error),
    "deflate": _bounded("deflate", zlib.decompressobj, zlib.error),
}
if _zstd is not None:
    _COMPRESSORS["zstd"] = _zstd.compress
    _DECOMPRESSORS["zstd"] = _bounded("zstd", _zstd.ZstdDecompressor, _zstd.ZstdError)

ACCEPT_ENCODING = ",".join(["identity", *_DECOMPRESSORS]).encode()
"""What we send as grpc-accept-encoding."""


def compressor(encoding: str) -> Compressor:
    """Raises `ConfigurationError` for an encoding that is not here."""
    try:
        return _COMPRESSORS[encoding]
    except KeyError:
        raise ConfigurationError(
            f'no compression is called "{encoding}" here: there is {", ".join(sorted(_COMPRESSORS))}'
        ) from None


def decompressor(encoding: bytes) -> Decompressor | None:
    """For a grpc-encoding value: None for identity. Raises `KeyError` for an encoding that is not here."""
    return None if encoding == b"identity" else _DECOMPRESSORS[encoding.decode("latin-1")]
