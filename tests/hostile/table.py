"""The table of `docs/security.md`: `python -m tests.hostile.table OUTPUT… [--note TEXT] [--into docs/security.md]`.

In: what `python -m tests.hostile` printed, of as many runs as there are. Out: a line for each module of rows, with the
worst of its rows on all event loops, for each engine: the memory where it came closest to its bound, the longest turn
of the event loop, and the neighbour's p99. Rows that failed are named below it. In the document, it takes the place of
what is between the two marks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.hostile.rig import ROWS
from tests.support import ENGINES, LOOPS

BEGIN, END = "<!-- figures: made by tests.hostile.table -->", "<!-- end of figures -->"
NAME_COLUMNS = 64

_LINE = re.compile(
    r"(?P<name>.{64}) (?P<engine>\w+) +(?P<loop>\w+) +(?P<held>[\d.]+) +(?P<bound>\d+) +(?P<stays>-?[\d.]+)"
    r" +(?P<turn>[\d.]+) +(?P<p99>[\d.]+) +(?P<worst>[\d.]+) +(?P<echoes>\d+) +(?P<rounds>\d+)  (?P<verdict>.*)"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a run's table."""

    name: str
    engine: str
    loop: str
    held_mib: float
    bound_mib: float
    turn_ms: float
    p99_ms: float
    verdict: str


def read(texts: Iterable[str]) -> Iterator[Line]:
    """The lines of runs, the last of each row, engine and loop."""
    found: dict[tuple[str, str, str], Line] = {}
    for text in texts:
        for match in map(_LINE.fullmatch, text.splitlines()):
            if match is not None:
                part = match.groupdict()
                line = Line(
                    part["name"].rstrip(),
                    part["engine"],
                    part["loop"],
                    float(part["held"]),
                    float(part["bound"]),
                    float(part["turn"]),
                    float(part["p99"]),
                    part["verdict"],
                )
                found[line.name, line.engine, line.loop] = line
    yield from found.values()


def modules() -> dict[str, tuple[str, set[str]]]:
    """Module → what its peers do, and the names of its rows as they are printed."""
    found: dict[str, tuple[str, set[str]]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"tests.hostile.{path.stem}")
        title = (module.__doc__ or "").partition("\n")[0].partition(":")[0].partition(";")[0].rstrip(".")
        names = {row.name[:NAME_COLUMNS] for row in ROWS if row.attack.__module__ == module.__name__}
        if names:
            found[path.stem] = (title, names)
    return found


def table(lines: list[Line]) -> str:
    """In Markdown."""
    out = [
        f"| peers (`tests/hostile/`) | rows | MiB held, of those allowed: {'; '.join(ENGINES)} | longest turn, ms "
        "| neighbour's p99, ms |",
        "|---|---|---|---|---|",
    ]
    for stem, (title, names) in modules().items():
        of_module = [line for line in lines if line.name in names]
        cells: list[list[str]] = [[], [], []]
        for engine in ENGINES:
            of_engine = [line for line in of_module if line.engine == engine]
            if of_engine:
                fullest = max(of_engine, key=lambda line: line.held_mib / max(line.bound_mib, 1))
                cells[0].append(f"{fullest.held_mib:.0f} of {fullest.bound_mib:.0f}")
                cells[1].append(f"{max(line.turn_ms for line in of_engine):.0f}")
                cells[2].append(f"{max(line.p99_ms for line in of_engine):.0f}")
        if of_module:
            joined = " | ".join("; ".join(cell) for cell in cells)
            out.append(f"| {title} (`{stem}`) | {len(names)} | {joined} |")
    failed: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.verdict != "ok":
            failed.setdefault((line.name, line.engine), []).append(f"{line.loop}: {line.verdict}")
    loops = ", ".join(loop for loop in LOOPS if any(line.loop == loop for line in lines))
    count = sum(map(len, failed.values()))
    out += [
        "",
        f"{len(lines)} lines, on {loops}: " + (f"{count} were not within bounds." if failed else "all within bounds."),
    ]
    if failed:
        out.append("")
    out += [f"- {name} ({engine}). {'; '.join(said)}" for (name, engine), said in failed.items()]
    return "\n".join(out) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile.table", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("outputs", nargs="+", type=Path, metavar="OUTPUT")
    parser.add_argument("--note", default="", help="how and when it was measured")
    parser.add_argument("--into", type=Path, help="the document")
    options = parser.parse_args()
    text = table(list(read(path.read_text() for path in options.outputs)))
    if options.note:
        text = f"{options.note}\n\n{text}"
    if options.into is None:
        print(text)
        return 0
    document = options.into.read_text(encoding="utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{options.into} has no place for it, between {BEGIN} and {END}")
    options.into.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
