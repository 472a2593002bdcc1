from __future__ import annotations

from wire.http2.engine import RESETS_REMEMBERED
from wire.http2.reset_memory import ResetMemory


def test_streams_that_were_reset_are_excused_and_others_are_not() -> None:
    memory = ResetMemory()
    memory.add(5, 0)
    assert memory.excuses(5)
    assert not memory.excuses(3)
    assert not memory.excuses(7)


def test_below_a_forgotten_reset_everything_is_excused() -> None:
    memory = ResetMemory()
    ids = range(101, 101 + 2 * RESETS_REMEMBERED, 2)
    for stream_id in ids:
        memory.add(stream_id, 0)
    assert not memory.excuses(99)
    memory.add(9, 0)  # out of order; 101 is forgotten
    assert memory.excuses(101)
    assert memory.excuses(99)
    assert not memory.excuses(2 * RESETS_REMEMBERED + 101)


def test_data_is_explained_by_the_window_that_was_left() -> None:
    memory = ResetMemory()
    memory.add(1, 10)
    assert [memory.explains_data(1, 6, False) for _ in range(2)] == [True, False]
    assert memory.explains_data(1, 4, False)
    assert not memory.explains_data(1, 1, False)
    assert not memory.explains_data(3, 1, False)


def test_a_response_may_still_have_its_two_sections() -> None:
    memory = ResetMemory()
    memory.add(1, 10)
    assert [memory.explains_section(1, False) for _ in range(3)] == [True, True, False]


def test_behind_the_end_of_a_stream_nothing_is_explained() -> None:
    memory = ResetMemory()
    for stream_id in (1, 3):
        memory.add(stream_id, 10)
    assert memory.explains_data(1, 1, True)
    assert memory.explains_section(3, True)
    for stream_id in (1, 3):
        assert not memory.explains_data(stream_id, 0, True)
        assert not memory.explains_section(stream_id, False)


def test_streams_that_were_forgotten_explain_what_may_come_on_all_of_them_together() -> None:
    memory = ResetMemory()
    memory.add(1, 10)
    memory.add(3, 20)
    memory.explains_data(3, 5, False)
    for stream_id in range(101, 101 + 2 * RESETS_REMEMBERED, 2):
        memory.add(stream_id, 0)
    assert [memory.explains_section(3, True) for _ in range(5)] == [True] * 4 + [False]
    assert memory.explains_data(1, 20, False)
    assert not memory.explains_data(1, 6, False)
    assert memory.explains_data(3, 5, True)
    assert not memory.explains_section(99, False)


def test_a_peer_that_was_blocked_may_answer_every_call_that_was_given_up() -> None:
    memory = ResetMemory()
    for stream_id in range(1, 100_001, 2):
        memory.add(stream_id, 1 << 10)
    assert all(memory.explains_data(1, 1 << 10, False) for _ in range(50_000 - RESETS_REMEMBERED))
    assert not memory.explains_data(1, 1, False)
    assert sum(memory.explains_section(1, False) for _ in range(100_000)) == 2 * (50_000 - RESETS_REMEMBERED)
