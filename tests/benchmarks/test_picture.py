"""The README's picture is the one that the kept figures make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.picture import costs, draw

ROOT = Path(__file__).parent.parent.parent
KEPT = json.loads((ROOT / "docs" / "figures.json").read_text(encoding="utf-8"))


def test_a_stack_of_both_scenarios_is_drawn_once_in_the_order_of_the_picture() -> None:
    report = {
        "scenarios": [
            {"name": "python-peers", "cpu_us": {"grpclib": [190.0, 200.0, 210.0], "wire-tuned": [9.0]}},
            {"name": "unary-1x100", "cpu_us": {"tonic": [5.0], "nghttpd": [2.0], "wire-tuned": [6.0]}},
            {"name": "sign", "cpu_us": {"tonic": [50.0]}},
        ]
    }
    assert list(costs(report).items()) == [("wire, def", 9.0), ("tonic (Rust)", 5.0), ("grpclib", 200.0)]
    with pytest.raises(ValueError, match="neither"):
        costs({"scenarios": []})


def test_the_picture_in_the_repository_shows_the_figures_in_the_repository(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(KEPT, tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    kept = (ROOT / "docs" / "cpu-per-call.svg").read_text(encoding="utf-8")
    for figure in costs(KEPT).values():
        shown = f"{figure:,.0f} µs" if figure >= 20 else f"{figure:.1f} µs"
        assert f">{shown}</text>" in drawn
        assert f">{shown}</text>" in kept
