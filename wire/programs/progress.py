"""A bar on a terminal while something is measured. Needs rich, of the extra `bench`; without it nothing is shown."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wire.programs.measurement import Show


@contextmanager
def progress(requests: int | None, duration_s: float | None) -> Iterator[Show]:
    """Moves a bar, where there is a terminal and rich; else nothing is shown."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda elapsed_s, ended: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    text = TextColumn("{task.description}")
    with Progress(BarColumn(20), text, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("warming up", total=requests or duration_s)

        def show(elapsed_s: float, ended: int) -> None:
            if elapsed_s > 0:
                rate = f"{ended / elapsed_s:,.0f} calls/s"
                progress.update(task, completed=ended if requests else elapsed_s, description=rate)

        yield show
