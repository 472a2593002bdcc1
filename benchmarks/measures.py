"""How one sample of each kind is taken.

Each function here returns an `Opener`: called with a `Lab` it is a context manager that starts what the contender
needs, makes sure that it works, and gives a function that takes one sample (`Sampled`).
`UnavailableError` from either says in one sentence why there is none.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import h2load
from benchmarks.contenders import call, start
from benchmarks.frames import ECHO_PATH, STREAM_PATH, Requests, Varying, unary_requests
from benchmarks.h2load import Load
from benchmarks.processes import LOAD_CORE, ROOT, SERVER_CORE, Subprocess, UnavailableError, pinned, python
from benchmarks.replay import Connection, replay

MIB = 1 << 20
SIGN_PATH = "/crypto.v1.CryptoService/Sign"

_REPLAYED = 20_000
_ONE_CONNECTION = Load(1, 100)


@dataclass(frozen=True, slots=True)
class Lab:
    """What the command line chose: how long one sample takes, and which interpreter runs the contender; None: this
    one."""

    seconds: float
    interpreter: str | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """`value` in the scenario's unit, and where it is a rate, `cpu_us`: what one call cost the contender's processes in
    CPU microseconds, which says nearly the same and hardly depends on what else the machine does."""

    value: float
    cpu_us: float | None = None


Sample = Callable[[], Sampled]
Opener = Callable[[Lab], AbstractContextManager[Sample]]


def echo_message(payload_bytes: int) -> bytes:
    """A serialized EchoRequest, which is also the EchoResponse that answers it."""
    from proto.echo.v1 import EchoRequest

    return bytes(EchoRequest(payload=bytes(payload_bytes)))


def h2load_echo(server: str, load: Load, payload_bytes: int = 16) -> Opener:
    """Requests a second of Echo under h2load."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        h2load.require()
        message = echo_message(payload_bytes)
        with start(server, lab.interpreter) as process:
            address = process.address()
            yield lambda: _under_h2load(process, address, ECHO_PATH, message, load, lab.seconds, len(message))

    return opened


def _under_h2load(
    process: Subprocess, address: str, path: str, message: bytes | None, load: Load, seconds: float, reply_bytes: int
) -> Sampled:
    """Requests a second of a server, and its CPU time."""
    before_s = process.cpu_s()
    answered = h2load.run(address, path, message, load, seconds, reply_bytes)
    return Sampled(answered.per_s, (process.cpu_s() - before_s) * 1e6 / answered.total)


def h2load_echo_cpu(server: str, load: Load, payload_bytes: int) -> Opener:
    """The server's CPU microseconds for the same."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with h2load_echo(server, load, payload_bytes)(lab) as sample:
            yield lambda: _cost(sample())

    return opened


def h2load_file(load: Load, file_bytes: int = 23) -> Opener:
    """Requests a second of nghttpd for a file as long as the echo's DATA frame."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        h2load.require()
        if shutil.which("nghttpd") is None:
            raise UnavailableError("nghttpd is not installed (Debian: apt install nghttp2-server)")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "reply").write_bytes(bytes(file_bytes))
            port = _free_port()
            with Subprocess(["nghttpd", "--no-tls", "--htdocs", folder, port], SERVER_CORE) as process:
                address = _wait_until_accepting(port)
                yield lambda: _under_h2load(process, address, "/reply", None, load, lab.seconds, file_bytes - 5)

    return opened


def _free_port() -> str:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def _wait_until_accepting(port: str) -> str:
    """nghttpd can neither choose a free port nor say that it listens."""
    import socket

    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return f"127.0.0.1:{port}"
    raise UnavailableError("nghttpd did not start")


def client_echo(
    client: str, server: str, figure: str, *, in_flight: int = 100, payload_bytes: int = 16, both: bool = False
) -> Opener:
    """Unary calls of `client` against `server`, whose CPU time counts only with `both`: then the two are measured.

    `figure`: "per_s", "MB/s" (of payload, one way) or "p50_us".
    """
    what = {"kind": "unary", "payload_bytes": payload_bytes, "in_flight": in_flight}

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with (
            start(server, lab.interpreter if both else None) as process,
            call(client, process.address(), interpreter=lab.interpreter) as caller,
        ):
            caller.ask(**what, seconds=min(lab.seconds, 0.3))

            def sample() -> Sampled:
                before_s = process.cpu_s()
                answer = caller.ask(**what, seconds=lab.seconds)
                server_s = process.cpu_s() - before_s if both else 0.0
                per_s = answer["count"] / answer["seconds"]
                value = {"p50_us": answer["p50_us"], "MB/s": per_s * payload_bytes / 1e6, "per_s": per_s}[figure]
                return Sampled(value, (answer["cpu_s"] + server_s) * 1e6 / answer["count"])

            yield sample

    return opened


def client_stream(client: str, server: str, *, payload_bytes: int, count: int | None = None) -> Opener:
    """Messages a second over one bidi stream, or with `count` the MB of payload a second, one way."""
    what = {"kind": "flood", "payload_bytes": payload_bytes}

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with (
            start(server, lab.interpreter) as process,
            call(client, process.address(), interpreter=lab.interpreter) as caller,
        ):
            caller.ask(**what, seconds=0.1, count=10)

            def sample() -> Sampled:
                before_s = process.cpu_s()
                answer = caller.ask(**what, seconds=lab.seconds, count=count)
                if count is not None and answer["count"] != count:
                    raise UnavailableError(f"{client} got {answer['count']} of {count} messages back")
                cpu_s = answer["cpu_s"] + process.cpu_s() - before_s
                per_s = answer["count"] / answer["seconds"]
                return Sampled(per_s if count is None else per_s * payload_bytes / 1e6, cpu_s * 1e6 / answer["count"])

            yield sample

    return opened


def server_stream(server: str, kind: str, payload_bytes: int, streams: int = 1, *, in_mb: bool = False) -> Opener:
    """Messages (or MB) a second that `server` sends on streams, and its CPU time for each; tonic's client is the load.

    `kind`: "ping-pong" on so many bidi streams of one connection, "flood" of one, or "repeat", streamed by the server.
    """
    what = {"kind": kind, "payload_bytes": payload_bytes, "in_flight": streams}

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with start(server, lab.interpreter) as process, call("tonic", process.address()) as caller:
            caller.ask(**what, seconds=min(lab.seconds, 0.5))

            def sample() -> Sampled:
                before_s = process.cpu_s()
                answer = caller.ask(**what, seconds=lab.seconds)
                per_s = answer["count"] / answer["seconds"]
                cpu_us = (process.cpu_s() - before_s) * 1e6 / answer["count"]
                return Sampled(per_s * payload_bytes / 1e6 if in_mb else per_s, cpu_us)

            yield sample

    return opened


def stream_memory(client: str, server: str) -> Opener:
    """MiB by which the server's resident memory grows at most while 100 MiB stream through it and back."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with (
            start(server, lab.interpreter) as process,
            call(client, process.address(), interpreter=lab.interpreter) as caller,
        ):

            def sample() -> Sampled:
                process.reset_peak()
                before = process.rss_bytes()
                caller.ask(kind="flood", payload_bytes=MIB, seconds=lab.seconds, count=100)
                return Sampled((process.peak_rss_bytes() - before) / MIB)

            yield sample

    return opened


def replay_cpu(server: str, requests: Callable[[int], Requests]) -> Opener:
    """The server's CPU microseconds for a request of Echo under replayed frames, each sample over a new connection.

    `requests` makes as many as it is asked for.
    """

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with start(server, lab.interpreter) as process:
            address = process.address()
            replay(address, requests(1000), 100)

            def sample() -> Sampled:
                made = requests(_REPLAYED)
                before_s = process.cpu_s()
                replay(address, made, 100)
                return Sampled((process.cpu_s() - before_s) * 1e6 / len(made))

            yield sample

    return opened


def varying_cpu(field: str, varying: Varying) -> Opener:
    """What a request costs our server whose `field` varies so."""
    return replay_cpu("wire-tuned", lambda count: unary_requests(varying, count, field=field))


def _cost(sampled: Sampled) -> Sampled:
    """The CPU time of a sample as its value."""
    assert sampled.cpu_us is not None
    return Sampled(sampled.cpu_us)


def echo_cpu(server: str, *, connections: int = 0, streams_on_each: int = 0, load: Load = _ONE_CONNECTION) -> Opener:
    """The server's CPU microseconds a request of Echo under h2load, while others hold `connections` open."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        h2load.require()
        message = echo_message(16)
        with start(server, lab.interpreter) as process, ExitStack() as held:
            address = process.address()
            _hold(held, address, connections, streams_on_each)

            def sample() -> Sampled:
                return _cost(_under_h2load(process, address, ECHO_PATH, message, load, lab.seconds, len(message)))

            yield sample

    return opened


def _hold(held: ExitStack, address: str, connections: int, streams_on_each: int) -> None:
    """Open connections, each with so many calls that wait for a message, until `held` is left."""
    for _ in range(connections):
        connection = Connection(address)
        held.callback(connection.close)
        if streams_on_each:
            connection.open_streams(streams_on_each, STREAM_PATH)


def memory(server: str, *, connections: int, streams_on_each: int = 0) -> Opener:
    """KiB of the server's resident memory for each connection, or for each waiting call on them where there are any."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        def sample() -> Sampled:
            with start(server, lab.interpreter) as process, ExitStack() as held:
                address = process.address()
                # What the first requests and the first stream load is nobody's share.
                replay(address, unary_requests(Varying.SAME, 1000), 100)
                _hold(held, address, 1, 1)
                if streams_on_each:
                    empty = [Connection(address) for _ in range(connections)]
                    before = process.rss_bytes()
                    for connection in empty:
                        held.callback(connection.close)
                        connection.open_streams(streams_on_each, STREAM_PATH)
                else:
                    before = process.rss_bytes()
                    _hold(held, address, connections, 0)
                return Sampled((process.rss_bytes() - before) / 1024 / (connections * max(streams_on_each, 1)))

        yield sample

    return opened


def sign_over_grpc(server: str) -> Opener:
    """P-256 signatures a second that the server gives h2load."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        from proto.crypto.v1 import Algorithm, KeyType, SignRequest, SignResponse

        h2load.require()
        message = bytes(SignRequest(key_type=KeyType.P256, algorithm=Algorithm.ECDSA_P256_SHA256_ASN1, data=bytes(32)))
        # DER signatures vary by a byte or two around 71.
        reply_bytes = len(bytes(SignResponse(signature=bytes(70), key_id="0" * 32)))
        with start(server, lab.interpreter) as process:
            address, load = process.address(), _ONE_CONNECTION
            yield lambda: _under_h2load(process, address, SIGN_PATH, message, load, lab.seconds, reply_bytes)

    return opened


def sign_alone() -> Opener:
    """P-256 signatures a second of a bare loop on the server's core."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with call("sign-loop", "none", SERVER_CORE) as process:

            def sample() -> Sampled:
                answer = process.ask(seconds=lab.seconds)
                return Sampled(answer["count"] / answer["seconds"], answer["cpu_s"] * 1e6 / answer["count"])

            yield sample

    return opened


def open_loop(server: str, percentile: str, *, rate: float | None = None, share: float | None = None) -> Opener:
    """The `percentile` ("p99", "p99.9") in milliseconds that `bin.bench` finds with `rate` requests a second, or with
    that `share` of the rate at which `server` saturates."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with start(server, lab.interpreter) as process:
            address = process.address()
            per_s = rate
            if per_s is None:
                assert share is not None
                per_s = _bench(address, lab.seconds, "--concurrency", "100")["throughput_per_s"] * share

            def sample() -> Sampled:
                return Sampled(_bench(address, lab.seconds, "--rate", f"{per_s:.0f}")["latency_ms"][percentile])

            yield sample

    return opened


def _bench(address: str, seconds: float, *flags: str) -> dict[str, Any]:
    command = python(
        "-m", "bin.bench", "--target", address, "--duration", str(seconds), "--warmup", "0.3", "--json", "-"
    )
    result = subprocess.run(
        pinned([*command, *flags], LOAD_CORE), capture_output=True, text=True, check=False, cwd=ROOT
    )
    if result.returncode:
        raise UnavailableError(result.stderr.strip().splitlines()[-1])
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def import_time(module: str) -> Opener:
    """Seconds for `import module` in a new interpreter."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        code = f"import time; before = time.perf_counter(); import {module}; print(time.perf_counter() - before)"

        def sample() -> Sampled:
            result = subprocess.run(
                pinned(python("-c", code), SERVER_CORE),
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            if result.returncode:
                raise UnavailableError(result.stderr.strip().splitlines()[-1])
            return Sampled(float(result.stdout))

        sample()  # compiles what has no .pyc yet
        yield sample

    return opened


def ready_time(server: str) -> Opener:
    """Seconds from starting the server's process until it says that it listens."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        def sample() -> Sampled:
            with start(server, lab.interpreter) as process:
                process.address()
                return Sampled(time.monotonic() - process.started_s)

        sample()
        yield sample

    return opened
