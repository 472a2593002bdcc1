"""How fast VSOCK is beside TCP and UNIX sockets: `bin.bench` over each, in turns, within one guest.

    python -m tests.vsock.bench [--rounds N] [--json FILE]

The guest's clock counts instructions (QEMU's icount, one each 2 ns), so that whatever else the machine does cannot
disturb the figures. They say what the code and the kernel execute; caches and real devices are not in them. Ratios to
TCP are the result, medians over the rounds. Imports `guest` and, inside the guest, `bin.bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.vsock import guest, image, packages

TRANSPORTS = {"tcp": "127.0.0.1:0", "unix": "unix:/run/bench.sock", "vsock": "vsock:any:5000"}
"""What the one server listens on; TCP is what the others are compared with."""

LOADS = {
    "16 B, 1 in flight": (16, 1, 400),
    "16 B, 100 in flight": (16, 100, 3000),
    "64 KiB, 4 in flight": (65536, 4, 200),
}
"""Payload, calls in flight, calls in all."""

COUNTED = ("-accel", "tcg,thread=single,tb-size=256", "-icount", "shift=1,sleep=off", "-cpu", "max")
LIMIT_S = 1800.0

Result = dict[str, dict[str, list[dict[str, float]]]]
"""Load → transport → figures of each round."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.vsock.bench", description="Compare VSOCK with TCP and UNIX sockets.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--in-guest", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.in_guest:
        Path(image.SHARE, "result.json").write_text(json.dumps(measure(args.rounds)))
        return 0
    try:
        packages.prepare(hybrid=False)
    except packages.UnavailableError as error:
        print(f"vsock: cannot measure: {error}", file=sys.stderr)
        return 1
    command = guest.python("-m", "tests.vsock.bench", "--in-guest", "--rounds", str(args.rounds))
    machine = replace(guest.LOOPBACK, processor=COUNTED)
    with guest.Guest(machine, command, lambda line: print(line, file=sys.stderr, flush=True)) as measuring:
        status = measuring.wait(LIMIT_S)
        if status:
            return status
        result: Result = json.loads((measuring.share / "result.json").read_text())
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(table(result)))
    return 0


def measure(rounds: int) -> Result:
    """Inside the guest: every load over every transport, in turns."""
    from tests.bin.programs import ServerProcess

    listen = [flag for address in TRANSPORTS.values() for flag in ("--listen", address)]
    result: Result = {load: {name: [] for name in TRANSPORTS} for load in LOADS}
    with ServerProcess("--rsa-bits", "none", "--log-level", "warn", *listen) as server:
        targets = dict(zip(TRANSPORTS, server.addresses, strict=True))
        for number in range(rounds):
            for load, settings in LOADS.items():
                for name, target in targets.items():
                    figures = bench(target.replace("any", "local"), server.process.pid, *settings)
                    result[load][name].append(figures)
                    shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                    print(f"round {number + 1}, {load}, {name}: {shown}")
    return result


def bench(target: str, server_pid: int, payload_bytes: int, in_flight: int, calls: int) -> dict[str, float]:
    """One run of `bin.bench`, in a fork, which need not import anything again."""
    from bin import bench as program

    path = Path(image.SHARE, "bench.json")
    pid = os.fork()
    if not pid:
        size, load = ["--payload-size", str(payload_bytes)], ["--concurrency", str(in_flight), "--requests", str(calls)]
        where = ["--target", target, "--server-pid", str(server_pid), "--warmup", "0.3", "--json", str(path)]
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        os._exit(program.main([*where, *size, *load]))
    assert os.waitpid(pid, 0)[1] == 0
    report: dict[str, Any] = json.loads(path.read_text())
    return {
        "requests/s": report["throughput_per_s"],
        "p50 ms": report["latency_ms"]["p50"],
        "p99 ms": report["latency_ms"]["p99"],
        "server µs/request": report["server_cpu_us_per_call"],
        "client µs/request": report["client_cpu_us_per_call"],
    }


def table(result: Result) -> list[str]:
    """Lines of a Markdown table: ratios to TCP in the same round, their medians."""
    lines = []
    for load, transports in result.items():
        figures = list(transports["tcp"][0])
        lines += [f"| {load}, × TCP | {' | '.join(figures)} |", f"|---|{'---|' * len(figures)}"]
        for name, rounds in transports.items():
            medians = (
                statistics.median(one[figure] / tcp[figure] for one, tcp in zip(rounds, transports["tcp"], strict=True))
                for figure in figures
            )
            lines.append(f"| {name} | {' | '.join(f'{median:.2f}' for median in medians)} |")
        lines.append("")
    return lines


if __name__ == "__main__":
    sys.exit(main())
