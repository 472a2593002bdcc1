"""The README's picture: what a unary call costs a server, in each stack.

    python -m benchmarks unary-1x100 python-peers --json docs/figures.json
    python -m benchmarks.picture docs/figures.json docs/cpu-per-call.svg

Takes the CPU times of those two scenarios from a report of one run, as `python -m benchmarks --json` writes it.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, Final

from wire.programs.cli import Parser, run_main

_LABELS: Final = {
    "wire-tuned": "wire, def",
    "wire-async": "wire, async def",
    "tonic": "tonic (Rust)",
    "grpc-go": "grpc-go",
    "grpcio": "grpcio",
    "grpcio-asyncio": "grpcio, asyncio",
    "grpclib": "grpclib",
}
_OURS: Final = "#2f6fde"
_OTHERS: Final = "#9aa4b2"


def costs(report: dict[str, Any]) -> dict[str, float]:
    """Median microseconds of CPU time a call, by stack, in the order of `_LABELS`. Raises ValueError without any."""
    found: dict[str, float] = {}
    for scenario in report["scenarios"]:
        if scenario["name"] in {"unary-1x100", "python-peers"}:
            for name, samples in scenario["cpu_us"].items():
                found.setdefault(name, statistics.median(samples))
    if not found:
        raise ValueError("the report has neither unary-1x100 nor python-peers")
    return {label: found[name] for name, label in _LABELS.items() if name in found}


def draw(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "wire", "svg.fonttype": "none", "font.size": 10})
    from matplotlib import pyplot

    values = costs(report)
    figure, axes = pyplot.subplots(figsize=(7.6, 0.34 * len(values) + 1.0), facecolor="white")
    bars = axes.barh(
        list(values), list(values.values()), color=[_OURS if "wire" in label else _OTHERS for label in values]
    )
    axes.bar_label(
        bars, [f"{value:,.0f} µs" if value >= 20 else f"{value:.1f} µs" for value in values.values()], padding=4
    )
    axes.invert_yaxis()
    axes.set_xlim(0, max(values.values()) * 1.12)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    about = report["machine"]
    axes.set_title(
        "CPU time of a server for a unary call (16 B, 100 in flight): less is better", loc="left", fontsize=10
    )
    figure.text(
        0.012, 0.02, f"{about['cpu']}, {about['python']}; one core; medians of one run", fontsize=8, color="#667080"
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    parser: argparse.ArgumentParser = Parser("python -m benchmarks.picture", description="Draw the README's picture.")
    parser.add_argument("report", type=Path, help="what `python -m benchmarks --json` wrote")
    parser.add_argument("picture", type=Path, help="the SVG to write")
    args = parser.parse_args()
    try:
        draw(json.loads(args.report.read_text(encoding="utf-8")), args.picture)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"no picture of {args.report}: {error}")
    except ImportError:
        parser.error("matplotlib is not installed (`pip install 'wire-grpc[bench]'` does that)")
    return 0


if __name__ == "__main__":
    run_main(main, "benchmarks")
