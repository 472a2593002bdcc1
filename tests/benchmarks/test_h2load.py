"""What h2load prints is believed only when every request was answered with the bytes that were due."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from benchmarks import h2load
from benchmarks.processes import UnavailableError

LOAD = h2load.Load(1, 100)
PRINTED = """
finished in 1.00s, 1234.50 req/s, 1.00MB/s
requests: {done} total, {done} started, {done} done, {good} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.00MB (1000000) total, 1.00KB (1024) headers (space savings 90.00%), 1.00MB ({data}) data
"""


def printed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def run(command: list[str], **kwargs: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, text, "")

    monkeypatch.setattr(subprocess, "run", run)


def test_warm_up_counts_in_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    printed(monkeypatch, PRINTED.format(done=1000, good=1000, failed=0, data=1300 * 23))
    assert h2load.run("h:1", "/path", b"m", LOAD, 1.0, reply_bytes=18) == h2load.Answered(1234.5, 1300)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (PRINTED.format(done=1000, good=990, failed=10, data=1300 * 23), "10 failed"),
        (PRINTED.format(done=0, good=0, failed=0, data=0), "of 0 requests"),
        (PRINTED.format(done=1000, good=1000, failed=0, data=0), "0.0 bytes a reply instead of 23"),
        ("could not connect", "no result: could not connect"),
        ("", "it said nothing"),
    ],
)
def test_anything_else_is_no_result(monkeypatch: pytest.MonkeyPatch, text: str, complaint: str) -> None:
    printed(monkeypatch, text)
    with pytest.raises(UnavailableError, match=complaint):
        h2load.run("h:1", "/path", b"m", LOAD, 1.0, reply_bytes=18)
