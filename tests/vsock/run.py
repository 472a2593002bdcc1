"""`make test-vsock`: boots guests, runs the test suites in them, and says what passed.

    python -m tests.vsock.run [SUITE ...] [--select EXPRESSION]

Exit status 0: all passed, or the machine cannot run guests and one sentence says why. 1: something failed.
JUnit reports are left in `.cache/vsock/results/`.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
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
    "loopback": Suite("guest_loopback", guest.LOOPBACK, 200),
    "nested": Suite("guest_nested", guest.OUTER, 300),
    "hybrid": Suite("guest_hybrid", None, 100),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.vsock.run", description="Test AF_VSOCK inside virtual machines.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all without it")
    parser.add_argument("--select", metavar="EXPRESSION", default="", help="run tests that match, as pytest's -k")
    args = parser.parse_args()
    names = args.suites or list(SUITES)
    if unknown := set(names) - set(SUITES):
        parser.error(f"there is no suite called {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that guests are stopped
    try:
        packages.prepare(hybrid="hybrid" in names)
    except packages.UnavailableError as error:
        print(f"vsock: tests skipped: {error}")
        return 0
    RESULTS.mkdir(exist_ok=True)
    failed = [name for name in names if not run(name, SUITES[name], args.select)]
    print(f"vsock: {'FAILED: ' + ', '.join(failed) if failed else 'all suites passed'}")
    return 1 if failed else 0


def run(name: str, suite: Suite, expression: str) -> bool:
    """Whether the suite passed. A guest that gives no verdict is replaced once."""
    began = time.monotonic()
    for attempt in (1, 2):
        print(f"vsock: suite {name}", flush=True)
        try:
            status = _run_in_guest(name, suite, expression) if suite.machine else _run_here(name, suite, expression)
        except guest.NoVerdictError as error:
            print(f"vsock: suite {name}, attempt {attempt}: {error}", flush=True)
        else:
            passed = status in {0, 5} if expression else status == 0  # 5: nothing was selected
            verdict = "passed" if passed else f"failed (status {status})"
            print(f"vsock: suite {name} {verdict} in {time.monotonic() - began:.0f} s", flush=True)
            return passed
    return False


def _run_in_guest(name: str, suite: Suite, expression: str) -> int:
    assert suite.machine is not None
    command = guest.python(*_pytest(suite, Path(image.SHARE, "junit.xml"), expression))
    with guest.Guest(suite.machine, f"{_LEAN} {command}", lambda line: print(line, flush=True)) as machine:
        status = machine.wait(suite.limit_s)
        shutil.copy(machine.share / "junit.xml", RESULTS / f"{name}.xml")
        return status


def _run_here(name: str, suite: Suite, expression: str) -> int:
    command = ["env", _LEAN, sys.executable, *_pytest(suite, RESULTS / f"{name}.xml", expression)]
    try:
        return subprocess.run(command, cwd=packages.ROOT, timeout=suite.limit_s, check=False).returncode
    except subprocess.TimeoutExpired:
        raise guest.NoVerdictError(f"it did not end within {suite.limit_s} s") from None


def _pytest(suite: Suite, report: Path, expression: str) -> list[str]:
    """Arguments of the interpreter."""
    options = ["-o", "addopts=", "-v", "--tb=short", "-p", "no:cacheprovider", "--durations=5"]
    chosen = ["-k", expression] if expression else []
    return ["-m", "pytest", *options, *chosen, f"--junitxml={report}", f"tests/vsock/{suite.module}.py"]


if __name__ == "__main__":
    sys.exit(main())
