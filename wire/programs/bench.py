"""`wire-bench`: how fast a server answers, whatever it serves.

`bin.bench` is the same with methods of Echo and Crypto, and a server of its own to measure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, NoReturn

import wire
from wire.programs import cli
from wire.programs.bench_report import Run, as_json, as_text
from wire.programs.channel_flags import (
    DEFAULT_TIMEOUT_S,
    add_metadata_flags,
    add_schema_flags,
    add_tls_flags,
    check_tls_flags,
    schema_of,
    tls_of,
)
from wire.programs.json_values import json_values, open_data
from wire.programs.knob_flags import add_knob_flags, checked_settings, config_of, print_knobs, shown_settings
from wire.programs.load import Load
from wire.programs.load_process import Plan, Workload
from wire.programs.measurement import Show, measure
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags
from wire.programs.workload import CallWorkload

PROG: Final = "wire-bench"

_CALLERS: Final = 100
_MOST_IN_FLIGHT: Final = 1000
_DURATION_S: Final = 10.0

_NOTES: Final = """\
With --rate, latency counts from the time when a request was due, so that a server that stalls cannot hide it; requests
that were due and could not be sent any more are reported. Ctrl-C prints what has been measured so far.

--call: requests are encoded once, those of one request a call go round all of --data, those of a stream send all of it;
a call ends with its last response. Responses are not decoded.
"""
_EXAMPLES: Final = """\
  %(prog)s --target 127.0.0.1:50051 --call shop.v1.Shop/Get --data '{"name": "nail"}'
  %(prog)s --target vsock:3:5000 --call shop.v1.Shop/Get --data @requests.jsonl --rate 5000 --duration 30
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the load is for, and whose CPU time is counted (None: nobody's)."""

    address: str
    pid: int | None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What is called, and how that is said."""

    workload: Workload
    shown: str


class Bench:
    """The program. Whoever has more methods to call, or a server to start, derives from it."""

    prog: ClassVar[str] = PROG
    description: ClassVar[str] = (
        "Call a server as fast as it answers, or with --rate at a fixed rate; print latencies, throughput and CPU time."
    )
    examples: ClassVar[str] = _EXAMPLES

    def main(self, arguments: list[str] | None = None) -> int:
        parser = self._parser()
        args = parser.parse_args(arguments_of(arguments))
        if args.list_knobs:
            self.check_knobs(parser, args)
            self.list_knobs(args)
            return 0
        self.check(parser, args)
        if importlib.util.find_spec("hdrh") is None:
            raise SystemExit("hdrhistogram is not installed; `pip install 'wire-grpc[bench]'` does that")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with self.target(args) as target:
            subject = self.subject(args, target)
            with _progress(args) as show:
                measured = measure(_plans(args, target, subject), target.pid, show)
        run = Run(settings=_settings(args, target, subject, self.shown_knobs(args)), measured=measured)
        report = as_json(run)
        if args.json != "-":
            print(as_text(report), end="")
        if args.json == "-":
            print(json.dumps(report))
        elif args.json:
            Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
        if measured.interrupted:
            return cli.INTERRUPTED
        return 0 if measured.answered else cli.FAILED

    # What a derived program adds to.

    def add_flags(self, parser: cli.Parser) -> None:
        """Flags that say what is called; beside them `_parser` has those of the load."""
        group = parser.add_argument_group("what is called")
        add = group.add_argument
        add("--call", metavar="SERVICE/METHOD", help="any method, by reflection or .proto files")
        add("--data", metavar="JSON", help='its requests: JSON, "@file", or "-" for standard input (one empty request)')
        add_metadata_flags(add)
        add_schema_flags(add)
        add("--timeout", type=cli.seconds, metavar="S", help="deadline of each call (none)")

    def check(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """Fill in what depends on other flags, and refuse what does not go together."""
        check_tls_flags(parser, args)
        if not args.call and (args.data or args.proto or args.protoset or args.metadata):
            parser.error("--data, --metadata, --proto and --protoset go with --call")
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
        self.check_target(parser, args)
        self.check_knobs(parser, args)

    def check_knobs(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """Read --set and --config into `args.knobs`, and refuse what is wrong with them."""
        args.knobs = checked_settings(parser, args, "client")

    def list_knobs(self, args: argparse.Namespace) -> None:
        """What --list-knobs prints."""
        print_knobs("client", args.knobs, as_json=args.json == "-")

    def shown_knobs(self, args: argparse.Namespace) -> dict[str, str]:
        """Those that were set, for the report: name of a line → its text."""
        return {"knobs": ", ".join(shown_settings("client", args.knobs))} if args.knobs else {}

    def check_target(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """Refuse to begin without a target, or without a method."""
        if not args.target or not args.call:
            parser.error("--target and --call are needed")

    @contextmanager
    def target(self, args: argparse.Namespace) -> Iterator[Target]:
        """Whom to call, for as long as it is called."""
        yield Target(args.target, args.server_pid)

    def subject(self, args: argparse.Namespace, target: Target) -> Subject:
        """What to call. Raises `WireError`, and `SystemExit` where protobuf is missing."""
        workload = wire.run(_call_workload, args, target, loop=args.loop)
        count, size = len(workload.requests), sum(map(len, workload.requests))
        return Subject(workload, f"{workload.path[1:]}, {several(count, 'request')} of {several(size, 'byte')}")

    def _parser(self) -> cli.Parser:
        epilog = f"{_NOTES}{FILTER_HELP}\nexamples:\n{self.examples}"
        parser = cli.Parser(self.prog, description=self.description, epilog=epilog)
        add = parser.add_argument
        add("--target", type=cli.address, metavar="ADDR", help="where a server listens")
        add("--server-pid", type=cli.integer(1, 2**31), metavar="PID", help="count the CPU time of this process as its")
        self.add_flags(parser)
        _add_load_flags(parser)
        cli.add_engine_flag(parser.add_argument)
        cli.add_loop_flag(parser)
        parser.add_argument(
            "--json",
            type=_json_file,
            metavar="F",
            help='write it all there as JSON, too; "-" is standard output, alone',
        )
        add_tls_flags(parser.add_argument_group("TLS").add_argument)
        add_knob_flags(parser.add_argument_group("knobs").add_argument)
        add_trace_flags(parser.add_argument_group("trace").add_argument)
        return parser


def several(count: int, thing: str) -> str:
    """ "1 byte", "2 bytes"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


async def _call_workload(args: argparse.Namespace, target: Target) -> CallWorkload:
    source, file = open_data(args.data)
    with file:
        data = file.read()
    values = [each for value in json_values(data, source) for each in (value if isinstance(value, list) else [value])]
    async with wire.Channel(target.address, tls=tls_of(args)) as channel:
        schema = schema_of(args, channel, timeout=DEFAULT_TIMEOUT_S, metadata=args.metadata)
        method = await schema.method(args.call)
        for value in values:
            await schema.load_anys(value)
        messages = [schema.from_json(method.request, value) for value in values] or [method.request()]
        return CallWorkload(
            service=method.service,
            method=method.name,
            streams_requests=method.streams_requests,
            streams_responses=method.streams_responses,
            requests=tuple(message.SerializeToString() for message in messages),
            metadata=tuple(args.metadata),
            timeout_s=args.timeout,
            files=tuple(schema.files()),
        )


def _config(args: argparse.Namespace) -> wire.ChannelConfig:
    return config_of(wire.ChannelConfig(), args.knobs, engine=args.engine)


def _plans(args: argparse.Namespace, target: Target, subject: Subject) -> Iterator[Plan]:
    """What each process is to do: its share of connections, callers, rate and requests."""
    config = _config(args)
    for index in range(args.processes):

        def share(total: int, index: int = index) -> int:
            count: int = args.processes
            return total // count + (index < total % count)

        yield Plan(
            target=target.address,
            tls=tls_of(args),
            config=config,
            loop=args.loop,
            connections=share(args.connections),
            workload=subject.workload,
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
def _progress(args: argparse.Namespace) -> Iterator[Show]:
    """Moves a bar, where there is a terminal and rich; else nothing is shown."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda elapsed_s, ended: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    text = TextColumn("{task.description}")
    with Progress(BarColumn(20), text, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("warming up", total=args.requests or args.duration)

        def show(elapsed_s: float, ended: int) -> None:
            if elapsed_s > 0:
                rate = f"{ended / elapsed_s:,.0f} calls/s"
                progress.update(task, completed=ended if args.requests else elapsed_s, description=rate)

        yield show


def _settings(args: argparse.Namespace, target: Target, subject: Subject, knobs: dict[str, str]) -> dict[str, str]:
    load = f"{args.rate:g} calls/s, at most" if args.rate else "closed loop,"
    over = f"{several(args.connections, 'connection')} of {args.processes:,} process{'es' * (args.processes > 1)}"
    settings = {
        "target": f"{target.address}{' (started for this)' if target.own else ''}",
        "load": f"{load} {args.concurrency:,} in flight",
        "over": over,
        "method": subject.shown,
        "engine": f"{_config(args).engine}, loop {args.loop}",
    }
    settings |= knobs
    if trace_flags(args) is not None:
        settings["trace"] = "on: what it costs is in the figures"
    return settings


def _json_file(text: str) -> str:
    if text != "-":
        cli.writable_file(text)
    return text


def _add_load_flags(parser: cli.Parser) -> None:
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


def run() -> NoReturn:
    """The command `wire-bench`."""
    cli.run_main(Bench().main, PROG)
