"""`make test-vsock`: boots guests, runs the test suites in them, and says what passed.

    python -m tests.vsock.run [SUITE ...] [--select EXPRESSION] [--jobs N]

Exit status 0: all passed, or the machine cannot run guests and one sentence says why. 1: something failed.
JUnit reports are left in `.cache/vsock/results/`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.vsock import guest, image, packages

RESULTS = packages.CACHE / "results"

_LEAN = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
"""Importing is what a guest does slowest, so plugins that no suite uses stay out."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A test module and where it runs: in a guest, or on this machine with guests of its own (`machine` None)."""

    module: str
    machine: guest.Machine | None
    limit_s: float
    """Several times what it takes, for a busy machine; a guest that has not ended by then is given up."""


SUITES = {
    "nested": Suite("guest_nested", guest.OUTER, 1200),
    "loopback": Suite("guest_loopback", guest.LOOPBACK, 400),
    "hybrid": Suite("guest_hybrid", None, 500),
}
"""The longest first, so that the others run beside it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.vsock.run", description="Test AF_VSOCK inside virtual machines.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all without it")
    parser.add_argument("--select", metavar="EXPRESSION", default="", help="run the tests that match, as pytest's -k")
    parser.add_argument("--jobs", type=int, metavar="N", default=min(2, os.cpu_count() or 1), help="suites at a time")
    args = parser.parse_args()
    names = args.suites or list(SUITES)
    if unknown := set(names) - set(SUITES):
        parser.error(f"there is no suite called {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        packages.prepare(hybrid="hybrid" in names)
    except packages.UnavailableError as error:
        print(f"vsock: tests skipped: {error}")
        return 0
    RESULTS.mkdir(exist_ok=True)
    failed = run_all(names, args.select, max(1, args.jobs))
    print(f"vsock: {'FAILED: ' + ', '.join(failed) if failed else 'all suites passed'}")
    return 1 if failed else 0


def run_all(names: list[str], expression: str, jobs: int) -> list[str]:
    """Run the suites, `jobs` at a time; returns those that failed.

    Guests live no longer than the thread that started them (see `guest.Guest`), nor these threads than the process, so
    that nothing is left behind when it is interrupted.
    """
    waiting = deque(names)
    passed: set[str] = set()

    def work() -> None:
        while waiting:
            name = waiting.popleft()
            if run(name, SUITES[name], expression):
                passed.add(name)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(names)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [name for name in names if name not in passed]


def run(name: str, suite: Suite, expression: str) -> bool:
    """Whether the suite passed. A guest that gives no verdict is replaced once."""
    say = partial(_say, name)
    began = time.monotonic()
    for attempt in ("first", "second"):
        say("started")
        try:
            in_place = _run_here if suite.machine is None else _run_in_guest
            status = in_place(suite, RESULTS / f"{name}.xml", expression, say)
        except guest.NoVerdictError as error:
            say(f"{attempt} attempt: {error}")
        else:
            passed = status == 0 or (status == _NOTHING_SELECTED and bool(expression))
            say(f"{'passed' if passed else f'FAILED (status {status})'} in {time.monotonic() - began:.0f} s")
            return passed
    return False


_NOTHING_SELECTED = 5  # pytest.ExitCode.NO_TESTS_COLLECTED


def _run_in_guest(suite: Suite, report: Path, expression: str, say: Callable[[str], None]) -> int:
    assert suite.machine is not None
    command = guest.python(*_pytest(suite, Path(image.SHARE, "junit.xml"), expression))
    with guest.Guest(suite.machine, f"{_LEAN} {command}", say) as machine:
        status = machine.wait(suite.limit_s)
        if (machine.share / "junit.xml").exists():
            shutil.copy(machine.share / "junit.xml", report)
        return status


def _run_here(suite: Suite, report: Path, expression: str, say: Callable[[str], None]) -> int:
    command = [*guest.WITH_US, "env", _LEAN, sys.executable, "-u", *_pytest(suite, report, expression)]
    with subprocess.Popen(
        command, cwd=packages.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        late = threading.Timer(suite.limit_s, run.kill)
        late.start()
        assert run.stdout is not None
        for line in run.stdout:
            say(line.rstrip("\n"))
        late.cancel()
    if run.returncode < 0:
        raise guest.NoVerdictError(f"it did not end within {suite.limit_s:.0f} s")
    return run.returncode


def _pytest(suite: Suite, report: Path, expression: str) -> list[str]:
    """Arguments of the interpreter."""
    options = ["-o", "addopts=", "-v", "--tb=short", "-p", "no:cacheprovider", "--durations=5"]
    chosen = ["-k", expression] if expression else []
    return ["-m", "pytest", *options, *chosen, f"--junitxml={report}", f"tests/vsock/{suite.module}.py"]


def _say(name: str, line: str) -> None:
    sys.stdout.write(f"{name:8} | {line}\n")  # in one piece, as other suites write too
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
