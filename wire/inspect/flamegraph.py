"""A flame graph: stacks as rectangles, as wide as what they cost, with what they call above them.

In: folded stacks, "outermost;…;innermost" → seconds. Out: SVG in one file, in which each rectangle says in full what it
is when it is pointed at; or lines that other programs draw from. Imports `layers`, for their colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from wire.inspect.layers import Layer

_WIDTH: Final = 1200
_ROW: Final = 18
_MARGIN: Final = 10
_TITLE: Final = 30
_NARROWEST: Final = 0.4
_CHARACTER: Final = 6.6
"""Width of one in the font below."""

_STYLE: Final = """\
svg { background: #fff } text { font: 11px monospace; fill: #111 } .title { font-size: 15px }
rect { stroke: #fff; stroke-width: 0.5 } .frame { fill: #e4e0d8 }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c } rect { stroke: #16181c } .frame { fill: #3a3d44 } .frame + text, .title { fill: #eee }
}"""


@dataclass(slots=True)
class _Node:
    name: str
    seconds: float = 0.0
    above: dict[str, _Node] = field(default_factory=dict)


def folded_lines(folded: Mapping[str, float]) -> str:
    """Lines of a stack and its microseconds, as FlameGraph, speedscope and others read them."""
    return "".join(f"{stack} {seconds * 1e6:.0f}\n" for stack, seconds in sorted(folded.items()))


def flame_graph(folded: Mapping[str, float], title: str) -> str:
    """An SVG."""
    root = _Node("all")
    for stack, seconds in sorted(folded.items()):
        node = root
        node.seconds += seconds
        for name in stack.split(";"):
            node = node.above.setdefault(name, _Node(name))
            node.seconds += seconds
    rows = _height(root)
    height = _TITLE + rows * _ROW + _MARGIN
    total_s = root.seconds or 1.0
    shapes = []
    for node, depth, from_s in _nodes(root):
        x, width = _MARGIN + from_s / total_s * (_WIDTH - 2 * _MARGIN), node.seconds / total_s * (_WIDTH - 2 * _MARGIN)
        if width < _NARROWEST:
            continue
        y = _TITLE + (rows - 1 - depth) * _ROW
        shapes.append(
            f"<g><title>{escape(node.name)}: {node.seconds * 1e3:.1f} ms, {node.seconds / total_s:.1%}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW}" rx="1" {_fill(node.name)}/>'
            f"{_label(node.name, x, y, width)}</g>"
        )
    body = "\n".join(shapes)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">
<style>
{_STYLE}
</style>
<text class="title" x="{_MARGIN}" y="20">{escape(title)}</text>
{body}
</svg>
"""


def _height(node: _Node) -> int:
    return 1 + max((_height(each) for each in node.above.values()), default=0)


def _nodes(node: _Node, depth: int = 0, from_s: float = 0.0) -> Iterator[tuple[_Node, int, float]]:
    """Each with its depth, and the seconds to the left of it."""
    yield node, depth, from_s
    for each in sorted(node.above.values(), key=lambda above: -above.seconds):
        yield from _nodes(each, depth + 1, from_s)
        from_s += each.seconds


def _fill(name: str) -> str:
    layers = list(Layer)
    if not name.startswith("[") or name[1:-1] not in layers:
        return 'class="frame"'
    hue = 360 * layers.index(Layer(name[1:-1])) // len(layers)
    return f'fill="hsl({hue} 65% 68%)"'


def _label(name: str, x: float, y: float, width: float) -> str:
    room = int((width - 6) / _CHARACTER)
    if room < 3:
        return ""
    shown = name if len(name) <= room else f"{name[: room - 1]}…"
    return f'<text x="{x + 3:.1f}" y="{y + 13}">{escape(shown)}</text>'
