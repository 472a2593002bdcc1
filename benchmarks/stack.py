"""What one operation of each hot path costs wire: a unary call on a server and on a client, a message of a stream.

    python -m benchmarks.stack [PATH…]           processor instructions, counted by valgrind (a minute)
    python -m benchmarks.stack --check [PATH…]   the same beside those kept in instructions.json; fails when one has
                                                 grown by more than 3 %, and names the functions that grew
    python -m benchmarks.stack --keep            keeps what is counted now
    python -m benchmarks.stack --time [PATH…]    microseconds, the least of some rounds

Instructions are exact to 0.1 % and depend on nothing but the code, the interpreter's build and the C library, so that a
change of a hundredth is seen on the busiest machine. They are kept for each interpreter by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.counting import Functions, UnavailableError, functions, instructions, interpreter
from benchmarks.paths import IN_FLIGHT, PATHS, run_rounds
from wire.config import EngineName
from wire.programs.cli import Parser, integer, run_main

KEPT: Final = Path(__file__).parent / "instructions.json"
MOST_GROWTH: Final = 0.03

Kept = dict[str, Any]
"""By path: {"instructions": of one operation, "functions": `counting.Functions`}."""


def grown(before: Functions, now: Functions, most: int = 5) -> list[str]:
    """The Python functions that do more in an operation than before, as sentences, the worst first."""

    def work(counts: Functions, name: str) -> float:
        bytecodes, c_calls = counts.get(name, (0.0, 0.0))
        return bytecodes + 5 * c_calls  # a C function costs as much as some bytecodes: this only sorts

    names = sorted(now, key=lambda name: work(before, name) - work(now, name))
    sentences = []
    for name in names[:most]:
        if work(now, name) <= work(before, name) + 0.5:
            break
        bytecodes, c_calls = now[name]
        said = f"{name}: {bytecodes:g} bytecodes, {c_calls:g} C calls"
        sentences.append(said + (f" (were {before[name][0]:g}, {before[name][1]:g})" if name in before else " (new)"))
    return sentences


def compare(name: str, before: Kept, count: float, now: Functions) -> list[str]:
    """Why the path fails, as lines; none when it has not grown too much."""
    if not _grew(before, count):
        return []
    growth = count / before["instructions"] - 1
    lines = [f"{name}: {count:,.0f} instructions, {growth:+.1%} of {before['instructions']:,.0f}"]
    return lines + [f"    {each}" for each in grown(before["functions"], now) or ["no Python function does more"]]


def _grew(before: Kept, count: float) -> bool:
    return bool(count > before["instructions"] * (1 + MOST_GROWTH))


def load(path: Path = KEPT) -> dict[str, Kept]:
    """What is kept, by interpreter."""
    kept: dict[str, Kept] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def save(kept: dict[str, Kept], path: Path = KEPT) -> None:
    """A line for each function, so that a change is read as a diff."""
    text = json.dumps(kept, indent=1, sort_keys=True)
    path.write_text(re.sub(r"\[\s+([\d.]+),\s+([\d.]+)\s+\]", r"[\1, \2]", text) + "\n")


def _count(names: list[str], engine: EngineName, *, check: bool, keep: bool) -> int:
    kept = load()
    mine = kept.setdefault(interpreter(), {})
    failures: list[str] = []
    if check and not mine:
        print(f"No instructions are kept for {interpreter()}: `python -m benchmarks.stack --keep` does that.")
        return 0
    try:
        for name, count in instructions(names, engine):
            before = mine.get(name)
            beside = f"{count / before['instructions'] - 1:+8.1%} of what is kept" if before else ""
            print(f"{name:24} {count:9,.0f} instructions {beside}", flush=True)
            if check and before and _grew(before, count):
                failures += compare(name, before, count, functions(name, engine))
            if keep:
                mine[name] = {"instructions": round(count), "functions": functions(name, engine)}
    except UnavailableError as error:
        print(f"Not counted: {error}")
        return 0
    if keep:
        kept[interpreter()] = {name: count for name, count in mine.items() if name in PATHS}
        save(kept)
    if failures:
        print("\nGrown by more than 3 %:", *failures, sep="\n")
        print("Where that is worth it, `python -m benchmarks.stack --keep` keeps the new figures.")
    return 1 if failures else 0


class _Clock:
    """Measures what happens while it is entered."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.spent_s = time.perf_counter() - started


def _time(names: list[str], engine: EngineName, rounds: int, repeats: int) -> None:
    gc.disable()
    for name in names:
        clock, spent_s = _Clock(), []
        for _ in range(repeats):
            asyncio.run(run_rounds(PATHS[name], engine, 10, rounds, rounds, clock.measuring()))
            spent_s.append(clock.spent_s)
        print(f"{name:24} {min(spent_s) / rounds / IN_FLIGHT * 1e6:7.2f} µs", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.stack", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"which (all): {', '.join(PATHS)}")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="fail when one has grown by more than 3 %%")
    what.add_argument("--keep", action="store_true", help="keep the figures in benchmarks/instructions.json")
    what.add_argument("--time", action="store_true", help="microseconds instead of instructions")
    parser.add_argument("--engine", choices=("tuned", "h2"), default="tuned")
    parser.add_argument("--rounds", type=integer(1, 10**6), default=200, help=f"timed, of {IN_FLIGHT} operations (200)")
    parser.add_argument("--repeats", type=integer(1, 1000), default=5, help="of which the best counts (5)")
    return parser


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    unknown = [name for name in args.paths if name not in PATHS]
    if unknown:
        parser.error(f"no path is called {unknown[0]!r}; there are: {', '.join(PATHS)}")
    if args.engine != "tuned" and (args.check or args.keep):
        parser.error("only the tuned engine's figures are kept")
    names = args.paths or list(PATHS)
    if args.time:
        _time(names, args.engine, args.rounds, args.repeats)
        return 0
    return _count(names, args.engine, check=args.check, keep=args.keep)


if __name__ == "__main__":
    run_main(main, "benchmarks.stack")
