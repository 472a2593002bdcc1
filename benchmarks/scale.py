"""How the cost of a call grows with what is around it: CPU microseconds of our server against one thing at a time.

    python -m benchmarks.scale [AXIS…] [--rounds N] [--seconds S] [--svg FILE] [--json FILE]

Open connections and streams that do nothing, the message's size, methods, metadata fields, workers: each is varied by
itself, the values in turns, and the least of the rounds counts, as a neighbour on the machine only ever adds. Prints a
line for each value; `--svg` draws them all.
"""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.frames import Varying, many_paths, unary_requests
from benchmarks.h2load import Load
from benchmarks.measures import Lab, Opener, Sample, echo_cpu, h2load_echo_cpu, replay_cpu
from benchmarks.processes import UnavailableError
from wire.programs.cli import INTERRUPTED, Parser, integer, number, run_main


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that is varied: its name, its values, and how a call's cost is measured at each.

    `per_byte`: what the figures are held against is not the first one but the bytes, so they are drawn as they are.
    """

    name: str
    values: tuple[int, ...]
    measure: Callable[[int], Opener]
    per_byte: bool = False


def _with_connections(count: int) -> Opener:
    return echo_cpu("wire-tuned", connections=count)


def _with_streams(count: int) -> Opener:
    connections = 1 if count < 1000 else count // 1000
    return echo_cpu("wire-tuned", connections=connections, streams_on_each=count // connections)


def _of_size(payload_bytes: int) -> Opener:
    return h2load_echo_cpu("wire-tuned", Load(1, 100 if payload_bytes < 1 << 16 else 4), payload_bytes)


def _over_methods(count: int) -> Opener:
    # Two paths at least: one alone would enter the HPACK table, and the requests would be shorter.
    paths = many_paths(500)[: max(count, 2)]
    return replay_cpu("wire-methods", lambda calls: unary_requests(Varying.SAME, calls, paths=paths))


def _with_metadata(count: int) -> Opener:
    return replay_cpu("wire-tuned", lambda calls: unary_requests(Varying.SAME, calls, extra_fields=count))


def _on_workers(count: int) -> Opener:
    return echo_cpu(f"bin.server --engine tuned --workers {count}", load=Load(8, 25))


AXES: Final = {
    axis.name: axis
    for axis in (
        Axis("connections", (0, 10, 100, 1000, 10_000), _with_connections),
        Axis("streams", (1, 10, 100, 1000, 10_000), _with_streams),
        Axis("bytes", tuple(1 << power for power in range(4, 25, 2)), _of_size, per_byte=True),
        Axis("methods", (2, 5, 20, 100, 500), _over_methods),
        Axis("metadata fields", (0, 5, 15, 30, 60), _with_metadata),
        Axis("workers", (1, 2, 4), _on_workers),
    )
}

Costs = dict[int, list[float]]
"""CPU microseconds a call of each round, by the axis's value."""


def measure(axis: Axis, lab: Lab, rounds: int) -> tuple[Costs, dict[int, str]]:
    """The costs, and why values are missing. One value's server at a time: idle ones would share its core."""
    costs: Costs = {}
    missing: dict[int, str] = {}
    for _ in range(rounds):
        for value in axis.values:
            if value in missing:
                continue
            try:
                with ExitStack() as stack:
                    sample: Sample = stack.enter_context(axis.measure(value)(lab))
                    costs.setdefault(value, []).append(sample().value)
            except (UnavailableError, OSError) as error:
                missing[value] = str(error)
                costs.pop(value, None)
    return costs, missing


def draw(results: dict[str, Costs], path: Path) -> None:
    """A picture of two columns, one field for each axis; the least of the rounds, and a band up to their median."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "wire", "font.size": 9})
    from matplotlib import pyplot

    figure, fields = pyplot.subplots(-(-len(results) // 2), 2, figsize=(9, 2.6 * -(-len(results) // 2)), squeeze=False)
    for field, (name, costs) in zip(fields.flat, results.items(), strict=False):
        values = sorted(costs)
        least = [min(costs[value]) for value in values]
        middle = [sorted(costs[value])[len(costs[value]) // 2] for value in values]
        field.set_xscale("symlog" if values[0] == 0 else "log")
        if AXES[name].per_byte:
            field.set_yscale("log")
        else:
            field.set_ylim(0, max(middle) * 1.3)
        field.plot(values, least, marker="o", markersize=3)
        field.fill_between(values, least, middle, alpha=0.2)
        field.set_xlabel(name)
        field.set_ylabel("µs CPU a call")
        field.grid(alpha=0.3)
    for unused in list(fields.flat)[len(results) :]:
        unused.remove()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _parser() -> argparse.ArgumentParser:
    parser = Parser("python -m benchmarks.scale", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("axes", nargs="*", metavar="AXIS", help=f"default: {', '.join(AXES)}")
    parser.add_argument("--rounds", type=integer(1, 1000), default=3, help="samples of each value (3)")
    parser.add_argument("--seconds", type=number(0.1, 600), default=1.0, help="how long one sample takes (1)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    unknown = [name for name in args.axes if name not in AXES]
    if unknown:
        parser.error(f"no axis is called {unknown[0]!r}; there are: {', '.join(AXES)}")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    results: dict[str, Costs] = {}
    interrupted = False
    try:
        for name in args.axes or AXES:
            costs, missing = measure(AXES[name], Lab(args.seconds), args.rounds)
            first = min(costs[min(costs)]) if costs else 0.0
            for value, samples in sorted(costs.items()):
                beside = "" if AXES[name].per_byte else f"  × {min(samples) / first:.2f}"
                print(f"{value:>10,} {name:<16} {min(samples):10.2f} µs{beside}", flush=True)
            for value, reason in missing.items():
                print(f"{value:>10,} {name:<16} {'–':>10}     {reason}", flush=True)
            if costs:
                results[name] = costs
    except KeyboardInterrupt:
        interrupted = True
    if args.json:
        plain: dict[str, Any] = {
            name: {str(value): each for value, each in axis.items()} for name, axis in results.items()
        }
        args.json.write_text(json.dumps(plain, indent=1) + "\n")
    if args.svg and results:
        try:
            draw(results, args.svg)
        except ImportError:
            print("Not drawn: matplotlib is not installed (`pip install 'wire-grpc[bench]'` does that)")
    return INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    run_main(main, "benchmarks.scale")
