"""What `make interop` makes of a suite's results."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.interop import run, suites, tools
from tests.interop.suites import Result, Setting


def test_a_failure_is_explained_only_by_its_own_words() -> None:
    refused = 'UNIMPLEMENTED: grpc: Decompressor is not installed for grpc-encoding "gzip"'
    assert run.explanation("grpc-go server", Result("client_compressed_unary", refused)) is not None
    assert run.explanation("grpc-go server", Result("client_compressed_unary", "UNAVAILABLE: gone")) is None
    assert run.explanation("grpc-go server", Result("large_unary", refused)) is None
    assert run.explanation("grpc-js server", Result("client_compressed_unary", refused)) is None


@pytest.mark.parametrize(
    ("lost", "size", "error", "explained"),
    [
        (1, 100_000, suites.UNEXPECTED_EOF, True),
        (3, 1_000_000, suites.UNEXPECTED_EOF, True),
        (4, 100_000, suites.UNEXPECTED_EOF, False),
        (1, 100, suites.UNEXPECTED_EOF, False),
        (1, 100_000, "rpc error: code = Unavailable desc = gone", False),
    ],
)
def test_only_few_long_answers_that_ghz_breaks_off_are_explained(
    lost: int, size: int, error: str, explained: bool
) -> None:
    report = {"statusCodeDistribution": {"OK": 100 - lost, "Internal": lost}, "errorDistribution": {error: lost}}
    made, failure = suites.lost_calls(report, size)
    assert made == 100
    assert f"{lost} of 100 calls were lost" in (failure or "")
    assert (run.explanation("ghz", Result("10 callers", failure)) is not None) is explained


def test_calls_that_ghz_did_not_lose_are_no_failure() -> None:
    assert suites.lost_calls({"statusCodeDistribution": {"OK": 100}, "errorDistribution": {}}, 100) == (100, None)


@pytest.mark.parametrize(("failure", "good"), [(None, True), ("broken", False)])
def test_a_suite_is_good_when_nothing_failed_unexplained(
    failure: str | None,
    good: bool,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(run.SUITES, "ghz", (lambda setting: [Result("a", None, 3), Result("b", failure)], ("h2c",)))
    assert run.run_suite("ghz", Setting("tuned", "h2c", certificates, 1, True)) is good
    said = capsys.readouterr().out.split()
    assert said[:7] == ["ghz", "tuned", "h2c", "4", *(["4", "0", "0"] if good else ["3", "0", "1"])]
    assert ("broken" in said) is not good


def test_a_suite_whose_program_cannot_be_had_is_skipped_with_a_sentence(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tools, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("grpc-go server", "grpc-js client", "ghz", "conformance server"):
        assert run.run_suite(name, Setting("tuned", "h2c", certificates, 1, True))
        assert "skipped: there is no " in capsys.readouterr().out


def test_the_verdicts_of_connectconformance_are_counted(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conformance(*_: Any) -> Any:
        said = "FAILED: Basic/unary/error:\n\tactual error is none\n\nTotal cases: 10\n9 passed, 1 failed\n"
        return subprocess.CompletedProcess([], 1, said, "")

    monkeypatch.setattr(tools, "connectconformance", lambda: "connectconformance")
    monkeypatch.setattr(tools, "run_program", conformance)
    found = list(suites.conformance_client(Setting("tuned", "h2c", certificates, 1, True)))
    assert found == [Result("Basic/unary/error", "actual error is none"), Result("passed", None, 9)]
