"""Health checking: what a server says of its services, asked and followed."""

from __future__ import annotations

import anyio
import pytest

import wire
from tests.support import PROBE_SERVICE, Probe, paired, run
from wire.standard import Health
from wire.standard.generated.grpc.health.v1 import (
    HealthCheckRequest,
    HealthCheckResponseServingStatus,
    HealthListRequest,
)
from wire.standard.generated.grpc.health.v1.health_wire import HealthStub

SERVING = HealthCheckResponseServingStatus.SERVING
NOT_SERVING = HealthCheckResponseServingStatus.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponseServingStatus.SERVICE_UNKNOWN
NAME = PROBE_SERVICE.name


def test_a_servers_services_are_serving_until_it_drains() -> None:
    async def main() -> None:
        health = Health()
        async with paired(Probe(), health) as pair:
            stub = HealthStub(pair.channel)
            assert (await stub.check(HealthCheckRequest())).status == SERVING
            assert (await stub.check(HealthCheckRequest(service=NAME))).status == SERVING
            listed = (await stub.list(HealthListRequest())).statuses
            assert {name: answer.status for name, answer in listed.items()} == {
                "": SERVING, NAME: SERVING, "grpc.health.v1.Health": SERVING
            }  # fmt: skip
            health.on_drain()
            assert (await stub.check(HealthCheckRequest())).status == NOT_SERVING
            health.set_serving(NAME, True)  # too late
            assert (await stub.check(HealthCheckRequest(service=NAME))).status == NOT_SERVING

    run(main)


def test_a_service_that_is_not_there_is_not_found() -> None:
    async def main() -> None:
        async with paired(Health()) as pair:
            with pytest.raises(wire.RpcError) as caught:
                await HealthStub(pair.channel).check(HealthCheckRequest(service="absent"))
            assert caught.value.code is wire.StatusCode.NOT_FOUND

    run(main)


def test_whoever_watches_hears_of_each_change_once() -> None:
    async def main() -> None:
        health = Health()
        async with paired(health) as pair:
            watched = HealthStub(pair.channel).watch(HealthCheckRequest(service="s"))
            statuses = aiter(watched)
            assert (await anext(statuses)).status == SERVICE_UNKNOWN
            health.set_serving("s", True)
            assert (await anext(statuses)).status == SERVING
            health.set_serving("other", True)
            health.set_serving("s", True)
            health.set_serving("s", False)
            assert (await anext(statuses)).status == NOT_SERVING
            watched.cancel()

    run(main)


def test_a_server_that_stops_tells_whoever_watches() -> None:
    async def main() -> None:
        async with paired(Health()) as pair:
            statuses = aiter(HealthStub(pair.channel).watch(HealthCheckRequest()))
            assert (await anext(statuses)).status == SERVING
            stopped = pair.server.stop(0)
            statuses_seen: list[int] = []

            async def follow() -> None:
                try:
                    async for answer in statuses:
                        statuses_seen.append(answer.status)
                except wire.RpcError as error:
                    statuses_seen.append(error.code)

            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                await stopped
            assert statuses_seen == [NOT_SERVING, wire.StatusCode.UNAVAILABLE]

    run(main)
