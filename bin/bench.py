"""`python -m bin.bench`: how fast a server of Echo and Crypto answers, or any other, as `wire-bench` measures it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar, Final, TextIO

from bin.client import ALGORITHMS, DEFAULT_ALGORITHM, KEYS
from bin.workloads import Echo, EchoStream, Sign
from proto.crypto.v1 import SignRequest
from proto.echo.v1 import EchoRequest
from wire.programs import bench, cli
from wire.programs.bench_plan import Subject, Target, several
from wire.programs.knob_flags import checked_settings, print_knobs, shown_settings

PROG: Final = "bin.bench"


class Bench(bench.Bench):
    """With methods of Echo and Crypto, and a server that is started when there is no target."""

    prog: ClassVar[str] = PROG
    description: ClassVar[str] = f"{bench.Bench.description}\nWithout --target a server is started for it."
    examples: ClassVar[str] = f"""\
  %(prog)s
  %(prog)s --rate 5000 --duration 30 --connections 4
  %(prog)s --target unix:/run/echo.sock --method sign --key ed25519 --json result.json
{bench.Bench.examples}"""

    def add_flags(self, parser: cli.Parser) -> None:
        add = parser.add_argument_group("Echo and Crypto").add_argument
        add("--method", choices=("echo", "echo-stream", "sign"), help="what to call (echo)")
        add("--key", choices=KEYS, help="type of key to sign with (p256)")
        add("--algorithm", choices=ALGORITHMS, metavar="NAME", help="to sign with; see bin.client sign --help")
        add("--payload-size", type=cli.integer(0, 1 << 30), metavar="B", help="bytes to echo or sign (16)")
        super().add_flags(parser)

    def check(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        if args.call and (args.method or args.key or args.algorithm or args.payload_size is not None):
            parser.error("--method, --key, --algorithm and --payload-size do not go with --call")
        args.method = args.method or "echo"
        if args.method != "sign" and (args.key or args.algorithm):
            parser.error("--key and --algorithm go with --method sign")
        if args.method == "echo-stream" and args.timeout:
            parser.error("--timeout does not go with --method echo-stream, whose calls last as long as the run")
        args.key = args.key or "p256"
        args.payload_size = 16 if args.payload_size is None else args.payload_size
        super().check(parser, args)

    def check_target(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        tls = args.tls or args.tls_ca or args.tls_cert or args.tls_key or args.tls_server_name
        if not args.target and (tls or args.server_pid):
            parser.error("TLS flags and --server-pid need --target: the server started without it speaks no TLS")

    def check_knobs(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """A knob that both have is set on both; those of a server are for the one that is started."""
        own = not args.target
        args.knobs = checked_settings(parser, args, "client", both=own)
        args.server_knobs = checked_settings(parser, args, "server", both=True) if own else {}

    def list_knobs(self, args: argparse.Namespace) -> None:
        if args.json != "-":
            print("Of the client:\n")
        super().list_knobs(args)
        if not args.target and args.json != "-":
            print("\nOf the server that is started without --target:\n")
            print_knobs("server", args.server_knobs)

    def shown_knobs(self, args: argparse.Namespace) -> dict[str, str]:
        server = {"server's": ", ".join(shown_settings("server", args.server_knobs))} if args.server_knobs else {}
        return {**super().shown_knobs(args), **server}

    @contextmanager
    def target(self, args: argparse.Namespace) -> Iterator[Target]:
        """The target, or a server of our own on a free port, stopped at the end."""
        if args.target:
            yield Target(args.target, args.server_pid)
            return
        command = [sys.executable, "-m", "bin.server", "--listen", "127.0.0.1:0", "--log-level", "warn"]
        command += ["--loop", args.loop]
        command += [f"--set={each}" for each in shown_settings("server", args.server_knobs)]
        stack = ExitStack()
        costs_file = None
        if args.breakdown:
            costs_file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "costs"
            command += ["--costs-file", str(costs_file)]
        if args.engine:
            command += ["--engine", args.engine]
        if args.key != "rsa":
            command += ["--rsa-bits", "none"]  # the key that takes longest to make
        # In a session of its own, so that Ctrl-C reaches it only through us.
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith("listening on "):
                    break
                sys.stderr.write(line)
            else:
                raise SystemExit("the server that was started for this has ended")
            threading.Thread(target=_pass_on, args=(process.stderr,), daemon=True).start()
            yield Target(line.removeprefix("listening on ").strip(), process.pid, own=True, costs_file=costs_file)
        finally:
            process.terminate()
            process.wait()
            stack.close()

    def subject(self, args: argparse.Namespace, target: Target) -> Subject:
        if args.call:
            return super().subject(args, target)
        payload = b"x" * args.payload_size
        shown = f"{args.method} of {several(args.payload_size, 'byte')}"
        if args.method == "sign":
            algorithm = args.algorithm or DEFAULT_ALGORITHM[args.key]
            request = SignRequest(key_type=KEYS[args.key], algorithm=ALGORITHMS[algorithm], data=payload)
            return Subject(Sign(request, args.timeout), f"{shown} by {algorithm}")
        if args.method == "echo":
            return Subject(Echo(EchoRequest(payload=payload), args.timeout), shown)
        return Subject(EchoStream(EchoRequest(payload=payload)), shown)


def _pass_on(lines: TextIO) -> None:
    for line in lines:
        sys.stderr.write(line)


main: Final = Bench().main

if __name__ == "__main__":
    cli.run_main(main, PROG)
