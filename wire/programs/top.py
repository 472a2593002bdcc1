"""The command `top`: what a server's connections and channels are doing, over channelz, as tables that refresh.

On a terminal they fill the screen (with rich, of the extra `client`); anywhere else they are plain text, or JSON lines.
Imports `live_rows`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import Any, Final

import anyio

import wire
from wire.programs import cli
from wire.programs.bench_report import show_time
from wire.programs.live_rows import UNKNOWN, Asker, Rates, Row, Sample, rates_of
from wire.programs.logs import printable

_MOST: Final = 200
_NAME_WIDTH: Final = 15
"""Of the first column, at least: "127.0.0.1:50051" fits."""
_GAP: Final = 2


def add_flags(parser: cli.Parser) -> None:
    add = parser.add_argument
    interval = cli.number(0.1, 3600, unit=" of seconds")
    count = "print so many tables, as plain text; without it 1, or on a terminal a screen that refreshes"
    most = f"show so many connections of a server ({_MOST})"
    add("--interval", type=interval, default=1.0, metavar="S", help="ask so often (1 s)")
    add("--count", type=cli.integer(1, 10**9), metavar="N", help=count)
    add("--most", type=cli.integer(1, 10_000), default=_MOST, metavar="N", help=most)


async def top(channel: wire.Channel, args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Until Ctrl-C, or for `args.count` tables. A server that goes away is waited for."""
    asker = Asker(channel, args.target, options, args.most)
    view = View(args.target, await asker.sample(), {})  # which says by an error why there is nothing to show
    if args.count is None and not args.json and sys.stdout.isatty():
        if find_spec("rich") is not None:
            await _fill_screen(asker, view, args.interval)
            return
        print("top fills the screen with rich; `pip install 'wire-grpc[client]'` brings it", file=sys.stderr)
        args.count = sys.maxsize
    for left in reversed(range(args.count or 1)):
        view = await _refreshed(asker, view, args.interval)
        if view.problem is None:
            sys.stdout.write(f"{json.dumps(view.as_json())}\n" if args.json else view.as_text())
            sys.stdout.flush()
        elif left:
            print(f"{view.headline()}  {printable(str(view.problem))}", file=sys.stderr)
        else:
            raise view.problem


async def _fill_screen(asker: Asker, view: View, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which leaves the terminal as it was, as Ctrl-C does
    console = Console()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(view.as_screen(*console.size), refresh=True)
            view = await _refreshed(asker, view, interval_s)


async def _refreshed(asker: Asker, view: View, interval_s: float) -> View:
    """The next view. While the server is away: what it last said, and why."""
    await anyio.sleep(interval_s)
    try:
        now = await asker.sample()
    except wire.WireError as error:
        return View(view.target, view.sample, {}, error)
    return View(view.target, now, rates_of(view.sample, now))


Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """`rank`: columns of a low one stay where there is little room. `width`: of the widest text that is usual."""

    title: str
    width: int
    rank: int
    show: Callable[[Row, Rates], str]


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if 0 < value < 9.95 else _count(round(value))


def _count(value: float | None) -> str:
    """Three or four digits, in thousands."""
    if value is None:
        return "-"
    for unit in ("", "k", "M", "G", "T"):
        if value < 9.995 and unit:
            return f"{value:.2f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:,.0f}P"


def _bytes(value: float | None) -> str:
    """In powers of 1024: a window of 65535 bytes is 64.0K."""
    if value is None:
        return "-"
    for unit in ("B", "K", "M", "G", "T"):
        if abs(value) < 999.5:
            return f"{value:.0f}{unit}" if unit == "B" or abs(value) >= 99.95 else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:,.0f}P"


def _seconds(value: float | None) -> str:
    return "-" if value is None else show_time(value * 1000).replace(" ", "")


_CALLS: Final = (
    Column("calls/s", 7, 0, lambda row, rates: _rate(rates.calls)),
    Column("err/s", 5, 2, lambda row, rates: _rate(rates.failed)),
    Column("open", 5, 1, lambda row, rates: _count(row.open)),
    Column("calls", 6, 8, lambda row, rates: _count(row.started)),
    Column("errors", 6, 9, lambda row, rates: _count(row.failed)),
)
_CONNECTION: Final = (
    *_CALLS[:-1],
    Column("in/s", 6, 3, lambda row, rates: _bytes(rates.received)),
    Column("out/s", 6, 4, lambda row, rates: _bytes(rates.sent)),
    Column("may send", 8, 5, lambda row, rates: _bytes(row.send_window)),
    Column("may get", 7, 6, lambda row, rates: _bytes(row.receive_window)),
    Column("held", 6, 7, lambda row, rates: _bytes(row.held)),
    Column("trip", 6, 10, lambda row, rates: _seconds(row.round_trip_s)),
    Column("idle", 6, 11, lambda row, rates: _seconds(row.idle_s)),
)
_CHANNEL: Final = (Column("state", 10, 3, lambda row, rates: row.state.lower().replace("_", " ")), *_CALLS)


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column is of names, the others are set to the right."""

    titles: Cells
    rows: list[Cells]
    more: int = 0
    """Rows that there was no room for."""

    def widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.titles, *self.rows, strict=True)]


@dataclass(frozen=True, slots=True)
class View:
    """One sample, and how it is shown. `problem`: why there is none that is newer."""

    target: str
    sample: Sample
    rates: Mapping[int, Rates]
    problem: wire.WireError | None = None

    def headline(self) -> str:
        return f"{self.target}  {datetime.now():%H:%M:%S}"

    def note(self) -> str:
        sample = self.sample
        number = len(sample.connections)
        connections = f"{number}{'+' * sample.more} connection{'s' * (number != 1)}"
        asked = f"{sample.asked} calls of each refresh are top's own"
        return f"{connections}; answers in {show_time(sample.answer_s * 1000)}; {asked}"

    def tables(self, width: int | None = None, height: int | None = None) -> Iterator[Table]:
        """Those that have rows, as wide and, with their titles and what stands around them, as high as there is room
        for; connections with the most calls come first."""
        sample = self.sample
        busy = sorted(sample.connections, key=lambda row: (-self._calls(row), row.number))
        parts = [("server", sample.servers, _CALLS), ("connection from", busy, _CONNECTION)]
        parts.append(("channel to", sample.channels, _CHANNEL))
        shown = [part for part in parts if part[1]]
        left = None if height is None else height - 3 - 2 * len(shown)  # head, problem and note; title and a free line
        for title, rows, columns in shown:
            kept = rows if left is None or len(rows) <= left else rows[: max(1, left - 1)]
            left = None if left is None else max(1, left - len(kept) - (len(kept) < len(rows)))
            yield self._table(title, kept, _fit(columns, width), len(rows) - len(kept))

    def _table(self, title: str, rows: Sequence[Row], columns: Sequence[Column], more: int) -> Table:
        cells = []
        for row in rows:
            rates = self.rates.get(row.number, UNKNOWN)
            cells.append((_short(row.name), *(column.show(row, rates) for column in columns)))
        return Table((title, *(column.title for column in columns)), cells, more)

    def _calls(self, row: Row) -> float:
        return self.rates.get(row.number, UNKNOWN).calls or 0.0

    def as_text(self) -> str:
        lines = [self.headline(), self.note(), ""]
        for table in self.tables():
            widths = table.widths()
            for name, *numbers in (table.titles, *table.rows):
                padded = [f"{text:>{width}}" for text, width in zip(numbers, widths[1:], strict=True)]
                lines.append((" " * _GAP).join([f"{name:<{widths[0]}}", *padded]))
            lines.append("")
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """The rows as they are, with their rates."""

        def shown(rows: Sequence[Row]) -> list[dict[str, Any]]:
            return [{**asdict(row), "per_s": asdict(self.rates[row.number])} for row in rows]

        sample = self.sample
        return {
            "at": datetime.fromtimestamp(time.time()).astimezone().isoformat(timespec="milliseconds"),
            "target": self.target,
            "answer_s": sample.answer_s,
            "asked": sample.asked,
            "more_connections": sample.more,
            "servers": shown(sample.servers),
            "connections": shown(sample.connections),
            "channels": shown(sample.channels),
        }

    def as_screen(self, width: int, height: int) -> Any:
        """For rich, in so many columns and lines."""
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        def line(text: str, style: str) -> Text:
            return Text(text, style=style, no_wrap=True, overflow="ellipsis")

        shown: list[Any] = [line(self.headline(), "bold")]
        shown.append(line(printable(str(self.problem)), "bold red") if self.problem else line(self.note(), "dim"))
        for table in self.tables(width, height):
            drawn = RichTable(box=None, padding=(0, _GAP, 0, 0), expand=False, pad_edge=False, header_style="cyan")
            taken = sum(each + _GAP for each in table.widths()[1:])
            drawn.add_column(Text(table.titles[0]), no_wrap=True, overflow="ellipsis", max_width=width - taken)
            for title in table.titles[1:]:
                drawn.add_column(Text(title), justify="right", no_wrap=True)
            for name, *numbers in table.rows:
                drawn.add_row(Text(name), *map(Text, numbers))
            shown += [Text(""), drawn]
            if table.more:
                shown.append(line(f"{table.more} more", "dim"))
        return Group(*shown)


def _fit(columns: Sequence[Column], width: int | None) -> list[Column]:
    """Those that there is room for beside the names, in their order."""
    if width is None:
        return list(columns)
    kept, left = set[str](), width - _NAME_WIDTH
    for column in sorted(columns, key=lambda each: each.rank):
        needed = max(column.width, len(column.title)) + _GAP
        if needed > left:
            break
        left -= needed
        kept.add(column.title)
    return [column for column in columns if column.title in kept]


def _short(name: str) -> str:
    """An address without what its form says anyway."""
    return ", ".join(each.removeprefix("ipv4:").removeprefix("ipv6:") for each in name.split(", "))
