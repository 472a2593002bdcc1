"""`make demo-vsock`: a signing service in a virtual machine that has no network, called from its host.

    python -m tests.vsock.demo

What is shown is what `bin.server` and `bin.client` say; the virtual machine is a `guest.HybridGuest`.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.vsock import guest, packages

SERVER = ("-m", "bin.server", "--listen", "vsock:any:5000", "--log-level", "debug")
GREETING = 'echo "Linux $(uname -r) is up, Python is starting"'
CALLS = (
    ("echo", "Hello, enclave!"),
    ("public-key", "--key", "ed25519"),
    ("sign", "--key", "ed25519", "--verify", "Pay 10 EUR to Alice."),
    ("sign", "--key", "rsa", "--algorithm", "rsa-pss-sha512", "--verify", "Pay 10 EUR to Alice."),
    ("sign", "--key", "p384", "--algorithm", "ed25519", "A pair that does not fit."),
)
LIMIT_S = 120.0
_DESCRIPTION = """\
Show a signing service in a virtual machine that has no network, called from its host. The first time, what this needs
(QEMU, a kernel, a vsock device) is downloaded and unpacked under .cache/.
"""


def main() -> int:
    argparse.ArgumentParser(prog="tests.vsock.demo", description=_DESCRIPTION).parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # piped into `head`
    say("Preparing a virtual machine (the first time takes a minute: QEMU, a kernel, a vsock device).")
    try:
        packages.prepare()
    except packages.UnavailableError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    began = time.monotonic()
    say("Booting it, emulated in software. It has no disk and no network card, only a vsock. In it runs:")
    print(f"guest$ python {shlex.join(SERVER)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vsock-") as folder:
        try:
            with guest.HybridGuest(Path(folder), f"{GREETING}; {guest.python(*SERVER)}", show) as machine:
                machine.wait_for_line("listening on", LIMIT_S)
                say(f"It serves, {time.monotonic() - began:.0f} s after power-on. Its host, this machine, calls it:")
                for call in CALLS:
                    run_client(f"hvsock://{machine.socket_path}:5000", call)
        except guest.NoVerdictError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    say("The virtual machine is gone, and its keys with it: they never left it.")
    return 0


def run_client(target: str, call: tuple[str, ...]) -> None:
    arguments = ("-m", "bin.client", "--target", target, *call)
    print(f"\nhost$ python {shlex.join(arguments)}", flush=True)
    # One stream for both, so that what goes to standard error stays in its place.
    subprocess.run([sys.executable, *arguments], cwd=packages.ROOT, stderr=subprocess.STDOUT, check=False)


def show(line: str) -> None:
    print(f"guest | {line}", flush=True)


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
