"""Health checking (gRPC's health-checking.md): whether a server's services can take calls, asked or followed.

`Health` knows the services of the server that it belongs to: they are SERVING from the beginning, and NOT_SERVING once
the server drains, so that balancers and orchestrators look elsewhere. Imports `wire` and the generated messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import anyio

import wire
from wire.standard.generated.grpc.health.v1 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from wire.standard.generated.grpc.health.v1 import (
    HealthCheckResponseServingStatus as ServingStatus,
)
from wire.standard.generated.grpc.health.v1.health_wire import HealthBase


class Health(HealthBase):
    """The service grpc.health.v1.Health. Give it to a `Server` beside the services that it speaks for.

    The name "" stands for the server as a whole.
    """

    inline = True

    def __init__(self) -> None:
        self._statuses = {"": ServingStatus.SERVING}
        self._draining = False
        self._changed = anyio.Event()

    def set_serving(self, service: str, serving: bool) -> None:
        """Say whether `service`, a full name or "", takes calls, and tell whoever watches it.

        Call it from the server's event loop. Once the server drains, nothing is SERVING any more.
        """
        serving = serving and not self._draining
        self._statuses[service] = ServingStatus.SERVING if serving else ServingStatus.NOT_SERVING
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def on_attach(self, servicers: Iterable[wire.Servicer]) -> None:
        for servicer in servicers:
            self._statuses.setdefault(servicer.service.name, ServingStatus.SERVING)

    def on_drain(self) -> None:
        self._draining = True
        for service in list(self._statuses):
            self.set_serving(service, False)

    def check(self, request: HealthCheckRequest, context: wire.ServerContext) -> HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            raise wire.RpcError(wire.StatusCode.NOT_FOUND, "the server knows no such service")
        return HealthCheckResponse(status=status)

    def list(self, request: HealthListRequest, context: wire.ServerContext) -> HealthListResponse:
        return HealthListResponse(
            statuses={service: HealthCheckResponse(status=status) for service, status in self._statuses.items()}
        )

    async def watch(
        self, request: HealthCheckRequest, context: wire.ServerContext
    ) -> AsyncIterator[HealthCheckResponse]:
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, ServingStatus.SERVICE_UNKNOWN)
            if status is not told:
                told = status
                yield HealthCheckResponse(status=status)
            await changed.wait()
