"""`wire.process`."""

import gc
import subprocess
import sys

import pytest

from tests.support import LOOPS
from wire.process import tune_process


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this interpreter has no gc.freeze")
def test_what_exists_is_no_longer_looked_at_by_the_collector() -> None:
    gc.unfreeze()  # what another test may have left
    try:
        tune_process(switch_interval_s=None)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.freeze()  # as conftest.py has left it


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this interpreter's collector has no thresholds")
@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (50_000, 50_000), (0, 0)])
def test_the_collector_looks_for_cycles_less_often_and_where_it_is_off_not_at_all(before: int, after: int) -> None:
    thresholds = gc.get_threshold()
    try:
        gc.set_threshold(before, 7, 8)
        tune_process(switch_interval_s=None)
        assert gc.get_threshold()[:2] == (after, 7)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.freeze()


@pytest.mark.parametrize("interval_s", [0.002, None])
def test_threads_take_turns_as_often_as_is_said(interval_s: float | None) -> None:
    before = sys.getswitchinterval()
    try:
        tune_process(switch_interval_s=interval_s)
        assert sys.getswitchinterval() == pytest.approx(interval_s or before)
    finally:
        sys.setswitchinterval(before)
        if hasattr(gc, "unfreeze"):
            gc.unfreeze()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_a_program_starts_without_its_standard_descriptors(loop: str, closed: str) -> None:
    code = (
        "import os, sys, wire\n"
        "async def main():\n"
        "    async with wire.Server([]) as server:\n"
        "        await server.listen('127.0.0.1:0')\n"
        "    print('out'); print('err', file=sys.stderr); sys.stdin.read(0)\n"
        "    assert all(os.fstat(number) for number in range(3))\n"
        f"wire.run(main, loop={loop!r})"
    )
    redirections = " ".join(f"{number}>&-" for number in closed.split())
    run = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0
    assert run.stdout == (b"" if "1" in closed else b"out\n")


def test_a_program_goes_on_with_large_buffers_after_it() -> None:
    code = "import wire; wire.tune_process(keep_free_bytes=1 << 40)\nprint(sum(len(bytes(1 << 20)) for _ in range(50)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == str(50 << 20)
