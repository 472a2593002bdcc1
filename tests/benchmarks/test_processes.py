"""Subprocesses say where they listen, answer, and explain themselves when they fail."""

from __future__ import annotations

import os

import pytest

from benchmarks.processes import SERVER_CORE, Subprocess, UnavailableError, python


def test_address_is_what_it_says_it_listens_on() -> None:
    code = (
        "import sys; print('noise\\nlistening on ipv4:127.0.0.1:1 now', file=sys.stderr, flush=True); sys.stdin.read()"
    )
    with Subprocess(python("-c", code), SERVER_CORE, ask=True) as process:
        assert process.address() == "127.0.0.1:1"


def test_an_address_is_taken_when_its_line_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; say = sys.stderr.write; say('listening on '); print('{}', flush=True); input(); say('h:1\\n')"
    with Subprocess(python("-c", code), SERVER_CORE, ask=True) as process:
        assert process.popen.stdout is not None
        process.popen.stdout.readline()
        monkeypatch.setattr("benchmarks.processes.time.sleep", lambda _: process.popen.communicate("\n"))
        assert process.address() == "h:1"


def test_what_it_writes_later_stands_behind_what_was_read() -> None:
    code = "import sys; print('listening on h:1', file=sys.stderr, flush=True); input(); sys.exit('the end')"
    with Subprocess(python("-c", code), SERVER_CORE, ask=True) as process:
        assert process.address() == "h:1"
        with pytest.raises(UnavailableError, match="ended early: the end"):
            process.ask()
        assert process.address() == "h:1"


def test_failure_to_start_is_explained_by_its_last_words() -> None:
    code = "import sys; sys.exit('no such thing')"
    with (
        Subprocess(python("-c", code), SERVER_CORE) as process,
        pytest.raises(UnavailableError, match="did not start: no such thing"),
    ):
        process.address()


def test_an_answer_is_a_json_line_for_a_json_line() -> None:
    code = "import json; print(json.dumps({'twice': 2 * json.loads(input())['number']}))"
    with Subprocess(python("-c", code), SERVER_CORE, ask=True) as process:
        assert process.ask(number=21) == {"twice": 42}
        with pytest.raises(UnavailableError, match="ended early"):
            process.ask(number=21)


def test_it_is_pinned_measured_and_stopped() -> None:
    code = "import os; print(sorted(os.sched_getaffinity(0)), flush=True); input()"
    with Subprocess(python("-c", code), SERVER_CORE, ask=True) as process:
        assert process.popen.stdout is not None
        assert process.popen.stdout.readline() == f"[{SERVER_CORE}]\n"
        assert process.cpu_s() > 0
        assert 1 << 20 < process.rss_bytes() <= process.peak_rss_bytes()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
