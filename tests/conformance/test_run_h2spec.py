"""What `run_h2spec` makes of h2spec's report, and of a machine that cannot build it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import run_h2spec
from tests.conformance.run_h2spec import EXCEPTIONS, Case

(SECTION, EXCUSED), *_ = EXCEPTIONS
REPORT = f"""<?xml version="1.0"?>
<testsuites>
 <testsuite name="3.5" package="http2/3.5">
  <testcase package="http2/3.5" classname="Sends a preface" time="0.1"></testcase>
  <testcase package="http2/3.5" classname="Sends nonsense" time="0.1"><failure>GOAWAY
 expected</failure></testcase>
 </testsuite>
 <testsuite name="5.3.1" package="{SECTION}">
  <testcase package="{SECTION}" classname="{EXCUSED}" time="0.1"><error>Timeout</error></testcase>
  <testcase package="{SECTION}" classname="Sends nothing" time="0.1"><skipped></skipped></testcase>
 </testsuite>
</testsuites>"""


def test_a_report_is_read_case_by_case() -> None:
    assert list(run_h2spec.cases(REPORT)) == [
        Case("http2/3.5", "Sends a preface", None, False),
        Case("http2/3.5", "Sends nonsense", "GOAWAY expected", False),
        Case(SECTION, EXCUSED, "Timeout", False),
        Case(SECTION, "Sends nothing", None, True),
    ]


@pytest.mark.parametrize(("kept", "status"), [(0, 1), (1, 0)])
def test_only_what_is_not_explained_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: int, status: int
) -> None:
    found = [case for case in run_h2spec.cases(REPORT) if case.excuse or kept == 0]
    monkeypatch.setattr("sys.argv", ["run_h2spec", "--engine", "h2"])
    monkeypatch.setattr(run_h2spec, "h2spec", lambda: Path("h2spec"))
    monkeypatch.setattr(run_h2spec, "run", lambda binary, engine: found)
    assert run_h2spec.main() == status
    assert "§5.3.2" in capsys.readouterr().out


def test_a_run_of_no_case_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run_h2spec"])
    monkeypatch.setattr(run_h2spec, "h2spec", lambda: Path("h2spec"))
    monkeypatch.setattr(run_h2spec, "run", lambda binary, engine: [])
    assert run_h2spec.main() == 1


def test_without_go_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["run_h2spec"])
    monkeypatch.setattr(run_h2spec, "_CACHE", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert run_h2spec.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
