"""Servicers of wire for handlers that are known by their paths. Imports wire."""

from __future__ import annotations

from typing import Any

import wire

_KINDS: dict[tuple[bool, bool], type[Any]] = {
    (False, False): wire.UnaryUnary,
    (False, True): wire.UnaryStream,
    (True, False): wire.StreamUnary,
    (True, True): wire.StreamStream,
}


class _Handlers(wire.Servicer):
    """Handlers of one service, by their methods."""

    def __init__(self, service: wire.Service, handlers: dict[str, Any]) -> None:
        self.service = service  # type: ignore[misc]
        for each in service.methods:
            setattr(self, each.attribute, handlers[each.name])


def servicers(methods: dict[str, tuple[bool, bool, Any]]) -> list[wire.Servicer]:
    """Servicers of methods of bytes, path → (streams requests, streams responses, handler). Paths that are no protobuf
    names are left out."""
    by_service: dict[str, dict[str, tuple[Any, Any]]] = {}
    for path, (streams_requests, streams_responses, handler) in methods.items():
        _, service, name = path.split("/") if path.count("/") == 2 else ("", "", "")
        try:
            described = _KINDS[streams_requests, streams_responses](name, bytes, bytes)
        except wire.ServiceError:
            continue
        if not hasattr(wire.Servicer, described.attribute):
            by_service.setdefault(service, {}).setdefault(described.attribute, (described, handler))
    made: list[wire.Servicer] = []
    for service, found in by_service.items():
        try:
            described = wire.Service(service, [each for each, _ in found.values()])
        except wire.ServiceError:
            continue
        made.append(_Handlers(described, {each.name: handler for each, handler in found.values()}))
    return made
