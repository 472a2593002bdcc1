"""Every scenario by name: who takes part, what is measured, what must be reached. `measures` does the work."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.h2load import Load
from benchmarks.measures import (
    MIB,
    Opener,
    client_echo,
    client_stream,
    echo_cpu,
    h2load_echo,
    h2load_file,
    import_time,
    memory,
    open_loop_p99,
    ready_time,
    replay_cpu,
    replay_echo,
    sign_alone,
    sign_over_grpc,
    stream_memory,
)
from benchmarks.replay import Timeout


@dataclass(frozen=True, slots=True)
class Goal:
    """`contender` must reach `bound`: as a ratio to the best of `against`, or itself where that is empty.

    `at_most`: the figure is a cost, and the bound is its ceiling; otherwise its floor.
    """

    contender: str
    against: tuple[str, ...]
    bound: float
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One block of the table: `contenders` by name, all measured in `unit`."""

    name: str
    title: str
    unit: str
    contenders: dict[str, Opener]
    goals: tuple[Goal, ...]
    lower_is_better: bool = False


_GRPCIO = ("grpcio", "grpcio-asyncio")
_ONE = Load(connections=1, streams=100)
_TEN = Load(connections=10, streams=10)


def _servers(*names: str, load: Load = _ONE, payload_bytes: int = 16) -> dict[str, Opener]:
    return {name: h2load_echo(name, load, payload_bytes) for name in names}


def _pairs(*names: str, figure: str, in_flight: int, payload_bytes: int = 16) -> dict[str, Opener]:
    return {name: client_echo(name, name, figure, in_flight=in_flight, payload_bytes=payload_bytes) for name in names}


def _streams(*names: str, payload_bytes: int, count: int | None = None) -> dict[str, Opener]:
    return {name: client_stream(name, name, payload_bytes=payload_bytes, count=count) for name in names}


_ALL = (
    Scenario(
        "unary",
        "Server: unary echo of 16 B, h2load, 1 connection × 100 streams",
        "requests/s",
        _servers("wire-tuned", "wire-h2", *_GRPCIO, "grpclib"),
        (Goal("wire-tuned", _GRPCIO, 15), Goal("wire-tuned", ("grpclib",), 20)),
    ),
    Scenario(
        "unary-10x10",
        "Server: unary echo of 16 B, h2load, 10 connections × 10 streams",
        "requests/s",
        _servers("wire-tuned", *_GRPCIO, load=_TEN),
        (Goal("wire-tuned", _GRPCIO, 18),),
    ),
    Scenario(
        "unary-1k",
        "Server: unary echo of 1 KiB, h2load, 1 connection × 100 streams",
        "requests/s",
        _servers("wire-tuned", *_GRPCIO, payload_bytes=1024),
        (Goal("wire-tuned", _GRPCIO, 12),),
    ),
    Scenario(
        "unary-async",
        "Server: unary echo of 16 B by an `async def` handler, h2load, 1 connection × 100 streams",
        "requests/s",
        _servers("wire-async", *_GRPCIO),
        (Goal("wire-async", _GRPCIO, 10),),
    ),
    Scenario(
        "unary-replay",
        "Server: as `unary`, pressed by replayed frames instead of h2load, which check the first opinion",
        "requests/s",
        {name: replay_echo(name) for name in ("wire-tuned", "wire-h2", *_GRPCIO, "grpclib")},
        (),
    ),
    Scenario(
        "timeout",
        "Server: CPU for a request whose grpc-timeout repeats, or differs each time; replayed frames",
        "µs/request",
        {
            "repeats": replay_cpu("wire-tuned", Timeout.SAME),
            "literal": replay_cpu("wire-tuned", Timeout.LITERAL),
            "inserted": replay_cpu("wire-tuned", Timeout.INSERTED),
        },
        (Goal("literal", ("repeats",), 1.4, at_most=True), Goal("inserted", ("repeats",), 1.8, at_most=True)),
        lower_is_better=True,
    ),
    Scenario(
        "client",
        "Client: unary echo of 16 B, 100 tasks on one connection, each stack's client against our server",
        "calls/s",
        {
            name: client_echo(name, "wire-tuned", "per_s")
            for name in ("wire-tuned", "wire-h2", "grpcio-asyncio", "grpclib")
        },
        (Goal("wire-tuned", ("grpcio-asyncio",), 6),),
    ),
    Scenario(
        "pair",
        "Client and server of one stack: unary echo of 16 B, 100 calls in flight",
        "calls/s",
        _pairs("wire-tuned", "wire-h2", *_GRPCIO, "grpclib", figure="per_s", in_flight=100),
        (Goal("wire-tuned", ("grpcio-asyncio",), 12),),
    ),
    Scenario(
        "latency",
        "Client and server of one stack: p50 of unary echo of 16 B, one call in flight",
        "µs",
        _pairs("wire-tuned", *_GRPCIO, "grpclib", "bare", figure="p50_us", in_flight=1),
        (
            Goal("wire-tuned", ("grpcio-asyncio",), 0.4, at_most=True),
            Goal("wire-tuned", ("bare",), 1.5, at_most=True),
        ),
        lower_is_better=True,
    ),
    Scenario(
        "open-loop",
        "Client and server: p99 of unary echo of 16 B, open loop at half of the rate that saturates (bin.bench)",
        "ms",
        {"wire-tuned": open_loop_p99("wire-tuned", 0.5)},
        (Goal("wire-tuned", (), 1.0, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "stream",
        "Client and server of one stack: echoes of 16 B on one bidi stream",
        "messages/s",
        _streams("wire-tuned", "wire-h2", *_GRPCIO, "grpclib", payload_bytes=16),
        (Goal("wire-tuned", ("grpcio-asyncio",), 10),),
    ),
    Scenario(
        "large",
        "Client and server of one stack: unary echo of 1 MiB, 4 calls in flight",
        "MB/s",
        _pairs("wire-tuned", *_GRPCIO, figure="MB/s", in_flight=4, payload_bytes=MIB),
        (Goal("wire-tuned", _GRPCIO, 1),),
    ),
    Scenario(
        "large-stream",
        "Client and server of one stack: 100 MiB echoed on one bidi stream, in messages of 1 MiB",
        "MB/s",
        _streams("wire-tuned", *_GRPCIO, payload_bytes=MIB, count=100),
        (Goal("wire-tuned", _GRPCIO, 1),),
    ),
    Scenario(
        "large-stream-memory",
        "Server: memory that 100 MiB echoed on one bidi stream take at most",
        "MiB",
        {name: stream_memory(name, name) for name in ("wire-tuned", *_GRPCIO)},
        (Goal("wire-tuned", (), 16, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "sign",
        "Server: P-256 signatures over gRPC, h2load, beside a bare loop of key.sign on the same core",
        "signatures/s",
        {"wire-tuned": sign_over_grpc("bin.server --engine tuned"), "key.sign": sign_alone()},
        (Goal("wire-tuned", ("key.sign",), 0.7),),
    ),
    Scenario(
        "cpu",
        "Server: CPU for a request, with one worker and one connection, with 2 workers, and with others held open",
        "µs/request",
        {
            "1 worker": echo_cpu("bin.server --engine tuned"),
            "2 workers": echo_cpu("bin.server --engine tuned --workers 2", load=Load(connections=8, streams=100)),
            "1,000 connections": echo_cpu("bin.server --engine tuned", connections=1000),
            "10,000 streams": echo_cpu("bin.server --engine tuned", connections=10, streams_on_each=1000),
        },
        tuple(
            Goal(name, ("1 worker",), 1.15, at_most=True)
            for name in ("2 workers", "1,000 connections", "10,000 streams")
        ),
        lower_is_better=True,
    ),
    Scenario(
        "memory-connection",
        "Server: memory for an idle connection, of 1,000",
        "KiB",
        {name: memory(name, connections=1000) for name in ("wire-tuned", "wire-h2", *_GRPCIO, "grpclib")},
        (Goal("wire-tuned", (), 24, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "memory-call",
        "Server: memory for a call that waits for a message, of 10,000 on 10 connections",
        "KiB",
        {
            name: memory(name, connections=10, streams_on_each=1000)
            for name in ("wire-tuned", "wire-h2", "grpcio-asyncio")
        },
        (Goal("wire-tuned", (), 4, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "import",
        "Time to import the package",
        "s",
        {module: import_time(module) for module in ("wire", "grpc", "grpc.aio", "grpclib.server")},
        (Goal("wire", (), 0.25, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "ready",
        "Time until the server listens, from the start of its process",
        "s",
        {"bin.server": ready_time("bin.server --rsa-bits none"), "grpcio": ready_time("grpcio")},
        (Goal("bin.server", (), 0.5, at_most=True),),
        lower_is_better=True,
    ),
    Scenario(
        "beyond",
        "Server: as `unary`, beside compiled languages: grpc-go without message objects, nghttpd with a file of 23 B",
        "requests/s",
        {**_servers("wire-tuned", "grpc-go"), "nghttpd": h2load_file(23)},
        (Goal("wire-tuned", ("grpc-go",), 1.1), Goal("wire-tuned", ("nghttpd",), 0.45)),
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}
