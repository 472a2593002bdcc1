"""--report is one page that needs nothing beside itself, and that can be read in light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.programs.browser import chromium, look_at
from wire.inspect import LayerCosts
from wire.inspect.layers import Layer
from wire.programs.bench_report import Run, as_json, rounds_as_json
from wire.programs.latency import UNITS_PER_S
from wire.programs.limit import find_limit, limit_as_json, parse_bound
from wire.programs.load import Part, Tally
from wire.programs.measurement import Measured
from wire.programs.shapes import Constant
from wire.programs.sweep import parse_sweep, sweep, sweep_as_json

pytest.importorskip("hdrh.histogram", reason="hdrhistogram is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from wire.programs.html_report import html_report, require_charts


@cache
def measured(calls: int = 5000, *, rate_per_s: float = 5000.0) -> dict[str, Any]:
    """A run of two seconds, with latencies of 80 µs to 800 ms and a few failures."""
    latencies = {round(8e-5 * 10 ** (step / 10) * UNITS_PER_S): max(1, calls >> step) for step in range(40)}
    parts = [
        Part(index / 10, 0.1, {each: -(-count // 20) for each, count in latencies.items()}, Counter(), 0.02)
        for index in range(20)
    ]
    parts[7].errors["UNAVAILABLE"] = 40
    parts[9].answered.clear()
    errors = Counter(UNAVAILABLE=40, DEADLINE_EXCEEDED=2)
    tally = Tally(latencies, errors, 1, 3, latencies, 2.0, 0.4, parts)
    settings = {
        "target": "unix:/run/user/1000/a-folder-with-a-long-name/another-one/that-does-not-break/echo.sock",
        "load": f"{rate_per_s:,.0f} calls/s, at most 1,000 in flight",
        "method": "very.long.package.name.v1.TheService/TheMethodWithALongName, 1 request of 16 bytes",
        "knobs": "http2.stream_window_bytes=1MiB, http2.max_concurrent_streams=1000",
    }
    samples = [(index / 10, index / 50) for index in range(22)]
    measured = Measured([tally], server_cpu_s=0.5, server_samples=samples)
    return as_json(Run(settings=settings, measured=measured, shape=Constant(rate_per_s)))


def breakdown(title: str) -> dict[str, Any]:
    layers = {layer: 4.5e-3 / (index + 0.01) for index, layer in enumerate(Layer)}
    errors = {layer: seconds / 3 for layer, seconds in layers.items()}
    costs = LayerCosts(layers, errors, 1000, 0.5, 0.1, 2.0, 0.1, 1.9, 0.0, {})
    rows = [[str(layer), costs.per_call_us(seconds)] for layer, seconds in layers.items()]
    return {"title": title, "cpu_us_per_call": 480.0, "rows": rows, "costs": costs.as_json()}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    rates = iter(range(1000, 9000, 37))
    run = rounds_as_json([measured()] * 3)
    run["breakdown"] = [breakdown("server, tuned"), breakdown("client, h2")]
    values = "http2.stream_window_bytes=64KiB..8MiB"
    swept = sweep(parse_sweep(values), 3, lambda name, text: {**measured(), "throughput_per_s": float(next(rates))})

    def at_rate(rate_per_s: float) -> dict[str, Any]:
        report = measured()
        slower = {name: value * rate_per_s / 1000 for name, value in report["latency_ms"].items()}
        return {**report, "latency_ms": slower, "errors": {}, "unanswered": 0, "unsent": 0}

    limit = find_limit(parse_bound("p99=300ms"), at_rate)
    reports = {"run": run, "sweep": sweep_as_json(swept), "limit": limit_as_json(limit)}
    return {name: html_report(report) for name, report in reports.items()}


def test_page_needs_nothing_beside_itself(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "<script" not in page
        addresses = set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page))
        assert all(address.startswith("#") for address in addresses), addresses
        assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        ids = re.findall(r'\bid="([^"]+)"', page)
        referred = set(re.findall(r"#([\w-]+)[\")]", page))
        assert all(ids.count(each) == 1 for each in referred)  # what refers to an id means one drawing


def test_page_says_what_was_measured(pages: dict[str, str]) -> None:
    run, swept, limit = (re.sub(r"<[^>]+>", " ", page) for page in pages.values())
    for fact in ("Throughput and errors over time", "CPU time per call", "99.99 %", "UNAVAILABLE", "http2.stream_wi"):
        assert fact in run
    for fact in (
        "3 rounds; the charts are of the middle one",
        "Time by layer: server, tuned",
        "header compression",
        "figures are rough",
    ):
        assert fact in run
    assert "differs from 64KiB by more than the noise" in swept
    assert "The limit is " in limit


def test_text_of_the_measurement_is_text(pages: dict[str, str]) -> None:
    page = html_report({**measured(), "settings": {"method": "<script>alert(1)</script>"}})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_missing_library_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.programs.html_report.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'wire-grpc\[bench\]'"):
        require_charts()


def test_nothing_measured_is_a_page_too() -> None:
    report = as_json(Run(settings={}, measured=Measured([Tally()])))
    assert "calls a second" in html_report(report)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_reads_well_in_a_browser(pages: dict[str, str], tmp_path: Path, dark: bool) -> None:
    chromium()
    looked = look_at(pages, tmp_path, dark=dark)
    assert len(looked) == 6
    assert {name: each["faults"] for name, each in looked.items() if each["faults"]} == {}
    [ground] = {str(each["ground"]) for each in looked.values()}
    light = sum(map(int, re.findall(r"\d+", ground))) > 3 * 128
    assert light != dark
