"""`grpclib.health.service`: grpc.health.v1.Health over checks (gRPC's health-checking.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

from wire.grpclib._typing import ICheckable
from wire.grpclib.const import Status
from wire.grpclib.health.check import CheckBase
from wire.grpclib.health.v1.health_grpc import HealthBase
from wire.grpclib.health.v1.health_pb2 import HealthCheckResponse
from wire.grpclib.server import Stream
from wire.grpclib.utils import _service_name


class _Overall:
    """A service whose name is ""."""

    def __mapping__(self) -> dict[str, Any]:
        return {"//": None}


OVERALL = _Overall()
"""Stands for the server as a whole."""


def _response(checks: Iterable[CheckBase]) -> Any:
    """SERVING when all checks say so, also when there are none; UNKNOWN when none knows."""
    statuses = {check.__status__() for check in checks}
    if statuses <= {True}:
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)
    unknown = statuses == {None}
    return HealthCheckResponse(status=HealthCheckResponse.UNKNOWN if unknown else HealthCheckResponse.NOT_SERVING)


class Health(HealthBase):
    """The service. `checks`: for each service its checks; `OVERALL` has all of them unless it is given its own."""

    def __init__(self, checks: Mapping[ICheckable, Collection[CheckBase]] | None = None) -> None:
        if checks is None:
            checks = {OVERALL: []}
        elif OVERALL not in checks:
            checks = {**checks, OVERALL: list(chain.from_iterable(checks.values()))}
        self._checks = {_service_name(service): set(each) for service, each in checks.items()}

    async def Check(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        assert request is not None
        checks = self._checks.get(request.service)
        if checks is None:
            await stream.send_trailing_metadata(status=Status.NOT_FOUND)
            return
        for check in checks:
            await check.__check__()
        await stream.send_message(_response(checks))

    async def Watch(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        assert request is not None
        checks = self._checks.get(request.service)
        if checks is None:
            await stream.send_message(HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN))
            await asyncio.Event().wait()  # until the client has enough
            return
        async with AsyncExitStack() as stack:
            changes = []
            for check in checks:
                event = await check.__subscribe__()
                stack.push_async_callback(check.__unsubscribe__, event)
                changes.append(event)
            await stream.send_message(_response(checks))
            while True:
                await _any_of(changes)
                await stream.send_message(_response(checks))


async def _any_of(events: Collection[asyncio.Event]) -> None:
    """Returns when one of the events was set, and clears those that were; never when there are none."""
    if not events:
        await asyncio.Event().wait()
    waits = {asyncio.ensure_future(event.wait()): event for event in events}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            waits[wait].clear()
    finally:
        for wait in waits:
            wait.cancel()
