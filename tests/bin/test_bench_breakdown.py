"""bin.bench --breakdown says what each layer of its server and of its clients costs, and what it cannot do."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bin import bench
from tests.bin.programs import ServerProcess
from wire.inspect import LayerCosts, Samples, layer_costs
from wire.inspect.sampling import StackFrame, unsupported
from wire.programs.breakdown import Broken, as_json, as_text
from wire.programs.load_process import sampled_times

pytest.importorskip("hdrh.histogram")
pytestmark = pytest.mark.skipif(unsupported() is not None, reason="layer costs are not measured here")

CALLER = (StackFrame("/srv/shop/load.py", 1, "call"),)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess("--listen", f"unix:{tmp_path_factory.mktemp('bench')}/s", "--rsa-bits", "none") as server:
        yield server.address


def test_server_and_client_are_measured_and_the_picture_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--breakdown", "--duration", "1", "--warmup", "0", "--concurrency", "8", "--engine", "tuned"]
    assert bench.main([*flags, "--json", str(tmp_path / "costs.json"), "--flamegraph", f"{tmp_path}/f.svg"]) == 0
    breakdown = json.loads((tmp_path / "costs.json").read_text())["breakdown"]
    assert [each["title"] for each in breakdown] == ["server, tuned", "client, tuned"]
    for each in breakdown:
        costs = LayerCosts.from_json(each["costs"])
        assert sum(us for _, us in each["rows"]) == pytest.approx(costs.per_call_us(costs.cpu_s), rel=0.01)
        assert each["cpu_us_per_call"] > 0
    text = capsys.readouterr().out
    assert text.count("CPU, not measuring") == 2
    svg = ET.parse(tmp_path / "f.svg")
    assert {"server, tuned", "client, tuned"} <= {(each.text or "").partition(":")[0] for each in svg.iter()}


def run_of(engine: str) -> Broken:
    report = {
        "settings": {"method": "echo of 16 bytes", "engine": engine},
        "throughput_per_s": 5000.0,
        "interrupted": False,
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "parts": [
            {
                "at_s": at_s,
                "seconds": 1.0,
                "throughput_per_s": 5000.0,
                "errors": {},
                "client_cpu_us_per_call": 95.0,
                "server_cpu_us_per_call": 190.0 if at_s == 1 else 50.0,
            }
            for at_s in range(10)
        ],
    }
    costs = layer_costs(Samples(Counter({CALLER: 100}), 0.005, 10.0, 0.5, 0.0, 0.0, 0.0, 0.0), 5000)
    return Broken(engine, report, 10.0, costs, costs)


def test_engines_stand_side_by_side_beside_what_calls_cost_when_nothing_is_sampled() -> None:
    runs = [run_of("tuned"), run_of("h2")]
    text = as_text(runs)
    assert "engine      tuned, h2\n" in text
    assert "rate, h2    5,000 calls/s, p50 1 ms, p99 2 ms\n" in text
    server, client = text.split("\nserver\n")[1].split("\nclient\n")
    for table, us in ((server, "50.00 (sum +100%)"), (client, "95.00 (sum +5%)")):
        lines = {line[:24].strip(): line[24:].split() for line in table.splitlines()}
        assert lines["µs a call"] == ["tuned", "h2"]
        assert lines["handler"][:2] == ["100", "±20.0"]
        assert lines["CPU, not measuring"] == us.split() * 2
    breakdown = as_json(runs)["breakdown"]
    assert [each["title"] for each in breakdown] == ["server, tuned", "client, tuned", "server, h2", "client, h2"]
    assert breakdown[0]["rows"] == [["handler", pytest.approx(100)]]


def test_long_runs_end_what_a_server_would_end_by_itself() -> None:
    assert sampled_times(10) == [(1, 2.75), (4, 5.75), (7, 8.75)]
    assert sampled_times(100) == [(10, 19), (40, 49), (70, 79)]


def test_target_is_told_how_its_server_is_measured_and_stacks_may_be_folded(
    capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path
) -> None:
    folded = tmp_path / "stacks"
    flags = ["--breakdown", "--duration", "0.5", "--warmup", "0", "--processes", "2", "--engine", "tuned"]
    assert bench.main([*flags, "--target", target, "--flamegraph", str(folded)]) == 0
    text = capsys.readouterr().out
    assert "server: not started by this; SIGUSR2 has one of wire-server measure itself\n" in text
    assert "h2" not in text
    for line in folded.read_text().splitlines():
        stack, _, us = line.rpartition(" ")
        assert stack.startswith("client, tuned;")
        assert int(us) >= 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--flamegraph", "f.svg"], "--flamegraph goes with --breakdown"),
        (["--breakdown", "--requests", "5"], "--breakdown and --requests do not go together"),
        (["--breakdown", "--rounds", "5"], "--breakdown and --rounds do not go together"),
        (["--breakdown", "--sweep", "engine=h2,tuned"], "--breakdown and --sweep do not go together"),
        (["--breakdown", "--trace"], "--breakdown and --trace do not go together"),
        (["--breakdown", "--flamegraph", "/nowhere/f.svg"], "cannot write '/nowhere/f.svg'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        bench.main(flags)
    assert refused.value.code == 2
    shown = capsys.readouterr().err
    assert complaint in shown
    assert shown.count("\n") == 1


def test_interpreter_that_cannot_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.programs.breakdown.unsupported", lambda: "layer costs need CPython, and this is pypy")
    with pytest.raises(SystemExit):
        bench.main(["--breakdown"])
    assert "layer costs need CPython, and this is pypy" in capsys.readouterr().err


def test_server_of_an_interrupted_run_is_left_out() -> None:
    run = run_of("tuned")
    run.report["interrupted"] = True
    text = as_text([Broken("tuned", run.report, 10.0, run.client, None)])
    assert "\nclient\n" in text
    assert "server" not in text
