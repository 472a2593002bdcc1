"""What is printed stands in columns, however long the names are."""

from __future__ import annotations

from benchmarks.measures import Sampled
from benchmarks.report import block, summary
from benchmarks.rounds import Result
from benchmarks.scenarios import SCENARIOS


def measured(name: str) -> Result:
    scenario = SCENARIOS[name]
    return Result(scenario, {each: [Sampled(10.0, 2.0)] for each in scenario.contenders}, {})


def test_figures_of_a_scenario_are_in_one_column() -> None:
    for name in ("dropin-sync-server", "import"):
        _, *lines = block(measured(name)).splitlines()
        assert len({line.index(" 10 ") for line in lines}) == 1


def test_goals_of_all_scenarios_are_in_one_column() -> None:
    head, _, *lines = summary([measured("dropin-sync-client-threads"), measured("import")]).splitlines()
    assert {line.index("  ≥ " if "≥" in line else "  ≤ ") > head.index("is") for line in lines} == {True}
    assert len({line.rindex("missed") for line in lines if "missed" in line}) == 1


def test_nothing_measured_is_a_table_without_lines() -> None:
    head, rule = summary([]).splitlines()
    assert len(head) == len(rule)
