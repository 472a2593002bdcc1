"""Caches of TLS sessions, for channels whose options name one. Imports this package's."""

from wire.grpcio._session_cache import SSLSessionCacheLRU

__all__ = ["SSLSessionCacheLRU", "ssl_session_cache_lru"]


def ssl_session_cache_lru(capacity: int) -> SSLSessionCacheLRU:
    """What the option "grpc.ssl_session_cache" is given."""
    return SSLSessionCacheLRU(capacity)
