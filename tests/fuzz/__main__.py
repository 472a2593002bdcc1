"""Fuzz the engine and the codec, one after the other: `python -m tests.fuzz [--seconds N] [engine|codec]…`.

What is found interesting is kept in .cache/fuzz/ and read again by the next run, beside the seeds and the corpus of
`corpus/`. An input that breaks an invariant is written to .cache/fuzz/, its path printed; `python -m
tests.fuzz.fuzz_NAME FILE` runs it again. Exits with 1 when there was one, with 2 when atheris is missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[1] / ".cache" / "fuzz"
_NAMES = ("engine", "codec")
_LIMITS = ("-max_len=4096", "-timeout=10", "-rss_limit_mb=2048")


def fuzz(name: str, seconds: int) -> int:
    """Exit status of libFuzzer."""
    seeds, found = _CACHE / f"{name}-seeds", _CACHE / name
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(import_module(f"tests.fuzz.fuzz_{name}").seeds()):
        (seeds / str(number)).write_bytes(seed)
    corpora = [str(folder) for folder in (found, seeds, _HERE / "corpus" / name) if folder.is_dir()]
    print(f"fuzzing the {name} for {seconds} s", flush=True)
    program = (sys.executable, "-m", f"tests.fuzz.fuzz_{name}")
    artifacts = f"-artifact_prefix={_CACHE}/{name}-"
    return subprocess.run(
        (*program, *corpora, *_LIMITS, f"-max_total_time={seconds}", artifacts), check=False
    ).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each (default %(default)s)")
    parser.add_argument("names", nargs="*", metavar="engine|codec", help="default: both")
    options = parser.parse_args()
    unknown = set(options.names) - set(_NAMES)
    if unknown:
        parser.error(f"there is nothing called {', '.join(sorted(unknown))} to fuzz")
    if find_spec("atheris") is None:
        print(f"fuzzing needs atheris: {sys.executable} -m pip install atheris", file=sys.stderr)
        return 2
    return max([min(fuzz(name, options.seconds), 1) for name in options.names or _NAMES])


if __name__ == "__main__":
    sys.exit(main())
