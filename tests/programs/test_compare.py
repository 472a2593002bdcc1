"""Two runs differ by more than their noise, or they do not."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from wire.errors import ConfigurationError
from wire.programs import compare
from wire.programs.compare import compare as compared


def report(rate: float, *, noise: float = 0.02, seed: int = 1, rounds: bool = False, **settings: str) -> dict[str, Any]:
    generator = random.Random(seed)
    parts = []
    for _ in range(20):
        factor = generator.gauss(1, noise)
        latency = {name: each / factor for name, each in (("p50", 1.0), ("p90", 1.5), ("p99", 2.0), ("p99.9", 3.0))}
        parts.append(
            {"throughput_per_s": rate * factor, "latency_ms": latency, "client_cpu_us_per_call": 10.0 / factor}
        )
    whole = {"throughput_per_s": rate, "latency_ms": {"p50": 1.0, "p90": 1.5, "p99": 2.0, "p99.9": 3.0}}
    kept = {"rounds": parts[:5]} if rounds else {"parts": parts}
    return {**whole, "client_cpu_us_per_call": 10.0, "errors": {}, "settings": settings, "machine": {}, **kept}


def verdicts(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    return {each.figure.name: each.verdict for each in compared(before, after)}


def test_a_difference_beyond_the_noise_is_seen_and_one_within_is_not() -> None:
    found = verdicts(report(1000), report(1100, seed=2))
    assert found["rate"] == "better"
    assert found["p99"] == "no difference to be seen"
    assert verdicts(report(1000), report(900, seed=2))["rate"] == "worse"
    assert verdicts(report(1000), report(1002, seed=2))["rate"] == "no difference to be seen"


def test_figures_that_one_run_lacks_are_left_out() -> None:
    assert "server CPU" not in verdicts(report(1000), report(1000))


def test_text_names_what_was_set_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, one in (("a", report(1000, engine="h2")), ("b", report(900, seed=2, engine="tuned"))):
        (tmp_path / name).write_text(json.dumps(one))
    files = [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert compare.main(files, "bench compare") == 0
    shown = capsys.readouterr().out
    assert "engine      A: h2\n            B: tuned\n" in shown
    assert "worse" in shown
    assert "--rounds shows that" in shown
    assert compare.main([*files, "--fail-above", "5"], "bench compare") == 1
    assert compare.main([*files, "--fail-above", "20"], "bench compare") == 0


def test_rounds_count_more_than_parts() -> None:
    before, after = report(1000, rounds=True), report(1200, seed=2, rounds=True)
    assert verdicts(before, after)["rate"] == "better"
    assert "--rounds" not in compare.as_text(before, after, list(compared(before, after)))


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    for text in ("x", "[]", "{}"):
        (tmp_path / "a").write_text(text)
        with pytest.raises(ConfigurationError, match="is not a report, as --json writes it"):
            compare.main([f"{tmp_path}/a", f"{tmp_path}/a"], "bench compare")
    (tmp_path / "a").write_text(json.dumps({**report(1), "parts": []}))
    with pytest.raises(ConfigurationError, match="too short"):
        compare.main([f"{tmp_path}/a", f"{tmp_path}/a"], "bench compare")


def test_figures_of_rounds_are_those_that_the_ratio_is_of() -> None:
    for each in compared(report(1000, rounds=True), report(1500, seed=2, rounds=True)):
        assert each.after / each.before == pytest.approx(each.ratio.value)
