"""Charts of a report as SVG that stands inside an HTML page: its colours are the page's, light or dark.

In: numbers. Out: SVG text without a background. Drawn by matplotlib, of the extra `bench`, with colours that stand for
the page's CSS variables. Each chart is drawn twice, for wide and for narrow screens, so that text stays readable on
both.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

SERIES: Final = ("--series-1", "--series-2", "--series-3", "--series-4")
"""CSS variables of lines, in order."""

_VARIABLES: Final = ("--ink", "--muted", "--grid", *SERIES, "--bad")
_STAND_INS: Final = {name: f"#0{index}010{index}" for index, name in enumerate(_VARIABLES, 1)}
_SIZES: Final = {"wide": (7.2, 2.9), "narrow": (3.7, 2.8)}  # inches, of 72 units each

Draw = Callable[[Any, bool], None]
"""Draws on matplotlib axes; told whether the chart is narrow."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `label`, its points, and its colour, a CSS variable. `low` and `high`: an interval around each
    point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def colour(variable: str) -> str:
    """What to tell matplotlib in place of a CSS variable."""
    return _STAND_INS[variable]


def chart(title: str, draw: Draw, *, taller: float = 1.0) -> str:
    """A figure element with both drawings; `title` is its caption, and what screen readers say. `taller`: by so much
    than others."""
    drawings = "".join(_svg(title, size, draw, taller) for size in _SIZES)
    return f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{drawings}</figure>'


def _svg(title: str, size: str, draw: Draw, taller: float) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink, muted, grid = (colour(name) for name in ("--ink", "--muted", "--grid"))
    style: Any = {
        "svg.fonttype": "none",  # text stays text, in the page's font
        "svg.hashsalt": f"{title} {size}",  # ids that no other drawing of the page has
        "font.size": 9,
        "text.color": ink,
        "axes.labelcolor": muted,
        "axes.edgecolor": grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": grid,
        "grid.linewidth": 0.6,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
    }
    with rc_context(style):
        width, height = _SIZES[size]
        figure = Figure(figsize=(width, height * taller), layout="constrained")
        draw(figure.add_subplot(), size == "narrow")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    opening = f'<svg class="{size}" role="img" aria-label="{escape(title, quote=True)}"'
    text = re.sub(r'<svg( [^>]*?)? width="[^"]*"', rf"{opening}\1", text.replace("\n", " "), count=1)
    text = re.sub(r' height="[0-9.]+pt"', "", text, count=1)
    for variable, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, f"var({variable})")
    return text


def draw_lines(axes: Any, lines: Sequence[Line], *, x_label: str, y_label: str, narrow: bool) -> None:
    """Lines over a common axis, with a legend above where there are several."""
    for line in lines:
        few = len(line.x) <= _FEW
        style = {"color": colour(line.colour), "label": line.label, "linestyle": "--" if line.dashed else "-"}
        axes.plot(line.x, line.y, marker="o" if few else "", markersize=3.5, **style)
        if line.low is not None and line.high is not None:
            axes.vlines(line.x, line.low, line.high, color=colour(line.colour), linewidth=1.2)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.margins(x=0.02)
    count_axis(axes.xaxis)
    if len(lines) > 1:
        columns = 2 if narrow else len(lines)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0, handlelength=1.4)


_FEW: Final = 12


def time_axis(axes: Any, values_ms: Sequence[float]) -> None:
    """The y axis as times, logarithmic where they span more than a factor of five."""
    from matplotlib.ticker import FuncFormatter

    from wire.programs.bench_report import show_time

    positive = [value for value in values_ms if value > 0]
    if positive and max(positive) > 5 * min(positive):
        axes.set_yscale("log")
        few_logarithmic_ticks(axes.yaxis, positive)
    else:
        from_zero(axes, values_ms)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show_time(value) if value else "0"))


def from_zero(axes: Any, values: Sequence[float]) -> None:
    """The y axis from 0 to a little above all values."""
    axes.set_ylim(0, _ABOVE * max([*values, 0.0]) or 1.0)


_ABOVE: Final = 1.06


def few_logarithmic_ticks(axis: Any, values: Sequence[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, or at 1 alone where `values` (above 0) span many."""
    from matplotlib.ticker import LogLocator, NullFormatter

    decades = math.log10(max(values) / min(values))
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)))
    axis.set_minor_formatter(NullFormatter())


def count_axis(axis: Any) -> None:
    """An axis of counts and rates, with separators of thousands and no fractions that are not needed."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def percentile_axis(axes: Any, deepest: float, *, narrow: bool) -> None:
    """The x axis as percentiles, at log10(1 / (1 - share)), up to that depth: 2 is 99 %, 3 is 99.9 %."""
    depths = range(0, max(1, math.ceil(deepest)) + 1, 2 if narrow and deepest > 4 else 1)
    axes.set_xticks(list(depths), ["0 %" if not depth else f"{100 - 100 / 10**depth:.10g} %" for depth in depths])
    axes.set_xlim(0, max(1.0, deepest))
