"""`python -m benchmarks [SCENARIO…]`: measure, show progress, print a block a scenario and a table of targets."""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.interpreters import among, interpreter
from benchmarks.measures import Lab
from benchmarks.processes import CORES, UnavailableError
from benchmarks.report import as_json, block, machine, summary
from benchmarks.rounds import Result, measure
from benchmarks.scenarios import SCENARIOS
from wire.programs.cli import INTERRUPTED, Parser, integer, number, run_main


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks", description="Measure this stack beside its peers.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which to run, in this order (default: all)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument("--rounds", type=integer(1, 1000), default=5, help="samples of each contender")
    parser.add_argument("--seconds", type=number(0.1, 600), default=2.0, help="how long one sample takes")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="an interpreter on which wire's servers and clients are measured too, in the same rounds; may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Called with what begins now, `total` times. A bar on a terminal with rich installed; nothing elsewhere."""
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(20), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
            progress = Progress(
                *columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True
            )
            with progress:
                task = progress.add_task("", total=total)
                yield lambda what: progress.update(task, advance=1, description=what)
            return
    yield lambda what: None


def main() -> int:
    args = _parser().parse_args()
    if args.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:<20} {scenario.title}")
        return 0
    unknown = [name for name in args.scenarios if name not in SCENARIOS]
    if unknown:
        _parser().error(f"no scenario is called {unknown[0]!r}: --list shows them")
    chosen = [SCENARIOS[name] for name in args.scenarios] or list(SCENARIOS.values())
    try:
        here, others = interpreter(), [interpreter(path) for path in args.python]
    except UnavailableError as error:
        _parser().error(str(error))
    chosen = [among(scenario, here, others) for scenario in chosen]
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # 1,000 connections at both of their ends

    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['python']}")
    if len(CORES) == 1:
        print("Only one core: server and load share it, so that requests/s are lower than on two.")
    results: list[Result] = []
    lab = Lab(args.seconds)
    interrupted = False
    try:
        with _progress(sum(len(scenario.contenders) for scenario in chosen) * (args.rounds + 1)) as step:
            for scenario in chosen:
                results.append(measure(scenario, lab, args.rounds, step))
                print(f"\n{block(results[-1])}", flush=True)
    except KeyboardInterrupt:
        interrupted = True
    print(f"\n{summary(results)}")
    if args.json:
        args.json.write_text(
            json.dumps(as_json(results, args.rounds, args.seconds), indent=1, ensure_ascii=False) + "\n"
        )
    return INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    run_main(main, "benchmarks")
