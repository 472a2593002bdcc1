"""The HTTP/2 engines by name. The one module that knows both, `h2` and `tuned`; the contract that they keep is
`engine`."""

from __future__ import annotations

from collections.abc import Callable

from wire.config import EngineName, Http2Config
from wire.errors import ConfigurationError
from wire.http2.engine import Engine, Sink

EngineFactory = Callable[[bool, Sink, Http2Config], Engine]
"""(client?, sink, config) → engine."""


def engine_factory(name: EngineName) -> EngineFactory:
    """What makes engines called `name`; imported only when asked for. Raises `ConfigurationError` for another name."""
    if name == "h2":
        from wire.http2.h2.engine import H2Engine

        return H2Engine
    if name == "tuned":
        from wire.http2.tuned.client import tuned_engine

        return tuned_engine
    raise ConfigurationError(f'no HTTP/2 engine is called "{name}": there are "h2" and "tuned"')
