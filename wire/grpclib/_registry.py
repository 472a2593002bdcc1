"""`grpclib._registry`: every channel and server that is alive, for programs that look for theirs."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

servers: WeakSet[Any] = WeakSet()
channels: WeakSet[Any] = WeakSet()
