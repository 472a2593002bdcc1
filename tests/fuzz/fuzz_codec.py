"""Fuzzes the codec, guided by coverage: `python -m tests.fuzz.fuzz_codec CORPUS -max_total_time=60`.

`codec_input` says what must hold and how an input is read. Needs atheris.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

try:
    atheris: Any = import_module("atheris")
except ImportError:
    sys.exit(f"fuzzing needs atheris: {sys.executable} -m pip install atheris")

with atheris.instrument_imports(include=["wire.codec"]):
    from tests.codec.reference import CLASSES
    from tests.fuzz.codec_input import check, seeds
    from wire.codec import codec_for

__all__ = ["check", "main", "seeds"]


def main(arguments: list[str]) -> None:
    """Runs until an invariant breaks or libFuzzer's limits end it; libFuzzer takes the arguments."""
    for message_type in CLASSES.values():  # generated functions are not imported, so each is instrumented by itself
        codec: Any = codec_for(message_type)
        atheris.instrument_func(codec.encode)
        atheris.instrument_func(codec.decode)
    atheris.Setup(arguments, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
