"""A rolling restart under load: three servers, stopped and started in turn, while calls go round them.

    python -m tests.client.rolling_restart [CALLS]      100,000 by default; prints what it did, fails on a failed call

The channel balances by round_robin and has a retry policy; no call may fail.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import anyio

import wire
from tests.support import LOCAL, Probe, ProbeStub

IN_FLIGHT = 50
SERVERS = 3
SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "probe.v1.Probe"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


@dataclass(slots=True)
class Outcome:
    """`failures`: what the calls that failed said."""

    calls: int
    restarts: int
    failures: list[str]


async def slow(request: bytes, context: wire.ServerContext) -> bytes:
    """Some are open whenever a server stops."""
    await anyio.lowlevel.checkpoint()
    return request


class Rolling:
    """Servers that are restarted in turn, each when the one before it serves again."""

    def __init__(self) -> None:
        self.restarts = 0

    async def keep(self, number: int, turns: list[anyio.Event], address: str, serves: list[anyio.Event]) -> None:
        """Server `number`, one after the other under the same address; each ends when its turn comes. `serves` is set
        once a client is connected to it."""
        while True:
            async with wire.Server([Probe(unary=slow)]) as server:
                await server.listen(address)
                while not server.connections:
                    await anyio.sleep(0.001)
                serves[number].set()
                await turns[number].wait()
                turns[number] = anyio.Event()
                await server.stop()
            self.restarts += 1


async def roll(calls: int, restarts: int = 1) -> Outcome:
    """Make at least so many calls, and restart servers at least so often meanwhile."""
    rolling = Rolling()
    turns = [anyio.Event() for _ in range(SERVERS)]
    outcome = Outcome(0, 0, [])
    addresses = []
    for _ in range(SERVERS):  # ports that are free
        async with wire.Server([Probe()]) as server:
            addresses.append(await server.listen(LOCAL))
    target = "ipv4:" + ",".join(address.removeprefix("ipv4:") for address in addresses)

    async def call(stub: ProbeStub) -> None:
        while outcome.calls < calls or rolling.restarts < restarts:
            outcome.calls += 1
            body = b"%d" % outcome.calls
            try:
                assert await stub.unary(body, timeout=30) == body
            except wire.RpcError as error:
                outcome.failures.append(str(error))

    async def restart() -> None:
        while True:
            for number in range(SERVERS):
                serves[number] = anyio.Event()
                turns[number].set()
                await serves[number].wait()

    async with anyio.create_task_group() as servers:
        serves = [anyio.Event() for _ in addresses]
        config = wire.ChannelConfig(backoff_initial_s=0.02, backoff_max_s=0.1)
        async with wire.Channel(target, config=config, service_config=SERVICE_CONFIG) as channel:
            for number, address in enumerate(addresses):
                servers.start_soon(rolling.keep, number, turns, address, serves)
            await channel.ready()
            for each in serves:
                await each.wait()
            async with anyio.create_task_group() as restarting:
                restarting.start_soon(restart)
                async with anyio.create_task_group() as callers:
                    for _ in range(IN_FLIGHT):
                        callers.start_soon(call, ProbeStub(channel))
                restarting.cancel_scope.cancel()
        servers.cancel_scope.cancel()
    outcome.restarts = rolling.restarts
    return outcome


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    outcome = wire.run(roll, calls)
    print(f"{outcome.calls:,} calls, {outcome.restarts:,} restarts, {len(outcome.failures)} failed")
    for text in sorted(set(outcome.failures)):
        print(f"  {text}")
    if outcome.failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
