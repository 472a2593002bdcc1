"""`python -m bin.bench`: how fast a server of Echo and Crypto answers."""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final, TextIO

import wire
from bin.client import ALGORITHMS, DEFAULT_ALGORITHM, KEYS
from bin.workloads import Echo, EchoStream, Sign
from proto.crypto.v1 import SignRequest
from proto.echo.v1 import EchoRequest
from wire.programs import cli
from wire.programs.bench_report import Run, as_json, as_text
from wire.programs.load import Load, Tally
from wire.programs.load_process import Failed, LoadProcess, Plan, Workload
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags
from wire.programs.usage import cpu_s

PROG: Final = "bin.bench"

_CALLERS: Final = 100
_MOST_IN_FLIGHT: Final = 1000
_DURATION_S: Final = 10.0
_START_IN_S: Final = 0.1  # time for every process to hear of it
_REFRESH_S: Final = 0.1

_DESCRIPTION = """\
Call a server as fast as it answers, or with --rate at a fixed rate, and print latencies, throughput and CPU time.
Without --target a server is started for it.
"""
_EPILOG = f"""\
With --rate, latency counts from the time when a request was due, so that a server that stalls cannot hide it; requests
that were due and could not be sent any more are reported. Ctrl-C prints what has been measured so far.
{FILTER_HELP}
examples:
  bin.bench
  bin.bench --rate 5000 --duration 30 --connections 4
  bin.bench --target unix:/run/echo.sock --method sign --key ed25519 --json result.json
"""


@dataclass(frozen=True, slots=True)
class _Server:
    """Whom the load is for, and whose CPU time is counted (None: nobody's)."""

    target: str
    pid: int | None
    own: bool


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments_of(arguments))
    _check(parser, args)
    if importlib.util.find_spec("hdrh") is None:
        raise SystemExit("hdrhistogram is not installed; `pip install 'wire-grpc[bench]'` does that")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        server = stack.enter_context(_server(args))
        processes = []
        for plan in _plans(args, server.target):
            processes.append(LoadProcess(plan))
            stack.callback(processes[-1].close)
        run = _measure(args, server, processes)
    report = as_json(run)
    if args.json != "-":
        print(as_text(report), end="")
    if args.json == "-":
        print(json.dumps(report))
    elif args.json:
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    if run.interrupted:
        return cli.INTERRUPTED
    return 0 if any(tally.answered for tally in run.tallies) else cli.FAILED


def _measure(args: argparse.Namespace, server: _Server, processes: list[LoadProcess]) -> Run:
    """Start the processes together and collect what they tell. Ctrl-C stops them; a second one ends everything."""
    for process in processes:
        if isinstance(report := process.receive(), Failed):
            raise SystemExit(report.reason)
    start_s = time.monotonic() + _START_IN_S
    measuring_s = start_s + args.warmup
    server_cpu_s = None if server.pid is None else cpu_s(server.pid)
    warming_up = args.warmup > 0
    for process in processes:
        process.start(start_s)
    talking = {process.connection: process for process in processes}
    calls = dict.fromkeys(processes, 0)
    tallies: list[Tally] = []
    interrupted = False
    with _progress(args, measuring_s) as show:
        while talking:
            try:
                before_s = measuring_s - time.monotonic()
                if warming_up and before_s <= 0:
                    warming_up = False
                    server_cpu_s = None if server.pid is None else cpu_s(server.pid)
                for ready in wait(list(talking), _REFRESH_S if before_s <= 0 else min(before_s, _REFRESH_S)):
                    process = talking[ready]  # type: ignore[index]
                    match process.receive():
                        case Tally() as tally:
                            tallies.append(tally)
                            del talking[process.connection]
                        case Failed() as failed:
                            raise SystemExit(failed.reason)
                        case int(ended):
                            calls[process] = ended
                show(sum(calls.values()))
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                for process in processes:
                    process.stop()
    used_s = None if server.pid is None or server_cpu_s is None else cpu_s(server.pid) - server_cpu_s
    return Run(settings=_settings(args, server), tallies=tallies, server_cpu_s=used_s, interrupted=interrupted)


def _plans(args: argparse.Namespace, target: str) -> Iterator[Plan]:
    """What each process is to do: its share of connections, callers, rate and requests."""
    tls = None
    if args.tls or args.tls_ca or args.tls_cert or args.tls_server_name:
        tls = wire.ClientTls(args.tls_ca, args.tls_cert, args.tls_key, args.tls_server_name)
    payload = b"x" * args.payload_size
    workload: Workload
    if args.method == "sign":
        algorithm = ALGORITHMS[args.algorithm or DEFAULT_ALGORITHM[args.key]]
        workload = Sign(SignRequest(key_type=KEYS[args.key], algorithm=algorithm, data=payload), args.timeout)
    elif args.method == "echo":
        workload = Echo(EchoRequest(payload=payload), args.timeout)
    else:
        workload = EchoStream(EchoRequest(payload=payload))
    for index in range(args.processes):

        def share(total: int, index: int = index) -> int:
            count: int = args.processes
            return total // count + (index < total % count)

        yield Plan(
            target=target,
            tls=tls,
            engine=args.engine,
            loop=args.loop,
            connections=share(args.connections),
            workload=workload,
            load=Load(
                callers=share(args.concurrency),
                rate_per_s=args.rate and args.rate / args.processes,
                warmup_s=args.warmup,
                duration_s=args.duration or float("inf"),
                requests=args.requests and share(args.requests),
                phase=index / args.processes,
            ),
            trace=trace_flags(args),
        )


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[_Server]:
    """The target, or a server of our own on a free port, stopped at the end."""
    if args.target:
        yield _Server(args.target, args.server_pid, own=False)
        return
    command = [sys.executable, "-m", "bin.server", "--listen", "127.0.0.1:0", "--log-level", "warn"]
    command += ["--engine", args.engine, "--loop", args.loop]
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
        yield _Server(line.removeprefix("listening on ").strip(), process.pid, own=True)
    finally:
        process.terminate()
        process.wait()


def _pass_on(lines: TextIO) -> None:
    for line in lines:
        sys.stderr.write(line)


@contextmanager
def _progress(args: argparse.Namespace, measuring_s: float) -> Iterator[Callable[[int], None]]:
    """Told how many calls have ended, moves a bar, where there is a terminal and rich; else nothing is shown."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda ended: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    text = TextColumn("{task.description}")
    with Progress(BarColumn(20), text, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("warming up", total=args.requests or args.duration)

        def show(ended: int) -> None:
            elapsed_s = time.monotonic() - measuring_s
            if elapsed_s > 0:
                rate = f"{ended / elapsed_s:,.0f} calls/s"
                progress.update(task, completed=ended if args.requests else elapsed_s, description=rate)

        yield show


def _settings(args: argparse.Namespace, server: _Server) -> dict[str, str]:
    def several(count: int, thing: str, things: str) -> str:
        return f"{count:,} {thing}" if count == 1 else f"{count:,} {things}"

    what = f"{args.method} of {several(args.payload_size, 'byte', 'bytes')}"
    if args.method == "sign":
        what += f" by {args.algorithm or DEFAULT_ALGORITHM[args.key]}"
    load = f"{args.rate:g} calls/s, at most" if args.rate else "closed loop,"
    settings = {
        "target": f"{server.target}{' (started for this)' if server.own else ''}",
        "load": f"{load} {args.concurrency:,} in flight",
        "over": several(args.connections, "connection", "connections")
        + f" of {several(args.processes, 'process', 'processes')}",
        "method": what,
        "engine": f"{args.engine}, loop {args.loop}",
    }
    if trace_flags(args) is not None:
        settings["trace"] = "on: what it costs is in the figures"
    return settings


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Fill in what depends on other flags, and refuse what does not go together."""
    tls = args.tls or args.tls_ca or args.tls_cert or args.tls_key or args.tls_server_name
    if not args.target and (tls or args.server_pid):
        parser.error("TLS flags and --server-pid need --target: the server started without it speaks no TLS")
    if (args.tls_cert is None) != (args.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if args.method != "sign" and (args.key or args.algorithm):
        parser.error("--key and --algorithm go with --method sign")
    if args.method == "echo-stream" and args.timeout:
        parser.error("--timeout does not go with --method echo-stream, whose calls last as long as the run")
    args.key = args.key or "p256"
    if args.connections is None:
        args.connections = args.processes
    if args.concurrency is None:
        args.concurrency = max(_MOST_IN_FLIGHT if args.rate else _CALLERS, args.connections)
    if args.requests is None and args.duration is None:
        args.duration = _DURATION_S
    if args.connections < args.processes:
        parser.error(f"--connections must be at least --processes: {args.processes}")
    if args.concurrency < args.connections:
        parser.error(f"--concurrency must be at least --connections: {args.connections}")
    if args.requests and args.requests < args.processes:
        parser.error(f"--requests must be at least --processes: {args.processes}")


def _json_file(text: str) -> str:
    if text != "-":
        cli.writable_file(text)
    return text


def _parser() -> cli.Parser:
    parser = cli.Parser(PROG, description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("--target", type=cli.address, metavar="ADDR", help="where a server listens (one is started)")
    add("--server-pid", type=cli.integer(1, 2**31), metavar="PID", help="count the CPU time of this process as its")
    add("--method", choices=("echo", "echo-stream", "sign"), default="echo", help="what to call (echo)")
    add("--key", choices=KEYS, help="type of key to sign with (p256)")
    add("--algorithm", choices=ALGORITHMS, metavar="NAME", help="to sign with; see bin.client sign --help")
    add("--payload-size", type=cli.integer(0, 1 << 30), default=16, metavar="B", help="bytes to echo or sign (16)")
    add("--timeout", type=cli.seconds, metavar="S", help="deadline of each call (none)")
    load = parser.add_argument_group("load")
    add = load.add_argument
    add(
        "--rate",
        type=cli.number(0.001, 1e7, unit=" of calls a second"),
        metavar="R",
        help="calls a second (all it takes)",
    )
    add(
        "--concurrency",
        type=cli.integer(1, 1_000_000),
        metavar="N",
        help=f"most calls in flight, over all connections ({_CALLERS}; with --rate {_MOST_IN_FLIGHT})",
    )
    add("--connections", type=cli.integer(1, 100_000), metavar="C", help="in all (one a process)")
    add("--processes", type=cli.integer(1, 1024), default=1, metavar="P", help="that share the load (1)")
    end = load.add_mutually_exclusive_group()
    end.add_argument("--duration", type=cli.seconds, metavar="S", help=f"measure so long ({_DURATION_S:g} s)")
    end.add_argument("--requests", type=cli.integer(1, 10**12), metavar="N", help="measure so many calls")
    add("--warmup", type=cli.number(0, 86_400, unit=" of seconds"), default=1.0, metavar="S", help="before that (1 s)")
    cli.add_engine_flag(parser, wire.ChannelConfig().engine)
    cli.add_loop_flag(parser)
    parser.add_argument(
        "--json", type=_json_file, metavar="F", help='write everything there as JSON too; "-" is standard output, alone'
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls", action="store_true", help="use TLS, trusting the CAs that the system trusts")
    tls.add_argument("--tls-ca", type=cli.readable_file, metavar="FILE", help="use TLS, trusting this CA")
    tls.add_argument("--tls-cert", type=cli.readable_file, metavar="FILE", help="the client's certificate, PEM")
    tls.add_argument("--tls-key", type=cli.readable_file, metavar="FILE", help="its private key, PEM")
    tls.add_argument("--tls-server-name", metavar="NAME", help="the name that the server's certificate must have")
    add_trace_flags(parser.add_argument_group("trace").add_argument)
    return parser


if __name__ == "__main__":
    cli.run_main(main, PROG)
