"""gevent, which replaces what the calls of threads wait with. Imports nothing."""

from __future__ import annotations

from typing import NoReturn


def init_gevent() -> NoReturn:
    """gevent has no meaning here: raises `NotImplementedError`."""
    raise NotImplementedError("wire does not run on gevent: use asyncio (grpc.aio), or threads")
