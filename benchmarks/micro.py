"""What encoding and decoding one message costs: our compiled codec, betterproto2's own path, and Google's upb (C).

    python -m benchmarks.micro [--fast] [--messages bytes-16,tree] [-o FILE.json]

pyperf runs each in processes of its own and says how far its figures can be trusted; its other options apply, and
`python -m pyperf compare_to` compares two files. upb's figures are for its own objects, whose fields are read later at
a price that is not counted here.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import betterproto2
import pyperf

from tests.codec.generated import kinds
from tests.codec.reference import google_class
from wire.codec import Codec, codec_for

MESSAGES: Final[dict[str, betterproto2.Message]] = {
    "bytes-16": kinds.OneBytes(payload=b"x" * 16),
    "bytes-1m": kinds.OneBytes(payload=b"x" * (1 << 20)),
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
    "large-ints": kinds.Lists(int64_values=[1000**n for n in range(6)] * 16),
    "strings": kinds.Lists(string_values=["item"] * 20),
    "map": kinds.Maps(string_map={f"key {n}": "value" for n in range(8)}),
    "times": kinds.WellKnown(at=datetime(2024, 2, 29, tzinfo=UTC), span=timedelta(seconds=1.5), int32_value=4),
}


def measure(runner: Any, name: str) -> None:
    """Encoding and decoding of one message by each; all must agree on the bytes first."""
    message = MESSAGES[name]
    message_type = type(message)
    codec: Codec[Any] = codec_for(message_type)
    google = google_class(message_type.__name__)
    data = codec.encode(message)
    reference = google.FromString(data)
    assert codec.decode(data) == message == message_type.parse(data)
    runner.bench_func(f"{name} encode, ours", codec.encode, message)
    runner.bench_func(f"{name} encode, betterproto2", bytes, message)
    runner.bench_func(f"{name} encode, upb", reference.SerializeToString)
    runner.bench_func(f"{name} decode, ours", codec.decode, data)
    runner.bench_func(f"{name} decode, betterproto2", message_type.parse, data)
    runner.bench_func(f"{name} decode, upb", google.FromString, data)


def _pass_on(command: list[str], args: argparse.Namespace) -> None:
    """What pyperf's worker processes are told beside its own options."""
    command += ["--messages", args.messages]


def main() -> None:
    runner = pyperf.Runner(add_cmdline_args=_pass_on, program_args=("-m", "benchmarks.micro"))
    runner.argparser.add_argument("--messages", default=",".join(MESSAGES), help="default: %(default)s")
    chosen = runner.parse_args().messages.split(",")
    if unknown := [name for name in chosen if name not in MESSAGES]:
        runner.argparser.error(f"there is no message {unknown[0]}; there are {', '.join(MESSAGES)}")
    for name in chosen:
        measure(runner, name)


if __name__ == "__main__":
    main()
