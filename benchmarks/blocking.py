"""What a call by a thread costs: `wire.blocking` and grpcio's synchronous client beside each other.

    python -m benchmarks.blocking [--rounds N] [--seconds S] [--threads N] [--json FILE]

Both call the same server of ours, in a process of its own, with unary echoes of 16 bytes in the same google.protobuf
messages. They take turns in each round, so that a noisy machine slows both alike; the medians of the
rounds count. Prints the median time of one call with one thread, and the calls a second that several threads make
together on one channel.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import wire
from benchmarks.processes import SERVER_CORE, Subprocess
from proto.echo.v1.echo_wire import EchoServiceStub

PAYLOAD = b"x" * 16
Call = Callable[[], Any]
PATH = "/echo.v1.EchoService/Echo"
WARM_UP = 200
SERVER = (sys.executable, "-m", "bin.server", "--listen", "127.0.0.1:0", "--rsa-bits", "none")
_ENDS = ("Request", "Response")


def google_messages() -> tuple[Any, Any]:
    """The classes of Echo's request and response."""
    pool = DescriptorPool()
    for file in EchoServiceStub.service.files:
        pool.AddSerializedFile(file)
    request, response = (GetMessageClass(pool.FindMessageTypeByName(f"echo.v1.Echo{end}")) for end in _ENDS)
    return request, response


def call_times_s(call: Call, seconds: float) -> list[float]:
    """How long each call took, one after the other."""
    for _ in range(WARM_UP):
        call()
    times = []
    clock = time.perf_counter
    before, end = clock(), clock() + seconds
    while before < end:
        call()
        after = clock()
        times.append(after - before)
        before = after
    return times


def calls_per_s(call: Call, threads: int, seconds: float) -> float:
    """By so many threads together."""
    counts = [0] * threads
    begin = threading.Barrier(threads + 1)
    end = 0.0

    def work(number: int) -> None:
        call()
        begin.wait()
        begin.wait()
        while time.perf_counter() < end:
            call()
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    started = time.perf_counter()
    end = started + seconds
    begin.wait()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - started)


def measure(clients: dict[str, Call], rounds: int, seconds: float, threads: int) -> dict[str, dict[str, float]]:
    """By client: `p50_us` of one call, and `calls_per_s` of so many threads."""
    times: dict[str, list[float]] = {name: [] for name in clients}
    rates: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name, call in clients.items():
            times[name].append(median(call_times_s(call, seconds)) * 1e6)
            rates[name].append(calls_per_s(call, threads, seconds))
    return {name: {"p50_us": median(times[name]), "calls_per_s": median(rates[name])} for name in clients}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.blocking", description="Calls by threads, beside grpcio's.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    request_type, response_type = google_messages()
    request = request_type(payload=PAYLOAD)
    with ExitStack() as exits:
        address = exits.enter_context(Subprocess(SERVER, SERVER_CORE)).address()
        ours = exits.enter_context(wire.blocking.Channel(address)).unary_unary(PATH, request_type, response_type)
        theirs = exits.enter_context(grpc.insecure_channel(address)).unary_unary(
            PATH,
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        clients: dict[str, Call] = {"wire": lambda: ours(request), "grpcio": lambda: theirs(request)}
        figures = measure(clients, args.rounds, args.seconds, args.threads)
    for name, found in figures.items():
        print(
            f"{name:8} one call {found['p50_us']:6.1f} µs   {args.threads} threads {found['calls_per_s']:8,.0f} calls/s"
        )
    p50 = figures["wire"]["p50_us"] / figures["grpcio"]["p50_us"]
    rate = figures["wire"]["calls_per_s"] / figures["grpcio"]["calls_per_s"]
    print(f"wire/grpcio: one call {p50:.2f} ×, {args.threads} threads {rate:.2f} ×")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
