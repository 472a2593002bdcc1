"""--report: what was measured, as one HTML page that needs nothing beside itself: no script, no font, no network.

In: what the bench writes as JSON, of a run, of rounds, of a sweep or of the search for a limit. Out: a page, light or
dark as its reader's system is. Imports `charts`, `compare` and `confidence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, Final

from wire.inspect import LayerCosts
from wire.programs.bench_report import show_time
from wire.programs.charts import (
    SERIES,
    Line,
    chart,
    colour,
    count_axis,
    draw_lines,
    few_logarithmic_ticks,
    from_zero,
    percentile_axis,
    time_axis,
)
from wire.programs.compare import FIGURES, Figure
from wire.programs.confidence import mean
from wire.programs.latency import UNITS_PER_S
from wire.programs.sweep import NOT_MEASURED

_PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_FEW_BARS: Final = 10
_CURVE_POINTS: Final = 200
_RATE, _CLIENT_CPU, _SERVER_CPU = FIGURES[0], FIGURES[-2], FIGURES[-1]


def require_charts() -> None:
    """End the program with a sentence where the plotting library is missing."""
    if find_spec("matplotlib") is None:
        raise SystemExit("--report needs matplotlib: pip install 'wire-grpc[bench]'")


def html_report(report: dict[str, Any]) -> str:
    """The page of a report."""
    style = (files(__package__) / "report.css").read_text(encoding="utf-8")
    title = _title(report)
    body = "".join(_body(report))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}</main>\n</body>\n</html>\n"
    )


def _title(report: dict[str, Any]) -> str:
    method = report.get("settings", {}).get("method", "")
    if "sweep" in report:
        return f"{report['sweep']['knob']}: {method}"
    if "limit" in report:
        [(percentile, most_ms)] = report["limit"]["bound"].items()
        return f"Most calls a second with {percentile} below {show_time(most_ms)}: {method}"
    return method or "Measurement"


def _body(report: dict[str, Any]) -> Iterator[str]:
    if report.get("began"):
        began = report["began"].replace("T", " ").replace("+00:00", " UTC")
        yield f'<p class="when">{escape(began)}</p>'
    if report.get("interrupted"):
        yield '<p class="bad">Interrupted: these are the figures until then.</p>'
    if "latency_ms" in report:
        yield _tiles(report)
    charts: list[str] = []
    tables: list[str] = []
    if "sweep" in report:
        charts, tables = _sweep(report["sweep"])
    if "limit" in report:
        charts, tables = _limit(report["limit"])
    if "latency_ms" in report:
        charts += _run_charts(report)
        tables += _run_tables(report)
    for each in report.get("breakdown", ()):
        charts.append(_breakdown_chart(each))
        tables.append(_breakdown_table(each))
    facts = [_pairs("Settings", report.get("settings", {})), _pairs("Machine", report.get("machine", {}))]
    yield f'<div class="grid">{"".join(charts)}</div>'
    yield f'<div class="columns">{"".join([*tables, *facts])}</div>'


def _tiles(report: dict[str, Any]) -> str:
    latency = report["latency_ms"]
    failed = sum(report["errors"].values()) + report["unanswered"] + report["unsent"]
    facts = [("calls a second", f"{report['throughput_per_s']:,.0f}")]
    facts += [(name, show_time(latency[name])) for name in ("p50", "p99", "p99.9", "max") if name in latency]
    facts.append(("calls that failed", f"{failed:,}"))
    for side in ("client", "server"):
        used_us = report.get(f"{side}_cpu_us_per_call")
        if used_us is not None:
            facts.append((f"{side} CPU a call", f"{used_us:.1f} µs"))
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="tiles">{tiles}</dl>'


def _run_charts(report: dict[str, Any]) -> Iterator[str]:
    parts = report.get("parts", [])
    if len(parts) > 1:
        yield _rate_chart(parts)
    if len(parts) > 1 and any(part["latency_ms"] for part in parts):
        yield _latency_chart(parts)
    if report["latency_ms"]:
        yield _percentile_chart(report["histogram"])
    if len(parts) > 1:
        yield from _cpu_chart(parts)


def _run_tables(report: dict[str, Any]) -> Iterator[str]:
    yield _latency_table(report)
    if report["errors"] or report["unanswered"] or report["unsent"]:
        yield _failures(report)
    if "rounds" in report:
        yield _rounds(report["rounds"])


def _times(parts: Sequence[dict[str, Any]]) -> list[float]:
    return [part["at_s"] + part["seconds"] / 2 for part in parts]


def _rate_chart(parts: Sequence[dict[str, Any]]) -> str:
    x = _times(parts)
    lines = [Line("answered", x, [part["throughput_per_s"] for part in parts], SERIES[0])]
    if any(part.get("due_per_s") is not None for part in parts):
        lines.append(Line("due", x, [part.get("due_per_s") or 0.0 for part in parts], SERIES[2], dashed=True))
    failed = [sum(part["errors"].values()) / part["seconds"] for part in parts]
    if any(failed):
        lines.append(Line("failed", x, failed, "--bad"))

    def draw(axes: Any, narrow: bool) -> None:
        draw_lines(axes, lines, x_label="seconds", y_label="calls a second", narrow=narrow)
        from_zero(axes, [value for line in lines for value in line.y])
        count_axis(axes.yaxis)

    return chart("Throughput and errors over time", draw)


def _latency_chart(parts: Sequence[dict[str, Any]]) -> str:
    answered = [part for part in parts if part["latency_ms"]]
    x = _times(answered)
    names = ("p50", "p90", "p99", "max")
    lines = [
        Line(name, x, [part["latency_ms"][name] for part in answered], series)
        for name, series in zip(names, SERIES, strict=True)
    ]

    def draw(axes: Any, narrow: bool) -> None:
        draw_lines(axes, lines, x_label="seconds", y_label="latency", narrow=narrow)
        time_axis(axes, [value for line in lines for value in line.y])

    return chart("Latency over time", draw)


def _percentile_chart(encoded: str) -> str:
    from math import log10

    histogram = _decoded(encoded)
    deepest = max(1.0, log10(max(10, histogram.get_total_count())))
    depths = [deepest * index / _CURVE_POINTS for index in range(_CURVE_POINTS + 1)]
    values = _percentiles_ms(histogram, [100 - 100 / 10**depth for depth in depths])

    def draw(axes: Any, narrow: bool) -> None:
        axes.plot(depths, values, color=colour(SERIES[0]), drawstyle="steps-post")
        axes.set_xlabel("share of the calls that took no longer")
        axes.set_ylabel("latency")
        percentile_axis(axes, deepest, narrow=narrow)
        time_axis(axes, values)

    return chart("Latency by percentile", draw)


def _cpu_chart(parts: Sequence[dict[str, Any]]) -> Iterator[str]:
    lines = []
    for figure, series in ((_CLIENT_CPU, SERIES[0]), (_SERVER_CPU, SERIES[1])):
        found = [(x, value) for x, part in zip(_times(parts), parts, strict=True) if (value := figure.of(part))]
        if found:
            x, y = zip(*found, strict=True)
            lines.append(Line(figure.name.removesuffix(" CPU"), x, y, series))
    if not lines:
        return

    def draw(axes: Any, narrow: bool) -> None:
        draw_lines(axes, lines, x_label="seconds", y_label="µs a call", narrow=narrow)
        from_zero(axes, [value for line in lines for value in line.y])
        count_axis(axes.yaxis)

    yield chart("CPU time per call", draw)


def _latency_table(report: dict[str, Any]) -> str:
    rows = []
    if report["latency_ms"]:
        values_ms = _percentiles_ms(_decoded(report["histogram"]), _PERCENTILES)
        rows = [[f"{each:g} %", show_time(ms)] for each, ms in zip(_PERCENTILES, values_ms, strict=True)]
        rows += [["all", show_time(report["latency_ms"]["max"])], ["mean", show_time(report["latency_ms"]["mean"])]]
    late = report["lateness_ms"]
    note = "Counted from when a call was due." if late else "Counted from when a call was sent."
    if late:
        note += f" The load sent calls {show_time(late['p99'])} late at p99, which is part of the latencies."
    return _table("Latency", ["share of the calls", "within"], rows, note=note)


def _failures(report: dict[str, Any]) -> str:
    rows = [[code, f"{count:,}"] for code, count in sorted(report["errors"].items(), key=lambda each: -each[1])]
    if report["unanswered"]:
        rows.append(["not answered by the end", f"{report['unanswered']:,}"])
    if report["unsent"]:
        rows.append(["due, but not sent", f"{report['unsent']:,}"])
    return _table("Calls that failed", ["gRPC status", "calls"], rows)


def _rounds(rounds: Sequence[dict[str, Any]]) -> str:
    rows = []
    for figure in FIGURES:
        values = [value for each in rounds if (value := figure.of(each)) is not None]
        if len(values) == len(rounds):
            estimate = mean(values)
            low, high = figure.show(max(0.0, estimate.low)), figure.show(estimate.high)
            unit = high.rpartition(" ")[2]
            within = f"{low.removesuffix(f' {unit}')} to {high}"
            rows.append([figure.name, figure.show(estimate.value), within])
    note = f"{len(rounds)} rounds; the charts are of the middle one."
    return _table("Rounds", ["figure", "mean", "95 % confidence"], rows, note=note)


def _breakdown_chart(breakdown: dict[str, Any]) -> str:
    """Of one side: `rows` are layers and their exclusive microseconds a call, in the order in which a call passes
    them."""
    layers = [layer for layer, _ in breakdown["rows"]]
    times_us = [time_us for _, time_us in breakdown["rows"]]

    def draw(axes: Any, narrow: bool) -> None:
        bars = axes.barh(layers, times_us, color=colour(SERIES[0]), height=0.7)
        axes.bar_label(bars, [show_time(time_us / 1000) for time_us in times_us], padding=3, fontsize=8)
        axes.invert_yaxis()  # the first layer is at the top
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.16)
        axes.set_xlabel("µs a call")
        count_axis(axes.xaxis)

    return chart(f"Time by layer: {breakdown['title']}", draw, taller=max(1.0, len(layers) / _FEW_BARS))


def _breakdown_table(breakdown: dict[str, Any]) -> str:
    total_us = sum(time_us for _, time_us in breakdown["rows"])
    errors_us = _errors_us(breakdown)
    rows = [
        [
            layer,
            show_time(time_us / 1000),
            f"±{show_time(errors_us[layer] / 1000)}" if layer in errors_us else "",
            f"{time_us / total_us:.0%}" if total_us else "",
        ]
        for layer, time_us in breakdown["rows"]
    ]
    rows.append(["sum", show_time(total_us / 1000), "", ""])
    notes = []
    if breakdown.get("cpu_us_per_call"):
        measured = show_time(breakdown["cpu_us_per_call"] / 1000)
        notes.append(f"While nothing was sampled, a call took {measured} of CPU time.")
    if "costs" in breakdown and LayerCosts.from_json(breakdown["costs"]).crowded:
        notes.append("Other programs had the CPU for much of the time: these figures are rough.")
    head = ["layer", "a call", "95 %", "share"]
    return _table(f"Time by layer: {breakdown['title']}", head, rows, note=" ".join(notes))


def _errors_us(breakdown: dict[str, Any]) -> dict[str, float]:
    """By layer: half of the 95 % interval of what was sampled, where that is known."""
    if "costs" not in breakdown:
        return {}
    costs = LayerCosts.from_json(breakdown["costs"])
    errors_us = {str(layer): costs.per_call_us(seconds) for layer, seconds in costs.errors_s.items()}
    return {layer: error_us for layer, error_us in errors_us.items() if error_us}


def _limit(limit: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Charts and tables."""
    charts = []
    [(percentile, most_ms)] = limit["bound"].items()
    probes = [probe for probe in limit["probes"] if probe["value_ms"] is not None]
    if probes:
        groups = [("holds", SERIES[3], False), ("does not hold", "--bad", True)]

        def draw(axes: Any, narrow: bool) -> None:
            for label, series, failed in groups:
                points = [(p["rate_per_s"], p["value_ms"]) for p in probes if bool(p["why_not"]) == failed]
                if points:
                    axes.scatter(*zip(*points, strict=True), s=22, color=colour(series), label=label)
            axes.axhline(most_ms, color=colour("--muted"), linestyle="--", linewidth=1)
            axes.set_xscale("log")
            few_logarithmic_ticks(axes.xaxis, [probe["rate_per_s"] for probe in probes])
            count_axis(axes.xaxis)
            axes.set_xlabel("calls a second")
            axes.set_ylabel(percentile)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, handletextpad=0.2)
            time_axis(axes, [most_ms, *(probe["value_ms"] for probe in probes)])

        charts.append(chart("Rates that were tried", draw))
    rows = [
        [
            f"{probe['rate_per_s']:,.0f}",
            "" if probe["value_ms"] is None else show_time(probe["value_ms"]),
            probe["why_not"] or "holds",
        ]
        for probe in limit["probes"]
    ]
    found = limit["rate_per_s"]
    note = "No rate held." if found is None else f"The limit is {found:,.0f} calls a second, to 5 %."
    if limit["load_was_late"]:
        note += " Beyond it the load itself was late: more processes, or a machine of its own, may find more."
    return charts, [_table("Rates that were tried", ["calls a second", percentile, "judged"], rows, note=note)]


def _sweep(sweep: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Charts and tables."""
    values = [each for each in sweep["values"] if each["rounds"]]
    if not values:
        return [], []
    measured = [figure for figure in FIGURES if all(one[figure.name] for each in values for one in each["rounds"])]
    if not measured:
        return [], [f'<section class="card"><p class="bad">{escape(NOT_MEASURED)}</p></section>']
    drawn = [figure for figure in measured if figure.name not in ("p90", "p99.9")]
    charts = [_sweep_chart(figure, sweep["knob"], values) for figure in drawn]
    rows = []
    for each in values:
        row = [each["value"]]
        for figure in measured:
            shown = figure.show(mean([one[figure.name] for one in each["rounds"]]).value)
            against = each["against_first"].get(figure.name)
            if against is not None and not against["low"] <= 1 <= against["high"]:
                shown += f" ({against['ratio'] - 1:+.1%})"
            row.append(shown)
        rows.append(row)
    first = values[0]["value"]
    note = f"Means of {len(values[0]['rounds'])} rounds. In brackets what differs from {first} by more than the noise"
    note += " (95 % confidence for each figure)."
    differs = any("(" in cell for row in rows for cell in row[1:])
    note += "" if differs else f" No value differs from {first} by more than that."
    return charts, [_table("Means", ["value", *(figure.name for figure in measured)], rows, note=note)]


def _sweep_chart(figure: Figure, knob: str, values: Sequence[dict[str, Any]]) -> str:
    estimates = [mean([one[figure.name] for one in each["rounds"]]) for each in values]
    means, places = [each.value for each in estimates], list(range(len(values)))
    low, high = [max(0.0, each.low) for each in estimates], [each.high for each in estimates]

    def draw(axes: Any, narrow: bool) -> None:
        line = Line(figure.name, places, means, SERIES[0], low=low, high=high)
        y_label = "calls a second" if figure.more_is_better else figure.name
        draw_lines(axes, [line], x_label=knob, y_label=y_label, narrow=narrow)
        slanted: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(values) > 5 else {}
        axes.set_xticks(places, [each["value"] for each in values], **slanted)
        if figure.path[0] == "latency_ms":
            time_axis(axes, [max(high)])
        else:
            from_zero(axes, high)
            count_axis(axes.yaxis)

    return chart(f"{figure.name}, with 95 % confidence", draw)


def _decoded(encoded: str) -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram.decode(encoded)


def _percentiles_ms(histogram: Any, percentiles: Sequence[float]) -> list[float]:
    """The latency that each of these percentages of the calls stayed within."""
    values = histogram.get_percentile_to_value_dict(list(percentiles))
    return [values[each] * 1000 / UNITS_PER_S for each in percentiles]


def _pairs(title: str, pairs: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs.items())
    return f'<section class="card"><h2>{escape(title)}</h2><table>{rows}</table></section>'


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, note: str = "") -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + f"<th>{escape(row[0])}</th>" + "".join(f"<td>{_whole(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    shown = f'<p class="note">{_whole(note)}</p>' if note else ""
    table = f'<table class="numbers"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    return f'<section class="card"><h2>{escape(title)}</h2>{shown}<div class="scroll">{table}</div></section>'


def _whole(text: str) -> str:
    """As HTML in which no number parts from its unit at the end of a line."""
    return re.sub(r"(?<=\d) (?=(?:[µm]?s|calls/s)\b)", "\N{NO-BREAK SPACE}", escape(text))
