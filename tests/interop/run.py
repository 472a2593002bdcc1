"""wire against other people's clients, servers, suites and proxies: `python -m tests.interop.run [--quick]`.

Prints a table, a line for each suite, engine and link, and under it what failed. What a suite needs is built or
installed into .cache/interop the first time; a suite whose programs cannot be had is skipped with a sentence. Exits
with 0 when all that failed is explained in `EXPLAINED`, and 1 when something else did. docs/interop.md says more.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.certificates import make_certificates
from tests.interop import proxies, suites, taps
from tests.interop.suites import LinkName, Result, Setting, Suite
from tests.interop.tools import UnavailableError
from wire.config import EngineName

SUITES: Final[dict[str, tuple[Suite, tuple[LinkName, ...]]]] = {
    "grpc-go client": (suites.grpc_go_client, ("h2c", "tls", "unix")),
    "grpc-go server": (suites.grpc_go_server, ("h2c", "tls", "unix")),
    "grpcio client": (suites.grpcio_client, ("h2c", "tls", "unix")),
    "grpcio server": (suites.grpcio_server, ("h2c", "tls", "unix")),
    "grpc-js client": (suites.grpc_js_client, ("h2c", "tls")),
    "grpc-js server": (suites.grpc_js_server, ("h2c", "tls")),
    "conformance client": (suites.conformance_client, ("h2c",)),
    "conformance server": (suites.conformance_server, ("h2c",)),
    "ghz": (suites.ghz, ("h2c", "tls")),
    "tap": (taps.tap, ("h2c", "tls")),
    "nginx": (proxies.nginx, ("h2c",)),
    "envoy": (proxies.envoy, ("h2c",)),
    "long ghz": (suites.long_ghz, ("h2c",)),
    "long client": (suites.long_client, ("h2c",)),
}
"""Name → suite, and the links to run it over. connectconformance goes over h2c, TLS and mTLS itself."""

_NO_GZIP: Final = "grpc-go's interop server has no gzip installed, and refuses what is compressed, as it should"
_NARROW: Final = (
    "grpc-go 1.34, of which ghz is made, does not widen the window of a stream that it opens while it widens those of "
    "all (http2_client.go, updateFlowControl), and resets it when what SETTINGS granted is used"
)
EXPLAINED: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("grpc-go server", "client_compressed_*"): ("UNIMPLEMENTED: grpc: Decompressor is not installed", _NO_GZIP),
    ("ghz", "*"): (suites.NARROW, _NARROW),
}
"""(suite, case) → what its failure begins with, and why it is none of wire's."""


def explanation(suite: str, result: Result) -> str | None:
    """Why a failure is not wire's; None where nobody has said so."""
    for (name, case), (beginning, why) in EXPLAINED.items():
        if name == suite and fnmatch.fnmatchcase(result.case, case) and (result.failure or "").startswith(beginning):
            return why
    return None


def run_suite(name: str, setting: Setting) -> bool:
    """Run one suite, print its line and what failed; whether all failures are explained."""
    begun = time.monotonic()
    try:
        found = list(SUITES[name][0](setting))
    except UnavailableError as reason:
        print(f"{name:<20}skipped: {reason}", flush=True)
        return True
    except RuntimeError as error:
        found = [Result("all", str(error))]
    failures = [(result, explanation(name, result)) for result in found if result.failure is not None]
    unexplained = sum(why is None for _, why in failures)
    passed = sum(result.count for result in found if result.failure is None)
    print(
        f"{name:<20}{setting.engine:<8}{setting.link:<6}{passed + len(failures):>7}{passed:>8}"
        f"{len(failures) - unexplained:>11}{unexplained:>8}{time.monotonic() - begun:>9.1f}",
        flush=True,
    )
    for result, why in failures:
        verdict = f"explained: {why}" if why else f"FAILED: {result.failure}"
        print(f"    {result.case}: {verdict}", flush=True)
    if name.startswith("long"):
        print("\n".join(f"    {result.case}" for result in found), flush=True)
    return not unexplained


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.interop.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="default: all")
    parser.add_argument("--engine", action="append", choices=["tuned", "h2"], help="default: both")
    parser.add_argument("--link", action="append", choices=["h2c", "tls", "unix"], help="default: all")
    parser.add_argument("--seconds", type=float, default=120, help="of each long run (default: 120)")
    parser.add_argument("--quick", action="store_true", help="without proxies and long runs, and with fewer calls")
    options = parser.parse_args()
    engines: list[EngineName] = options.engine or ["tuned", "h2"]
    links: list[LinkName] = options.link or ["h2c", "tls", "unix"]
    left_out = ("nginx", "envoy", "long ghz", "long client") if options.quick else ()
    chosen = options.suite or [name for name in SUITES if name not in left_out]
    print(f"{'suite':<20}{'engine':<8}{'link':<6}{'cases':>7}{'passed':>8}{'explained':>11}{'failed':>8}{'seconds':>9}")
    good = True
    with TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for name in chosen:
            for engine in engines:
                for link in SUITES[name][1]:
                    if link in links:
                        setting = Setting(engine, link, certificates, options.seconds, options.quick)
                        good = run_suite(name, setting) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
