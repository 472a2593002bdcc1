"""How a server runs a method: which kind of call its requests become. Imports all kinds of them."""

from __future__ import annotations

from typing import Any

from wire.config import CallConfig
from wire.server.call import ServerCall
from wire.server.message_call import MessageCall
from wire.server.request_calls import StreamRequestCall, UnaryRequestCall
from wire.server.route import Route
from wire.service import Handler, Method, each_of


def route_to(method: Method[Any, Any], handler: Handler, calls: CallConfig) -> Route[Any, Any]:
    """How a server runs a method."""
    assert method.path is not None
    call_type: type[ServerCall] = StreamRequestCall if method.streams_requests else UnaryRequestCall
    each = each_of(handler) if method.streams_requests and method.streams_responses else None
    if each is not None:
        handler, call_type = each, MessageCall
    return Route(method.path, method, handler, calls, call_type)
