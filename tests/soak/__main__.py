"""The soak: `python -m tests.soak [--calls N] [--stages N] [--engine E] [--loop L]`.

Two million calls of all kinds, that end in every way, on both engines and all event loops, each in a process of its own
with the garbage collector off. A table of what each held after each stage; exits with 1 when something rose.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec

from tests.soak.program import HEADING, Level, full_stage
from tests.support import ENGINES, LOOPS
from wire.config import EngineName
from wire.transport.runtime import LoopName

_MOST_BLOCKS = 500
"""By how many their number may rise."""


def _soak(engine: EngineName, loop: LoopName, calls: int, stages: int) -> list[str]:
    """Run one, print its table, and return what was wrong."""
    print(f"\n{engine} engine, {loop}\n{HEADING}", flush=True)
    command = [sys.executable, "-m", "tests.soak.program", engine, loop, str(calls), str(stages)]
    levels: list[Level] = []
    outcomes: dict[str, int] = {}
    garbage: dict[str, int] = {}
    errors: dict[str, int] = {}
    blocks = [0, 0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            outcomes = found.get("outcomes", outcomes)
            garbage = found.get("garbage", garbage)
            blocks = found.get("blocks", blocks)
            errors = found.get("errors", errors)
            if "rss_mib" in found:
                levels.append(Level(**found))
                print(levels[-1], flush=True)
    print("; ".join(f"{name} {count:,}" for name, count in outcomes.items()))
    faults = [] if process.returncode == 0 else [f"it ended with {process.returncode}"]
    if len(levels) == stages + 1:
        faults += levels[-1].faults(levels[full_stage(stages)])
    print(f"blocks of memory, after a collection: {blocks[0]:,} then, {blocks[1]:,} at the end")
    if blocks[1] > blocks[0] + _MOST_BLOCKS:
        faults.append("blocks of memory rose")
    faults += [f"{count} of {kind} wait for the collector" for kind, count in garbage.items()]
    faults += [f"{count} times logged: {text}" for text, count in errors.items()]
    print("; ".join(faults) or "flat", flush=True)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=2_000_000, help="of all processes together (default %(default)s)")
    parser.add_argument("--stages", type=int, default=10, help="times that each is measured (default %(default)s)")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--loop", choices=LOOPS, action="append")
    options = parser.parse_args()
    loops = [each for each in options.loop or LOOPS if each == "asyncio" or find_spec(each)]
    engines = options.engine or ENGINES
    calls = options.calls // (len(loops) * len(engines))
    faults = [fault for engine in engines for loop in loops for fault in _soak(engine, loop, calls, options.stages)]
    print(f"\n{len(faults)} things rose" if faults else "\nall flat")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
