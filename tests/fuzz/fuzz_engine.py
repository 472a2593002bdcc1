"""Fuzzes the tuned engine, guided by coverage: `python -m tests.fuzz.fuzz_engine CORPUS -max_total_time=60`.

`engine_input` says what must hold and how an input is read. Needs atheris.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

try:
    atheris: Any = import_module("atheris")
except ImportError:
    sys.exit(f"fuzzing needs atheris: {sys.executable} -m pip install atheris")

with atheris.instrument_imports(include=["wire"]):
    from tests.fuzz.engine_input import check, sessions
    from wire.http2.engines import engine_factory

    for name in ("tuned", "h2"):
        engine_factory(name)  # imports it; at its first use, nothing would be instrumented any more

seeds = sessions


def main(arguments: list[str]) -> None:
    """Runs until an invariant breaks or libFuzzer's limits end it; libFuzzer takes the arguments."""
    atheris.Setup(arguments, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
