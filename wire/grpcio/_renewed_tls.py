"""TLS of a server whose certificates may change: each connection's handshake asks a program's function for newer ones.

It stands in the context's callback for server names, which OpenSSL calls in every handshake, also when the client names
none. Imports wire.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import wire

_log = logging.getLogger("grpc._cython.cygrpc")


@dataclass(frozen=True, slots=True)
class ServerCertificateConfiguration:
    """Pairs of private key and certificate chain, PEM, and whom to trust when clients have certificates."""

    private_key_certificate_chain_pairs: tuple[tuple[bytes, bytes], ...]
    root_certificates: bytes | None


def server_tls(found: ServerCertificateConfiguration, require_client_auth: bool) -> wire.ServerTls:
    """Raises `wire.TlsError`."""
    key, chain = found.private_key_certificate_chain_pairs[0]
    return wire.ServerTls(chain, key, found.root_certificates if require_client_auth else None)


class RenewedTls:
    """`tls` is what a server listens with. What `fetch` gives counts from the connection on that asked for it; None:
    nothing has changed; whatever else it does, what there was stays."""

    def __init__(
        self, initial: ServerCertificateConfiguration, fetch: Callable[[], Any], require_client_auth: bool
    ) -> None:
        self._fetch = fetch
        self._require_client_auth = require_client_auth
        self.tls = server_tls(initial, require_client_auth)
        self._current = self.tls
        self.tls.context.sni_callback = self._choose

    def _choose(self, connection: Any, server_name: str | None, context: ssl.SSLContext) -> None:
        try:
            found = self._fetch()
            if found is not None:
                if not isinstance(found, ServerCertificateConfiguration):
                    raise TypeError("certificate configuration must be of type grpc.ServerCertificateConfiguration")
                self._current = server_tls(found, self._require_client_auth)
        except Exception:
            _log.exception("Error fetching certificate config")
        connection.context = self._current.context
