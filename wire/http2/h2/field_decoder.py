"""Field blocks → field sections, decoded, within the limits and well-formed: what this engine does in h2's stead.

In: a whole field block. Out: a `HeaderList`, the same object when a section is repeated, or the code of the stream
error that it is. What costs the connection raises `PeerError`. Imports hpack, `reader`, and what
`wire.http2` shares.
"""

from __future__ import annotations

import logging
from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError

from wire.config import Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.engine import Fields, HeaderList
from wire.http2.h2.reader import PeerError
from wire.http2.limits import HARD_HEADER_FACTOR, MAX_TABLE_UPDATES
from wire.http2.validation import request_problem, response_problem, trailers_problem

logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes out every field, credentials too

_CACHED_SECTIONS: Final = 32
_CACHED_SECTION_BYTES: Final = 1024


class FieldDecoder:
    """The receiving end of one connection's HPACK state."""

    __slots__ = ("_cache", "_client", "_config", "_decoder")

    def __init__(self, client: bool, config: Http2Config) -> None:
        self._client = client
        self._config = config
        self._decoder = Decoder(HARD_HEADER_FACTOR * config.max_header_list_bytes)
        self._decoder.max_allowed_table_size = max(self._decoder.header_table_size, config.header_table_bytes)
        self._cache: dict[tuple[bool, Fields], HeaderList] = {}

    def settings_acknowledged(self) -> None:
        """Only now the peer's encoder is bound by a table smaller than the default (RFC 7541 §4.2)."""
        self._decoder.max_allowed_table_size = self._config.header_table_bytes

    def decode(self, block: bytes) -> Fields:
        if _table_updates(block) > MAX_TABLE_UPDATES:
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "more dynamic table size updates than there is a use for")
        try:
            return tuple(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError:
            raise PeerError(ErrorCode.ENHANCE_YOUR_CALM, "a field section that is too large") from None
        except HPACKError:  # RFC 9113 §4.3
            raise PeerError(ErrorCode.COMPRESSION_ERROR, "a field block that cannot be decoded") from None

    def judge(self, fields: Fields, *, trailers: bool) -> HeaderList | ErrorCode:
        """`fields` as the sink is to see them, or the stream error that they are."""
        section = self._cache.get((trailers, fields))
        if section is not None:
            return section
        size_bytes = sum([len(name) + len(value) + 32 for name, value in fields])  # RFC 9113 §6.5.2
        if size_bytes > self._config.max_header_list_bytes or len(fields) > self._config.max_header_fields:
            return ErrorCode.ENHANCE_YOUR_CALM
        if trailers:
            problem = trailers_problem(fields, from_server=self._client)
        else:
            problem = response_problem(fields) if self._client else request_problem(fields)
        if problem is not None:
            return ErrorCode.PROTOCOL_ERROR
        section = HeaderList(fields)
        if size_bytes <= _CACHED_SECTION_BYTES:
            if len(self._cache) == _CACHED_SECTIONS:
                self._cache.clear()
            self._cache[trailers, fields] = section
        return section


def _table_updates(block: bytes) -> int:
    """The dynamic table size updates (RFC 7541 §6.3) that a block begins with, counted to one more than may be."""
    at = updates = 0
    while at < len(block) and block[at] & 0xE0 == 0x20 and updates <= MAX_TABLE_UPDATES:
        updates += 1
        if block[at] == 0x3F:  # §5.1: the integer goes on
            at += 1
            while at < len(block) and block[at] & 0x80:
                at += 1
        at += 1
    return updates
