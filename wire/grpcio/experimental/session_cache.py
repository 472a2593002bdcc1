"""Caches of TLS sessions. Python's ssl keeps none across connections, so that one has no effect here."""

from __future__ import annotations


class SSLSessionCacheLRU:
    """A cache that holds nothing; `int` of it is what grpc's option takes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity

    def __int__(self) -> int:
        return 0


def ssl_session_cache_lru(capacity: int) -> SSLSessionCacheLRU:
    """What the option "grpc.ssl_session_cache" is given."""
    return SSLSessionCacheLRU(capacity)
