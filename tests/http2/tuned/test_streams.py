from __future__ import annotations

from wire.http2.engine import RESETS_REMEMBERED
from wire.http2.tuned.streams import ResetMemory


def test_streams_that_were_reset_are_excused_and_others_are_not() -> None:
    memory = ResetMemory()
    memory.add(5)
    assert memory.excuses(5)
    assert not memory.excuses(3)
    assert not memory.excuses(7)


def test_below_a_forgotten_reset_everything_is_excused() -> None:
    memory = ResetMemory()
    ids = range(101, 101 + 2 * RESETS_REMEMBERED, 2)
    for stream_id in ids:
        memory.add(stream_id)
    assert not memory.excuses(99)
    memory.add(9)  # out of order; 101 is forgotten
    assert memory.excuses(101)
    assert memory.excuses(99)
    assert not memory.excuses(2 * RESETS_REMEMBERED + 101)
