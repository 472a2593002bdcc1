"""A short soak, in this process: nothing rises. The long one is `make soak`."""

from __future__ import annotations

import gc
import logging

import anyio
import pytest

import wire
from tests.leftovers import COUNTED, uncollected
from tests.soak.program import Errors, Level, soak
from wire.config import EngineName
from wire.transport.runtime import LoopName

_STAGE_CALLS = 500


@COUNTED
@pytest.mark.filterwarnings("ignore:a call of .* was abandoned:ResourceWarning")
def test_calls_that_end_in_every_way_leave_nothing(engine: EngineName, loop: LoopName) -> None:
    levels: list[Level] = []

    async def main() -> None:
        with anyio.fail_after(60):
            await soak(engine, loop, 2 * _STAGE_CALLS, 2, levels.append)

    errors = Errors()
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [errors]  # pytest's keep what they are told, with its frames
    try:
        with uncollected() as found:
            wire.run(main, loop=loop)
    finally:
        root.handlers = handlers
        gc.enable()
    _, before, after = levels
    faults = [each for each in after.faults(before) if not each.startswith("rss")]  # other tests' holes are filled
    assert faults == []
    assert found == {}
    assert errors.found == {}
