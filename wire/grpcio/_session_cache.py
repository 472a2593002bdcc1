"""TLS sessions that outlive a channel: Python's ssl resumes one only in the context that it was made in, so that it is
contexts that are kept. Imports wire.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import wire

Tls = Callable[[str | None], wire.ClientTls | None]


class SSLSessionCacheLRU:
    """Of as many credentials and server names as its capacity, those used last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._kept: OrderedDict[Any, wire.ClientTls] = OrderedDict()
        self._lock = threading.Lock()

    def __int__(self) -> int:
        """What makes it an option, as in grpcio."""
        return id(self)

    def get(self, tls: Tls, server_name: str | None) -> wire.ClientTls | None:
        """What credentials secure a channel with, in the state in which the last channel left it."""
        with self._lock:
            kept = self._kept.pop((tls, server_name), None)
            if kept is None:
                made = tls(server_name)
                if made is None:
                    return None
                kept = replace(made, resume=True)
            self._kept[tls, server_name] = kept
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
            return kept
