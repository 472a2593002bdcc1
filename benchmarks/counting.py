"""What an operation of a hot path costs, counted rather than timed: the same figures however busy the machine is.

Two counts. `instructions` are the processor's, by valgrind's cachegrind: two runs of different length, whose difference
has neither start nor end in it. Where they grow, `functions` say whose growth that is: the bytecodes that each Python
function runs in an operation and the C functions that it calls, by the interpreter's own tracing. The garbage collector
is off and hashes are fixed, so that only the kernel's way of waking a socket varies: 0.1 % of the instructions.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.paths import IN_FLIGHT, PATHS, run_rounds
from wire.config import EngineName

ROOT: Final = Path(__file__).parent.parent

_WARM_UP: Final = 3  # rounds, after which the interpreter has specialized what it will
_SHORT: Final = 10
_LONG: Final = 20
_TRACED: Final = 2

Functions = dict[str, list[float]]
"""For each Python function, by file and name: bytecodes and calls of C functions, in one operation."""


class UnavailableError(Exception):
    """Instructions cannot be counted here. The text is one sentence that says why."""


def interpreter() -> str:
    """Which interpreter counts: instructions are comparable only between the same builds."""
    build = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{build}, {platform.python_compiler()}, {platform.machine()}"


def instructions(names: list[str], engine: EngineName) -> Iterator[tuple[str, float]]:
    """Processor instructions of an operation on each path, as they come. Raises `UnavailableError`."""
    if sys.implementation.name != "cpython":
        raise UnavailableError(f"{platform.python_implementation()} compiles while it runs: nothing there is exact")
    if shutil.which("valgrind") is None:
        raise UnavailableError("valgrind counts the instructions, and is not installed (Debian: apt install valgrind)")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        totals = [[threads.submit(_total, name, engine, rounds) for rounds in (_SHORT, _LONG)] for name in names]
        for name, (short, long) in zip(names, totals, strict=True):
            yield name, (long.result() - short.result()) / ((_LONG - _SHORT) * IN_FLIGHT)


def _total(name: str, engine: EngineName, rounds: int) -> int:
    """Instructions of a process that runs the path for `rounds`."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "counts")
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={output}"]
        command += [sys.executable, "-m", "benchmarks.counting", name, engine, str(rounds)]
        env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if run.returncode:
            raise UnavailableError(f"{name!r} failed under valgrind: {(run.stderr.strip().splitlines() or ['?'])[-1]}")
        for line in reversed(output.read_text().splitlines()):
            if line.startswith("summary:"):
                return int(line.split()[1])
    raise UnavailableError(f"valgrind counted nothing for {name!r}")


def functions(name: str, engine: EngineName) -> Functions:
    """What each Python function does in an operation on the path. Run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.counting", name, engine, "functions"]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise UnavailableError(f"{name!r} failed while traced: {(run.stderr.strip().splitlines() or ['?'])[-1]}")
    counted: Functions = json.loads(run.stdout)
    return counted


class _Trace:
    """Counts bytecodes and calls of C functions while it is entered as a context manager."""

    def __init__(self) -> None:
        self.bytecodes: Counter[Any] = Counter()
        self.c_calls: Counter[Any] = Counter()

    def _on_event(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        elif event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self._on_event

    def _on_profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            self.c_calls[frame.f_code] += 1

    @contextmanager
    def counting(self) -> Iterator[None]:
        # Generators and coroutines that run already are told when they go on, so only this frame is never seen.
        sys.setprofile(self._on_profile)
        sys.settrace(self._on_event)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)

    def functions(self, operations: int) -> Functions:
        counts: dict[str, list[float]] = {}
        for code, bytecodes in self.bytecodes.items():
            key = f"{_where(code.co_filename)}:{code.co_qualname}"
            if key.startswith("benchmarks/"):
                continue
            count = counts.setdefault(key, [0.0, 0.0])
            count[0] += round(bytecodes / operations, 2)
            count[1] += round(self.c_calls[code] / operations, 2)
        # What happens once in a read or less often is nobody's growth.
        return {key: count for key, count in sorted(counts.items()) if count[0] >= 1}


def _where(filename: str) -> str:
    """The file as a reader names it: from the repository's root, or as the module that is imported."""
    path = Path(filename)
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        return str(path.relative_to(ROOT))
    folders = [Path(each) for each in sys.path if each and path.is_relative_to(each)]
    return str(path.relative_to(max(folders, key=lambda each: len(each.parts)))) if folders else path.name


def _main(name: str, engine: EngineName, what: str) -> None:
    gc.disable()
    if what == "functions":
        trace = _Trace()
        asyncio.run(run_rounds(PATHS[name], engine, _WARM_UP, _TRACED, _TRACED, trace.counting()))
        print(json.dumps(trace.functions(_TRACED * IN_FLIGHT)))
    else:
        asyncio.run(run_rounds(PATHS[name], engine, _WARM_UP, int(what), _LONG, nullcontext()))


if __name__ == "__main__":
    _main(*sys.argv[1:])  # type: ignore[arg-type]
