"""From the bench's flags to what each load process does, and to how that is said in reports.

Imports `load`, `load_process`, `shapes` and the flags' modules.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import wire
from wire.programs import cli
from wire.programs.channel_flags import tls_of
from wire.programs.knob_flags import config_of
from wire.programs.load import Load
from wire.programs.load_process import Plan, Workload
from wire.programs.shapes import HIGHEST_RATE, Constant, Replay, ShapeError, parse_shape
from wire.programs.tracing import trace_flags

CALLERS: Final = 100
MOST_IN_FLIGHT: Final = 1000
DURATION_S: Final = 10.0
_PARTS: Final = 40
_SHORTEST_PART_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the load is for, and whose CPU time is counted (None: nobody's)."""

    address: str
    pid: int | None
    own: bool = False
    costs_file: Path | None = None
    """Where SIGUSR2 has it write what its layers cost."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is called, and how that is said."""

    workload: Workload
    shown: str


def several(count: int, thing: str) -> str:
    """ "1 byte", "2 bytes"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def channel_config(args: argparse.Namespace) -> wire.ChannelConfig:
    return config_of(wire.ChannelConfig(), args.knobs, engine=args.engine)


def plans(args: argparse.Namespace, target: Target, subject: Subject) -> Iterator[Plan]:
    """What each process is to do: its share of connections, callers, rate and requests."""
    config = channel_config(args)
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
                shape=args.shape and args.shape.shared(args.processes, index),
                warmup_s=args.warmup,
                duration_s=args.duration or float("inf"),
                requests=args.requests and share(args.requests),
                phase=0.0 if isinstance(args.shape, Replay) else index / args.processes,
                part_s=max(_SHORTEST_PART_S, args.duration / _PARTS) if args.duration else 1.0,
            ),
            trace=trace_flags(args),
            breakdown=args.breakdown,
        )


def settings_shown(args: argparse.Namespace, target: Target, subject: Subject, knobs: dict[str, str]) -> dict[str, str]:
    load = "closed loop"
    if args.shape is not None:
        load = args.load_shape or f"{args.rate:g} calls/s"
    over = f"{several(args.connections, 'connection')} of {args.processes:,} process{'es' * (args.processes > 1)}"
    settings = {
        "target": f"{target.address}{' (started for this)' if target.own else ''}",
        "load": f"{load}, {'at most ' if args.shape else ''}{args.concurrency:,} in flight",
        "over": over,
        "method": subject.shown,
        "engine": f"{channel_config(args).engine}, loop {args.loop}",
    }
    settings |= knobs
    if trace_flags(args) is not None:
        settings["trace"] = "on: what it costs is in the figures"
    return settings


def add_load_flags(parser: cli.Parser) -> None:
    """How much is called, how, and for how long."""
    load = parser.add_argument_group("load")
    add = load.add_argument
    shape = load.add_mutually_exclusive_group()
    rates = cli.number(0.001, HIGHEST_RATE, unit=" of calls a second")
    shape.add_argument("--rate", type=rates, metavar="R", help="calls a second (all it takes)")
    shape.add_argument("--shape", dest="load_shape", metavar="SHAPE", help="a rate that changes (see below)")
    add(
        "--concurrency",
        type=cli.integer(1, 1_000_000),
        metavar="N",
        help=f"most calls in flight, over all connections ({CALLERS}; with --rate {MOST_IN_FLIGHT})",
    )
    add("--connections", type=cli.integer(1, 100_000), metavar="C", help="in all (one a process)")
    add("--processes", type=cli.integer(1, 1024), default=1, metavar="P", help="that share the load (1)")
    add("--rounds", type=cli.integer(1, 1000), metavar="N", help="measure so many times (1; --sweep 5)")
    end = load.add_mutually_exclusive_group()
    end.add_argument(
        "--duration",
        type=cli.seconds,
        metavar="S",
        help=f"measure so long ({DURATION_S:g} s; --sweep 2 s, --find-limit 5 s)",
    )
    end.add_argument("--requests", type=cli.integer(1, 10**12), metavar="N", help="measure so many calls")
    add("--warmup", type=cli.number(0, 86_400, unit=" of seconds"), default=1.0, metavar="S", help="before that (1 s)")


def check_load_flags(parser: cli.Parser, args: argparse.Namespace) -> None:
    """Fill in what depends on other flags, and refuse what does not go together. Makes `args.shape`."""
    if args.duration is None and args.requests is None:
        args.duration = DURATION_S
    if args.connections is None:
        args.connections = args.processes
    if args.concurrency is None:
        open_loop = args.rate or args.load_shape or args.find_limit
        args.concurrency = max(MOST_IN_FLIGHT if open_loop else CALLERS, args.connections)
    if args.connections < args.processes:
        parser.error(f"--connections must be at least --processes: {args.processes}")
    if args.concurrency < args.connections:
        parser.error(f"--concurrency must be at least --connections: {args.connections}")
    if args.requests and args.requests < args.processes:
        parser.error(f"--requests must be at least --processes: {args.processes}")
    args.shape = None if args.rate is None else Constant(args.rate)
    if args.load_shape is not None:
        if args.requests:
            parser.error("--requests does not go with --shape")
        try:
            args.shape = parse_shape(args.load_shape, args.duration, f"/{args.call.strip('/')}" if args.call else "")
        except ShapeError as error:
            parser.error(f"argument --shape: {error}")
    if isinstance(args.shape, Replay):
        args.duration, args.warmup = max(args.shape.times_s[-1] + 1.0, 1.0), 0.0
