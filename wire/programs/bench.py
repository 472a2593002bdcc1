"""`wire-bench`: how fast a server answers, whatever it serves.

`bin.bench` is the same with methods of Echo and Crypto, and a server of its own to measure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

import wire
from wire.errors import ConfigurationError
from wire.programs import cli, compare
from wire.programs.bench_plan import (
    Subject,
    Target,
    add_load_flags,
    check_load_flags,
    plans,
    settings_shown,
    several,
)
from wire.programs.bench_report import Run, as_json, as_text, rounds_as_json
from wire.programs.breakdown import (
    ENGINES,
    Broken,
    add_breakdown_flags,
    broken_down,
    check_breakdown_flags,
    server_signals,
    write_flame_graph,
)
from wire.programs.breakdown import as_json as breakdown_as_json
from wire.programs.breakdown import as_text as breakdown_as_text
from wire.programs.channel_flags import (
    DEFAULT_TIMEOUT_S,
    add_metadata_flags,
    add_schema_flags,
    add_tls_flags,
    check_tls_flags,
    schema_of,
    tls_of,
)
from wire.programs.html_report import html_report, require_charts
from wire.programs.json_values import json_values, open_data
from wire.programs.knob_flags import add_knob_flags, checked_settings, print_knobs, shown_settings
from wire.programs.limit import Bound, find_limit, limit_as_json, limit_as_text, parse_bound
from wire.programs.measurement import measure
from wire.programs.progress import progress
from wire.programs.shapes import Constant
from wire.programs.sweep import FEWEST_ROUNDS, Swept, parse_sweep, sweep, sweep_as_json, sweep_as_text
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of
from wire.programs.workload import CallWorkload

PROG: Final = "wire-bench"

_SHORT_S: Final = {"--sweep": 2.0, "--find-limit": 5.0}
_SWEEP_ROUNDS: Final = 5

_NOTES: Final = """\
With --rate, latency counts from the time when a request was due, so that a server that stalls cannot hide it; requests
that were due and could not be sent any more are reported. Ctrl-C prints what has been measured so far.

--call:     requests are encoded once; a method with one request takes those of --data in turn, one that streams them
            gets all of them in each call. A call ends with its last response. Responses are not decoded.
shapes:     step:R,R,…   ramp:R..R   spike:BASE..PEAK[@START+LENGTH] over --duration
            replay:FILE  when calls of a --trace-file began
searches:   --sweep http2.stream_window_bytes=64KiB..8MiB doubles the value, NAME=A,B,C takes those; they take turns in
            each of --rounds, and are told against the first. --find-limit p99=5ms doubles a rate, then halves the gap
breakdown:  server and client are sampled in half of the run, with one engine after the other (or --engine alone);
            the CPU time of the other half stands beside what the layers come to. --loop auto is asyncio here, as
            uvloop's reads and writes are one row
"""
_EXAMPLES: Final = """\
  %(prog)s --target 127.0.0.1:50051 --call shop.v1.Shop/Get --data '{"name": "nail"}'
  %(prog)s --target vsock:3:5000 --call shop.v1.Shop/Get --data @requests.jsonl --rate 5000 --duration 30
  %(prog)s --target unix:/run/shop.sock --call shop.v1.Shop/Get --find-limit p99=5ms --report limit.html
  %(prog)s compare before.json after.json --fail-above 5    # what --json wrote; `%(prog)s compare --help`
"""


class Bench:
    """The program. Whoever has more methods to call, or a server to start, derives from it."""

    prog: ClassVar[str] = PROG
    description: ClassVar[str] = (
        "Call a server as fast as it answers, or with --rate at a fixed rate; print latencies, throughput and CPU time."
    )
    examples: ClassVar[str] = _EXAMPLES

    def main(self, arguments: list[str] | None = None) -> int:
        words = arguments_of(arguments)
        if words[:1] == ["compare"]:
            return compare.main(words[1:], f"{self.prog} compare")
        parser = self._parser()
        args = parser.parse_args(words)
        args.parser = parser
        if args.list_knobs:
            self.check_knobs(parser, args)
            self.list_knobs(args)
            return 0
        self.check(parser, args)
        if importlib.util.find_spec("hdrh") is None:
            raise SystemExit("hdrhistogram is not installed; `pip install 'wire-grpc[bench]'` does that")
        if args.report:
            require_charts()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if args.sweep:
            return self._sweep(args)
        if args.find_limit:
            return self._find_limit(args)
        if args.breakdown:
            return self._break_down(args)
        reports: list[dict[str, Any]] = []
        while len(reports) < args.rounds and not (reports and reports[-1]["interrupted"]):
            reports.append(self.measured(args))
        report = rounds_as_json(reports)
        _write(args, report, as_text(report))
        if report["interrupted"]:
            return cli.INTERRUPTED
        return 0 if report["answered"] else cli.FAILED

    def measured(self, args: argparse.Namespace) -> dict[str, Any]:
        """The report of one run, with a server of its own where one is started."""
        with self.target(args) as target:
            return self._measured_on(args, target, self.subject(args, target))

    def _measured_on(self, args: argparse.Namespace, target: Target, subject: Subject) -> dict[str, Any]:
        with progress(args.requests, args.duration) as show:
            measured = measure(plans(args, target, subject), target.pid, show)
        settings = settings_shown(args, target, subject, self.shown_knobs(args))
        return as_json(Run(settings=settings, measured=measured, shape=args.shape))

    def _sweep(self, args: argparse.Namespace) -> int:
        def measured(name: str, text: str) -> dict[str, Any]:
            one = argparse.Namespace(**vars(args))
            one.set = [*args.set, (name, text)]
            self.check_knobs(one.parser, one)
            return self.measured(one)

        result = sweep(args.sweep, args.rounds, measured)
        _write(args, sweep_as_json(result), sweep_as_text(result))
        return cli.INTERRUPTED if result.interrupted else 0

    def _find_limit(self, args: argparse.Namespace) -> int:
        with self.target(args) as target:
            subject = self.subject(args, target)

            def measured(rate_per_s: float) -> dict[str, Any]:
                one = argparse.Namespace(**vars(args))
                one.rate, one.shape = rate_per_s, Constant(rate_per_s)
                return self._measured_on(one, target, subject)

            limit = find_limit(args.find_limit, measured)
        _write(args, limit_as_json(limit), limit_as_text(limit))
        return cli.INTERRUPTED if limit.interrupted else 0 if limit.rate_per_s else cli.FAILED

    def _break_down(self, args: argparse.Namespace) -> int:
        runs: list[Broken] = []
        for engine in [args.engine] if args.engine else ENGINES:
            one = argparse.Namespace(**{**vars(args), "engine": engine})
            with self.target(one) as target:
                subject = self.subject(one, target)
                with progress(None, one.duration) as show:
                    timed = server_signals(target, one.duration)
                    measured = measure(plans(one, target, subject), target.pid, show, timed)
                settings = settings_shown(one, target, subject, self.shown_knobs(one))
                report = as_json(Run(settings=settings, measured=measured, shape=args.shape))
                runs.append(broken_down(engine, target, measured, report, one.duration))
            if measured.interrupted:
                break
        _write(args, breakdown_as_json(runs), breakdown_as_text(runs))
        if args.flamegraph:
            write_flame_graph(args.flamegraph, runs)
        if measured.interrupted:
            return cli.INTERRUPTED
        return 0 if all(run.report["answered"] for run in runs) else cli.FAILED

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
        check_breakdown_flags(parser, args)
        mode = [flag for flag, on in (("--sweep", args.sweep), ("--find-limit", args.find_limit)) if on]
        if len(mode) + (args.rate is not None and args.find_limit is not None) > 1:
            parser.error("--sweep, --find-limit and --rate do not go together")
        if mode:
            if args.requests or args.load_shape:
                parser.error(f"--requests and --shape do not go with {mode[0]}")
            args.duration = args.duration or _SHORT_S[mode[0]]
        args.rounds = args.rounds or (_SWEEP_ROUNDS if args.sweep else 1)
        if args.sweep and args.rounds < FEWEST_ROUNDS:
            parser.error(f"--sweep needs at least {FEWEST_ROUNDS} --rounds to know the noise")
        check_load_flags(parser, args)
        self.check_target(parser, args)
        self.check_knobs(parser, args)
        for each in args.sweep.texts if args.sweep else ():  # all of them, before the first is measured
            one = argparse.Namespace(**{**vars(args), "set": [*args.set, (args.sweep.name, each)]})
            self.check_knobs(parser, one)

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
        cli.add_version_flag(parser)
        add = parser.add_argument
        add("--target", type=cli.address, metavar="ADDR", help="where a server listens")
        add("--server-pid", type=cli.process, metavar="PID", help="count the CPU time of this process as its")
        self.add_flags(parser)
        add_load_flags(parser)
        search = parser.add_argument_group("searches")
        search.add_argument(
            "--sweep", type=_swept, metavar="NAME=LOW..HIGH", help="measure with values of a knob (see below)"
        )
        search.add_argument("--find-limit", type=_bound, metavar="pN=T", help="highest rate at which pN is below T")
        add_breakdown_flags(parser.add_argument_group("layers").add_argument)
        cli.add_engine_flag(parser.add_argument)
        cli.add_loop_flag(parser)
        parser.add_argument(
            "--json",
            type=_json_file,
            metavar="F",
            help='write it all there as JSON, too; "-" is standard output, alone',
        )
        parser.add_argument(
            "--report", type=cli.writable_file, metavar="F", help="write it there as a page of HTML, too"
        )
        add_tls_flags(parser.add_argument_group("TLS").add_argument)
        add_knob_flags(parser.add_argument_group("knobs").add_argument)
        add_trace_flags(parser.add_argument_group("trace").add_argument)
        return parser


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


def _write(args: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    """The text to standard output, and the report to where --json and --report say."""
    if args.report:
        args.report.write_text(html_report(report), encoding="utf-8")
    if args.json == "-":
        print(json.dumps(report))
        return
    print(text, end="")
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")


def _swept(text: str) -> Swept:
    try:
        return parse_sweep(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _bound(text: str) -> Bound:
    try:
        return parse_bound(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _json_file(text: str) -> str:
    if text != "-":
        cli.writable_file(text)
    return text


def run() -> NoReturn:
    """The command `wire-bench`."""
    cli.run_main(Bench().main, PROG)


if __name__ == "__main__":
    run()
