"""Which connection a call goes to: the choice alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.client.balancer import aggregate, choose, may_eject, share
from wire.client.connectivity import ConnectivityState as State


@dataclass(frozen=True)
class Connection:
    name: str
    can_open: bool = True

    @property
    def engine(self) -> Any:
        return SimpleNamespace(can_open=self.can_open)


def full(name: str) -> Connection:
    return Connection(name, can_open=False)


A, B, C = Connection("a"), Connection("b"), Connection("c")


def chosen(groups: list[list[Connection]], turns: int) -> str:
    return "".join(getattr(choose(groups, turn), "name", "-") for turn in range(turns))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], "----"),
        ([[A]], "aaaa"),
        ([[A], [B], [C]], "abca"),
        ([[A, B]], "abab"),
        ([[A, B], [C]], "acbcacbc"),  # each group has its half
        ([[full("x")], [B]], "bbbb"),
        ([[A], [full("x"), C]], "acac"),
        ([[full("x")], [full("y")]], "----"),
    ],
)
def test_calls_go_round(groups: list[list[Connection]], expected: str) -> None:
    assert chosen(groups, len(expected)) == expected


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=3), max_size=4),
    st.integers(0, 1000),
)
def test_what_has_room_is_found_and_nothing_else_is_chosen(rooms: list[list[bool]], turn: int) -> None:
    groups = [[Connection(f"{i}.{j}", room) for j, room in enumerate(group)] for i, group in enumerate(rooms)]
    found = choose(groups, turn)
    assert (found is not None) == any(any(group) for group in rooms)
    assert found is None or found.can_open


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_groups_have_the_same_share(sizes: list[int]) -> None:
    groups = [[Connection(f"{i}.{j}") for j in range(size)] for i, size in enumerate(sizes)]
    counts = Counter(chosen_of.name[0] for turn in range(12 * len(sizes)) if (chosen_of := choose(groups, turn)))
    assert set(counts.values()) == {12}


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], State.IDLE),
        ([State.IDLE, State.TRANSIENT_FAILURE], State.IDLE),
        ([State.TRANSIENT_FAILURE, State.CONNECTING, State.IDLE], State.CONNECTING),
        ([State.TRANSIENT_FAILURE, State.READY, State.CONNECTING], State.READY),
        ([State.TRANSIENT_FAILURE, State.TRANSIENT_FAILURE], State.TRANSIENT_FAILURE),
    ],
)
def test_one_state_for_many(states: list[State], expected: State) -> None:
    assert aggregate(states) is expected


@pytest.mark.parametrize(
    ("connections", "addresses", "each"), [(1, 1, 1), (1, 3, 1), (4, 2, 2), (4, 3, 2), (5, 1, 5), (6, 3, 2)]
)
def test_addresses_share_the_connections(connections: int, addresses: int, each: int) -> None:
    assert share(connections, addresses) == each


@pytest.mark.parametrize(
    ("ejected", "addresses", "max_share", "may"),
    [
        (0, 2, 0.5, True),
        (1, 2, 0.5, False),
        (0, 1, 0.5, False),
        (0, 1, 1.0, True),
        (2, 10, 0.3, True),
        (0, 3, 0, False),
    ],
)
def test_some_addresses_stay(ejected: int, addresses: int, max_share: float, may: bool) -> None:
    assert may_eject(ejected, addresses, max_share) is may
