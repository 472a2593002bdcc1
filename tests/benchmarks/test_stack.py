"""A hot path that has grown fails with the functions that grew; every path runs on both engines."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest

from benchmarks import counting, stack
from benchmarks.paths import PATHS, run_rounds
from tests.support import ENGINES
from wire.config import EngineName

BEFORE = {"wire/a.py:f": [100.0, 2.0], "wire/a.py:g": [50.0, 1.0], "wire/a.py:gone": [70.0, 0.0]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PATHS)
def test_every_path_runs(name: str, engine: EngineName) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await run_rounds(PATHS[name], engine, 1, 1, 1, nullcontext())

    asyncio.run(run())


def test_functions_that_grew_are_named_the_worst_first() -> None:
    now = {"wire/a.py:f": [104.0, 2.0], "wire/a.py:g": [50.0, 1.0], "wire/a.py:new": [20.0, 0.0]}
    assert stack.grown(BEFORE, now) == [
        "wire/a.py:new: 20 bytecodes, 0 C calls (new)",
        "wire/a.py:f: 104 bytecodes, 2 C calls (were 100, 2)",
    ]


def test_growth_of_three_percent_is_let_through_and_more_is_not() -> None:
    before = {"instructions": 10_000, "functions": BEFORE}
    assert stack.compare("server-unary", before, 10_300, BEFORE) == []
    assert stack.compare("server-unary", before, 10_400, {**BEFORE, "wire/a.py:g": [50.0, 3.0]}) == [
        "server-unary: 10,400 instructions, +4.0% of 10,000",
        "    wire/a.py:g: 50 bytecodes, 3 C calls (were 50, 1)",
    ]


def test_growth_without_a_python_function_is_said_so() -> None:
    before = {"instructions": 10_000, "functions": BEFORE}
    _, reason = stack.compare("server-unary", before, 20_000, BEFORE)
    assert reason == "    no Python function does more"


def test_what_is_kept_is_read_back_a_line_for_each_function(tmp_path: Path) -> None:
    kept = {"CPython": {"server-unary": {"instructions": 10_000, "functions": BEFORE}}}
    file = tmp_path / "kept.json"
    stack.save(kept, file)
    assert stack.load(file) == kept
    assert '    "wire/a.py:f": [100.0, 2.0],\n' in file.read_text()


def test_functions_of_a_path_are_counted_and_the_same_twice() -> None:
    once, again = (counting.functions("server-unary", "tuned") for _ in range(2))
    handler = [name for name in once if "EchoRequest>:decode" in name]
    assert handler
    assert [once[name] for name in handler] == [again[name] for name in handler]


def test_without_valgrind_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["stack", "server-unary"])
    assert stack.main() == 0
    assert "valgrind" in capsys.readouterr().out
