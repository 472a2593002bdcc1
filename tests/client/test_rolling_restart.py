"""Servers that are restarted in turn cost no call."""

from __future__ import annotations

from tests.client.rolling_restart import roll
from tests.support import run
from wire.transport.runtime import LoopName


def test_a_rolling_restart_costs_no_call(loop: LoopName) -> None:
    async def main() -> None:
        outcome = await roll(1000, restarts=4)
        assert outcome.failures == []
        assert outcome.restarts >= 4

    run(main, loop=loop)
