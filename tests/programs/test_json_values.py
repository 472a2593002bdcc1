"""JSON values, whole as soon as their lines are, wherever the pieces are cut."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import run
from wire.programs.json_values import JsonError, JsonValues, json_values, pieces_of

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(
    values=st.lists(VALUES, max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    between=st.sampled_from(["\n", " \n\n", "\r\n"]),
    size=st.integers(1, 9),
    plain=st.booleans(),
)
def test_values_come_out_as_they_went_in(
    values: list[Any], indent: int | None, between: str, size: int, plain: bool
) -> None:
    text = between.join(json.dumps(value, indent=indent, ensure_ascii=plain) for value in values).encode()
    taken = JsonValues("it")
    found = [value for at in range(0, len(text), size) for value in taken.feed(text[at : at + size])]
    assert [*found, *taken.end()] == values


def test_several_values_may_stand_on_one_line() -> None:
    assert json_values(b'{"a": 1} {"a": [2]}{}', "it") == [{"a": 1}, {"a": [2]}, {}]


def test_value_is_there_when_its_line_has_ended() -> None:
    values = JsonValues("it")
    assert list(values.feed(b'{"a":')) == []
    assert list(values.feed(b' "}{"}\n{')) == [{"a": "}{"}]
    assert list(values.feed(b"\n}")) == []
    assert list(values.feed(b"\n")) == [{}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}\n{"a": }\n', "it, line 2: Expecting value at column 7"),
        (b'{"a": 1', "it, line 1: Expecting ',' delimiter"),
        (b"{\n}\n{\n\n", "it, line 5: Expecting property name"),
        (b"}\n", "it, line 1: Expecting value at column 1"),
        (b"\n\xff\n", "it, line 2: this is not UTF-8"),
        (b'{"a": 1, "a": 2}', "it, line 1: 'a' stands twice in one object"),
        (b"[" * 100_000, "it, line 1: "),
        (b"hello", "it, line 1: Expecting value"),
    ],
)
def test_errors_say_where(text: bytes, said: str) -> None:
    with pytest.raises(JsonError) as caught:
        json_values(text, "it")
    assert str(caught.value).startswith(said)


def test_regular_files_and_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 200_000)

    async def read(file: Any) -> bytes:
        return b"".join([piece async for piece in pieces_of(file)])

    with (tmp_path / "f").open("rb") as file:
        assert run(read, file) == b"x" * 200_000
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert run(read, file) == b"abc"
