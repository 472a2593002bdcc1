"""The full run: `python -m tests.hostile [--seconds N] [--realtime] [--engine E] [--loop L] [WORD…]`.

Each row on both engines and all loops, and a table of what it came to. WORDs choose the rows whose names have one of
them. Exits with 1 when a row failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.hostile.rig import ROWS, Figures, Row
from tests.support import ENGINES, LOOPS
from wire.config import EngineName
from wire.transport.runtime import LoopName


def _chosen(words: list[str]) -> Iterator[Row]:
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        import_module(f"tests.hostile.{module.stem}")
    return (row for row in ROWS if not words or any(word in row.name for word in words))


def line_of(row: Row, engine: EngineName, loop: LoopName, found: Figures) -> str:
    """One line of the table (`table.Line`)."""
    verdict = "; ".join(found.faults) or "ok"
    return (
        f"{row.name:<64.64} {engine:<6} {loop:<8}{found.held_mib:7.1f}{found.bound_mib:7.0f}{found.stays_mib:7.1f}"
        f"{found.turn_ms:9.1f}{found.p99_ms:8.1f}{found.worst_ms:8.1f}{found.echoes:7d}{found.rounds:7d}  {verdict}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line of the table (default %(default)g)")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument(
        "--realtime", action="store_true", help="the server and its neighbour come before all else on the machine"
    )
    parser.add_argument("--loop", choices=LOOPS, action="append")
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    loops = [each for each in options.loop or LOOPS if each != "uvloop" or find_spec("uvloop")]
    print(
        f"{'row':<64} {'engine':<6} {'loop':<8}{'MiB':>7}{'bound':>7}{'stays':>7}{'turn ms':>9}{'p99 ms':>8}"
        f"{'worst':>8}{'echoes':>7}{'rounds':>7}  verdict"
    )
    failed = 0
    for row in _chosen(options.words):
        for engine in options.engine or ENGINES:
            for loop in loops:
                found = row.run(engine, loop, options.seconds, realtime=options.realtime)
                failed += bool(found.faults)
                print(line_of(row, engine, loop, found), flush=True)
    print(f"{failed} of the lines failed" if failed else "all within bounds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
