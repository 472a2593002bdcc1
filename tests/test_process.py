"""`wire.process`."""

import gc
import subprocess
import sys

import pytest

from wire.process import tune_process


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this interpreter has no gc.freeze")
def test_what_exists_is_no_longer_looked_at_by_the_collector() -> None:
    frozen = gc.get_freeze_count()
    try:
        tune_process()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_a_program_goes_on_with_large_buffers_after_it() -> None:
    code = "import wire; wire.tune_process(keep_free_bytes=1 << 40)\nprint(sum(len(bytes(1 << 20)) for _ in range(50)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == str(50 << 20)
