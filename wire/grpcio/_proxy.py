"""Which HTTP proxy a channel's target is reached by, as grpc reads it from the options and the environment.

Of the variables grpc_proxy, https_proxy and http_proxy the first that is set counts, with TLS or without, but for hosts
that no_grpc_proxy, or else no_proxy, names. This machine itself is never asked a proxy for, which grpc would do.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

_log = logging.getLogger(__name__)

_TARGET = re.compile(r"(?:dns:(?:///)?|ipv4:|ipv6:)?(?P<host>\[[^]]+\]|[^:/,\[\]]+):\d+")
_HERE = re.compile(r"localhost|127(\.\d+){3}|\[::1\]", re.IGNORECASE)


def http_proxy(target: str, options: dict[str, Any]) -> str | None:
    """As `wire.ChannelConfig.http_proxy` takes it."""
    if not options.get("grpc.enable_http_proxy", 1):
        return None
    parsed = _TARGET.fullmatch(target)
    if parsed is None or _HERE.fullmatch(parsed["host"]):
        return None
    given = options.get("grpc.http_proxy")
    url = given.decode() if isinstance(given, bytes) else given
    if not url:
        url = _variable("grpc_proxy", "https_proxy", "http_proxy")
        excluded = _variable("no_grpc_proxy", "no_proxy")
        if not url or (excluded and proxy_bypass_environment(parsed["host"].strip("[]"), {"no": excluded})):
            return None
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.netloc:
        _log.error("the proxy of the environment or the options is none that can be used: only http://host:port can")
        return None
    return f"http://{parts.netloc}"


def _variable(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
