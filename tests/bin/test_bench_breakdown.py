"""bin.bench --breakdown says what each layer of its server and of its clients costs, and what it cannot do."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from bin import bench
from tests.bin.programs import ServerProcess
from wire.inspect import LayerCosts
from wire.inspect.sampling import unsupported

pytest.importorskip("hdrh.histogram")
pytestmark = pytest.mark.skipif(unsupported() is not None, reason="layer costs are not measured here")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess("--listen", f"unix:{tmp_path_factory.mktemp('bench')}/s", "--rsa-bits", "none") as server:
        yield server.address


def test_both_engines_of_server_and_client_side_by_side(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["--breakdown", "--duration", "0.8", "--warmup", "0", "--concurrency", "8"]
    assert bench.main([*flags, "--json", str(tmp_path / "costs.json"), "--flamegraph", f"{tmp_path}/f.svg"]) == 0
    breakdown = json.loads((tmp_path / "costs.json").read_text())["breakdown"]
    assert [each["title"] for each in breakdown] == ["server, tuned", "client, tuned", "server, h2", "client, h2"]
    for each in breakdown:
        costs = LayerCosts.from_json(each["costs"])
        assert costs.calls > 0
        assert sum(us for _, us in each["rows"]) == pytest.approx(costs.per_call_us(costs.cpu_s), rel=0.01)
        assert each["cpu_us_per_call"] > 0
    text = capsys.readouterr().out
    assert "engine      tuned, h2\n" in text
    assert "\nserver\nµs a call                                tuned                    h2\n" in text
    assert "\nclient\nµs a call " in text
    svg = ET.parse(tmp_path / "f.svg")
    assert {"server, tuned", "client, h2"} <= {(each.text or "").partition(":")[0] for each in svg.iter() if each.text}


def test_target_is_told_how_its_server_is_measured_and_stacks_may_be_folded(
    capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path
) -> None:
    folded = tmp_path / "stacks"
    flags = ["--breakdown", "--duration", "0.5", "--warmup", "0", "--processes", "2", "--engine", "tuned"]
    assert bench.main([*flags, "--target", target, "--flamegraph", str(folded)]) == 0
    text = capsys.readouterr().out
    assert "server: not started by this; SIGUSR2 has wire's bin.server measure itself\n" in text
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
