"""Layer costs for people: a table, a column for each of what is compared. Imports `costs` and `layers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wire.inspect.costs import LayerCosts
from wire.inspect.layers import Layer

_NAME: Final = 24
_CELL: Final = 22

_KERNEL = "kernel read, write, poll"


def as_text(columns: Sequence[tuple[str, LayerCosts]], unmeasured_us: Sequence[float | None] = ()) -> str:
    """Lines of a layer and its microseconds a call in each column; of milliseconds in all where there was no call.

    `unmeasured_us`: by column, CPU time a call while nothing was measured, beside which the sum is put.
    """
    costs = [each for _, each in columns]
    lines = [["µs a call" if all(each.calls for each in costs) else "ms in all", *(name for name, _ in columns)]]
    for layer in Layer:
        if any(layer in each.layers for each in costs):
            lines.append([_KERNEL if layer is Layer.KERNEL else layer, *(_cell(each, layer) for each in costs)])
    lines.append(["sum", *(_number(each, each.sum_s) for each in costs)])
    if any(unmeasured_us):
        cells = (_beside(each, us) for each, us in zip(costs, unmeasured_us, strict=True))
        lines.append(["CPU, not measuring", *cells])
    lines.append(["measuring, taken off", *(_number(each, each.own_s) for each in costs)])
    if any(each.other_threads_s > 0.01 * each.cpu_s for each in costs):
        lines.append(["other threads", *(_number(each, each.other_threads_s) for each in costs)])
    lines.append(["waiting", *(_number(each, each.asleep_s) for each in costs)])
    text = "".join(f"{name:<{_NAME}}{''.join(f'{cell:>{_CELL}}' for cell in cells)}\n" for name, *cells in lines)
    return text + "".join(_remarks(columns))


def _remarks(columns: Sequence[tuple[str, LayerCosts]]) -> Iterator[str]:
    for name, costs in columns:
        if costs.crowded:
            share = costs.delayed_s / costs.wall_s
            yield f"{name}: waited for a CPU {share:.0%} of the time, behind other programs: its figures are rough\n"


def _cell(costs: LayerCosts, layer: Layer) -> str:
    if layer not in costs.layers:
        return "–"
    seconds = costs.layers[layer]
    error = f" ±{_number(costs, costs.errors_s[layer])}" if layer in costs.errors_s else " " * 6
    return f"{_number(costs, seconds)}{error} {seconds / costs.sum_s:4.0%}"


def _beside(costs: LayerCosts, us: float | None) -> str:
    if not us or not costs.calls:
        return "–"
    return f"{us:.2f} (sum {costs.sum_s * 1e6 / costs.calls / us - 1:+.0%})"


def _number(costs: LayerCosts, seconds: float) -> str:
    us = costs.per_call_us(seconds)
    value = seconds * 1e3 if us is None else us
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
