"""What encoding and decoding one message costs: our compiled codec, betterproto2's own path, and google's upb.

    python -m benchmarks.codec [--rounds N] [--json FILE] [MESSAGE…]

The three take turns in each round, in one process, so that a noisy machine slows all alike; the least of the rounds
counts. Prints microseconds a message and, as ratios, how many times ours is faster than betterproto2 and slower than
upb (C). upb's figures are for its own objects, whose fields are read later at a price that is not counted here.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import betterproto2

from tests.codec.generated import kinds
from tests.codec.reference import google_class
from wire.codec import Codec, codec_for

SLICE_S = 0.01
"""How long each contestant runs in each round."""

MESSAGES: dict[str, betterproto2.Message] = {
    "empty": kinds.Nothing(),
    "bytes-16": kinds.OneBytes(payload=b"x" * 16),
    "bytes-1k": kinds.OneBytes(payload=b"x" * 1024),
    "bytes-1m": kinds.OneBytes(payload=b"x" * (1 << 20)),
    "string": kinds.OneString(text="Hello, wire!"),
    "scalars": kinds.Scalars(
        double_value=1.5,
        int32_value=5,
        int64_value=-3,
        uint64_value=1 << 40,
        bool_value=True,
        string_value="hello",
        bytes_value=b"abc",
        enum_value=kinds.Color.RED,
    ),
    "tree": kinds.Tree(
        label="root",
        left=kinds.Tree(label="left"),
        children=[kinds.Tree(label="a"), kinds.Tree(label="b")],
        branch=kinds.Branch(weight=4),
    ),
    "oneof": kinds.Choice(text="chosen", ratio=0.5),
    "small-ints": kinds.Lists(int32_values=list(range(100))),
    "large-ints": kinds.Lists(int64_values=[1000**n for n in range(6)] * 16),
    "doubles": kinds.Lists(double_values=[0.5] * 100),
    "strings": kinds.Lists(string_values=["item"] * 20),
    "map": kinds.Maps(string_map={f"key {n}": "value" for n in range(8)}),
    "times": kinds.WellKnown(at=datetime(2024, 2, 29, tzinfo=UTC), span=timedelta(seconds=1.5), int32_value=4),
}


def microseconds(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """For each of some functions, what one call costs: the least over rounds in which they take turns."""
    counts: dict[str, int] = {}
    for name, call in contestants.items():
        started = time.perf_counter()
        call()
        counts[name] = max(1, int(SLICE_S / max(time.perf_counter() - started, 1e-7) / 4))
    least = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for name, call in contestants.items():
            calls = range(counts[name])
            started = time.perf_counter()
            for _ in calls:
                call()
            elapsed = time.perf_counter() - started
            least[name] = min(least[name], elapsed / counts[name] * 1e6)
            counts[name] = max(1, int(counts[name] * SLICE_S / elapsed))
    return least


def measure(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Encoding and decoding of one message, in microseconds by contestant; all must agree on the bytes first."""
    message = MESSAGES[name]
    message_type = type(message)
    codec: Codec[Any] = codec_for(message_type)
    google = google_class(message_type.__name__)
    data = codec.encode(message)
    reference = google.FromString(data)
    assert codec.decode(data) == message == message_type.parse(data)
    return {
        "encode": microseconds(
            {
                "ours": partial(codec.encode, message),
                "betterproto2": partial(bytes, message),
                "upb": reference.SerializeToString,
            },
            rounds,
        ),
        "decode": microseconds(
            {
                "ours": partial(codec.decode, data),
                "betterproto2": partial(message_type.parse, data),
                "upb": partial(google.FromString, data),
            },
            rounds,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("messages", nargs="*", metavar="MESSAGE", help=f"all by default: {', '.join(MESSAGES)}")
    parser.add_argument("--rounds", type=int, default=12, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.messages if name not in MESSAGES]:
        parser.error(f"there is no message {unknown[0]}; there are {', '.join(MESSAGES)}")
    results = {}
    print(f"{'µs a message':<12}{'':8}{'ours':>9}{'betterproto2':>14}{'upb':>8}{'× betterproto2':>17}{'× upb':>8}")
    gc.disable()  # as each contestant's turn would pay for the others' garbage
    for name in arguments.messages or MESSAGES:
        results[name] = measure(name, arguments.rounds)
        for action, cost in results[name].items():
            ours, betterproto, upb = cost["ours"], cost["betterproto2"], cost["upb"]
            ratios = f"{betterproto / ours:17.1f}{ours / upb:8.1f}"
            print(f"{name:<12}{action:<8}{ours:9.2f}{betterproto:14.2f}{upb:8.2f}{ratios}", flush=True)
    if arguments.json:
        try:
            arguments.json.write_text(json.dumps(results, indent=2) + "\n")
        except OSError as error:
            sys.exit(f"the figures cannot be written to {arguments.json}: {error.strerror}")


if __name__ == "__main__":
    main()
