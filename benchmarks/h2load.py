"""nghttp2's h2load as the load generator of server rows, so that no result rests on our client alone.

In: an address and a serialized message. Out: requests a second. It counts any 2xx response as a success, and a gRPC
error is a 200, so the DATA bytes that came back are checked against those of the reply that is due.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import LOAD_CORE, UnavailableError, pinned

_FINISHED = re.compile(r"finished in .*?, ([\d.]+) req/s")
_REQUESTS = re.compile(
    r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)
_DATA = re.compile(r"\((\d+)\) data")


@dataclass(frozen=True, slots=True)
class Load:
    """How h2load is to press: `connections`, and on each of them `streams` requests in flight."""

    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Answered:
    """`per_s`: requests a second after the warm-up. `total`: all that were answered, warm-up included, known from the
    bytes that came back; 0 where replies vary in length."""

    per_s: float
    total: float


def require() -> None:
    """Raise `UnavailableError` when h2load is not installed."""
    if shutil.which("h2load") is None:
        raise UnavailableError("h2load is not installed (Debian: apt install nghttp2-client)")


def run(address: str, path: str, message: bytes | None, load: Load, seconds: float, reply_bytes: int = 0) -> Answered:
    """Press the server at `address` for `seconds`, behind a warm-up of a third of that.

    `message`: a serialized protobuf message, sent as one gRPC message; None: plain GET requests. `reply_bytes`: the
    length of the message that comes back; 0 where it varies.
    """
    with tempfile.NamedTemporaryFile() as body:
        command = ["h2load", "--clients", str(load.connections), "--max-concurrent-streams", str(load.streams)]
        # Large windows, so that flow control is not what is measured.
        command += ["--window-bits", "24", "--connection-window-bits", "24"]
        command += ["--duration", f"{seconds * 1000:.0f}ms", "--warm-up-time", f"{min(seconds, 1) * 300:.0f}ms"]
        if message is not None:
            Path(body.name).write_bytes(struct.pack(">BI", 0, len(message)) + message)
            command += ["--data", body.name, "--header", "content-type: application/grpc", "--header", "te: trailers"]
        command.append(f"http://{address}{path}")
        result = subprocess.run(pinned(command, LOAD_CORE), capture_output=True, text=True, check=False)
    finished, requests, data = (pattern.search(result.stdout) for pattern in (_FINISHED, _REQUESTS, _DATA))
    if finished is None or requests is None or data is None:
        last = (result.stderr or result.stdout).strip().splitlines()
        raise UnavailableError(f"h2load gave no result: {last[-1] if last else 'it said nothing'}")
    done, _, failed, errored, timed_out = map(int, requests.groups())
    if failed or errored or timed_out or not done:
        raise UnavailableError(f"h2load: {failed} failed, {errored} errored, {timed_out} timed out of {done} requests")
    # The bytes are those of the warm-up too, so that there may be more of them than of the requests that are counted.
    total = int(data[1]) / (reply_bytes + 5) if reply_bytes else 0.0
    if reply_bytes and total < done:
        raise UnavailableError(f"h2load: {int(data[1]) / done:.1f} bytes a reply instead of {reply_bytes + 5}")
    return Answered(float(finished[1]), total)
