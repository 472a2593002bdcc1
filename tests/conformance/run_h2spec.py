"""h2spec against both engines: `python -m tests.conformance.run_h2spec [--engine NAME]…`.

Builds h2spec by Go's module client into .cache/ when it is not there, serves `h2spec_server` on a port of its own for
each engine, runs every case, strict ones too, and prints a table. Exits with 0 when what failed is explained in
`EXCEPTIONS`, 1 when something else did, 2 when it could not run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MODULE: Final = "github.com/summerwind/h2spec"
# The newest commit, and the newest one that module proxies are sure to know.
_VERSIONS: Final = ("v0.0.0-20220625142712-af83a65f0b62", "v0.0.0-20200804131034-70ac22940108")
_CACHE: Final = Path(__file__).parents[2] / ".cache" / "h2spec"
_CASE_TIMEOUT_S: Final = 2
_RUN_TIMEOUT_S: Final = 600
_ATTEMPTS: Final = 3

_PRIORITY: Final = "RFC 9113 §5.3.2 withdraws RFC 7540's priorities: the field is read past, a dependency on itself too"
EXCEPTIONS: Final[dict[tuple[str, str], str]] = {
    ("http2/5.3.1", "Sends HEADERS frame that depends on itself"): _PRIORITY,
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): _PRIORITY,
}
"""(section, case) of h2spec, which follows RFC 7540 → why RFC 9113 wants something else."""


class SetupError(Exception):
    """h2spec cannot be had here. The text is for the user."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of h2spec. `failure` is what it expected and saw, None when it passed."""

    section: str
    name: str
    failure: str | None
    skipped: bool

    @property
    def excuse(self) -> str | None:
        return EXCEPTIONS.get((self.section, self.name))


def h2spec() -> Path:
    """The path of the program, built when it is missing."""
    binary = _CACHE / "h2spec"
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        raise SetupError(
            "h2spec is written in Go, and there is no Go here: install it (Debian: golang-go) and try again."
        )
    _CACHE.mkdir(parents=True, exist_ok=True)
    for version in _VERSIONS:
        print(f"building h2spec {version} …", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "go.mod").write_text(f"module build\n\ngo 1.18\n\nrequire {_MODULE} {version}\n")
            built_binary = _CACHE / f"h2spec.{os.getpid()}"  # another name until it is whole
            command = [go, "build", "-mod=mod", "-o", str(built_binary), f"{_MODULE}/cmd/h2spec"]
            built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if built.returncode == 0:
            built_binary.rename(binary)
            return binary
    raise SetupError(f"h2spec could not be built: {' '.join(built.stderr.split()) or 'go gave no reason'}")


@contextmanager
def server(engine: str) -> Iterator[int]:
    """A server of its own process; its port."""
    command = [sys.executable, "-m", "tests.conformance.h2spec_server", engine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port:
            raise SetupError(f"the server with the {engine} engine did not start")
        yield int(port)
        process.stdin.close()  # which ends it


def run(binary: Path, engine: str) -> list[Case]:
    with server(engine) as port, tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [str(binary), "-S", "-p", str(port), "-o", str(_CASE_TIMEOUT_S), "-j", report.name]
        said = ""
        for _ in range(_ATTEMPTS):
            try:
                ran = subprocess.run(command, capture_output=True, check=False, timeout=_RUN_TIMEOUT_S, text=True)
                return list(cases(Path(report.name).read_text()))
            except subprocess.TimeoutExpired:
                said = f"it took more than {_RUN_TIMEOUT_S} s"
                break
            except ET.ParseError:
                # It gives up as a whole where its first connection takes it too long, as on a machine that is busy.
                said = " ".join(f"{ran.stdout} {ran.stderr}".split())[-500:] or f"it ended with status {ran.returncode}"
        raise SetupError(f"h2spec did not come to an end against the {engine} engine: {said}")


def cases(report: str) -> Iterator[Case]:
    """The cases of a JUnit report."""
    for suite in ET.fromstring(report):
        for case in suite.iter("testcase"):
            failure = case.find("failure")
            if failure is None:
                failure = case.find("error")
            text = None if failure is None else " ".join(" ".join(failure.itertext()).split())
            yield Case(
                case.get("package", ""), case.get("classname", ""), text, skipped=case.find("skipped") is not None
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="run_h2spec", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", action="append", choices=["h2", "tuned"], help="default: both")
    engines = parser.parse_args().engine or ["h2", "tuned"]
    try:
        binary = h2spec()
        results = {engine: run(binary, engine) for engine in engines}
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'engine':<8}{'cases':>7}{'passed':>8}{'explained':>11}{'skipped':>9}{'failed':>8}")
    bad = False
    for engine, found in results.items():
        failed = [case for case in found if case.failure is not None]
        explained = [case for case in failed if case.excuse]
        skipped = sum(case.skipped for case in found)
        passed = len(found) - len(failed) - skipped
        unexplained = len(failed) - len(explained)
        print(f"{engine:<8}{len(found):>7}{passed:>8}{len(explained):>11}{skipped:>9}{unexplained:>8}")
        bad = bad or unexplained > 0 or not found
    for engine, found in results.items():
        for case in found:
            if case.failure is not None:
                verdict = (
                    f"explained: {case.excuse}" if case.excuse else f"FAILED, expected and then got: {case.failure}"
                )
                print(f"\n{engine}: {case.section} {case.name}\n    {verdict}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
