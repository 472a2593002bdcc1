"""Every scenario by name: who takes part, what is measured, what must be reached. `measures` does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from benchmarks.contenders import ON_WIRE
from benchmarks.frames import VALUES, Varying
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
    open_loop,
    ready_time,
    server_stream,
    sign_alone,
    sign_over_grpc,
    stream_memory,
    varying_cpu,
)


class Kind(Enum):
    """Interpreters that have goals of their own."""

    CPYTHON = "CPython before 3.14"
    NEW = "CPython from 3.14 on"
    PYPY = "PyPy"


@dataclass(frozen=True, slots=True)
class Goal:
    """`contender` must reach `bound`: as a ratio to the best of `against`, or itself where that is empty.

    `at_most`: the figure is a cost, and the bound is its ceiling; otherwise its floor. `cpu`: the ratio is that of the
    CPU time for a call, with the bound as its ceiling. `kinds`: of the interpreters that the goal is for.
    """

    contender: str
    against: tuple[str, ...]
    bound: float
    at_most: bool = False
    cpu: bool = False
    kinds: frozenset[Kind] = frozenset(Kind)


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
_TONIC = ("tonic",)
_SHAPES = {
    f"{connections}x{streams}": Load(connections, streams)
    for connections, streams in ((1, 1), (1, 10), (1, 100), (10, 10), (100, 10))
}


def _servers(*names: str, load: Load, payload_bytes: int = 16) -> dict[str, Opener]:
    return {name: h2load_echo(name, load, payload_bytes) for name in names}


def _pairs(*names: str, figure: str, in_flight: int, payload_bytes: int = 16) -> dict[str, Opener]:
    return {
        name: client_echo(name, name, figure, in_flight=in_flight, payload_bytes=payload_bytes, both=True)
        for name in names
    }


def _floods(*names: str, payload_bytes: int, count: int | None = None) -> dict[str, Opener]:
    return {name: client_stream(name, name, payload_bytes=payload_bytes, count=count) for name in names}


def _at_most(
    contender: str,
    against: tuple[str, ...],
    old: float | None = None,
    *,
    new: float | None = None,
    pypy: float | None = None,
) -> tuple[Goal, ...]:
    """Goals about the CPU time for a call, by the kind of interpreter; None: no goal there."""
    bounds = {Kind.CPYTHON: old, Kind.NEW: new, Kind.PYPY: pypy}
    return tuple(
        Goal(contender, against, bound, at_most=True, cpu=True, kinds=frozenset([kind]))
        for kind, bound in bounds.items()
        if bound is not None
    )


def _shape(name: str, load: Load) -> Scenario:
    goals = _at_most("wire-tuned", _TONIC, 0.9, new=0.75, pypy=0.2)
    goals += _at_most("wire-async", _TONIC, new=1.0, pypy=0.4)
    goals += _at_most("wire-tuned", ("nghttpd",), pypy=0.5)
    return Scenario(
        name,
        f"Server: unary echo of 16 B, h2load, connections × streams {load.connections} × {load.streams}",
        "requests/s",
        {
            **_servers("wire-tuned", "wire-async", "tonic", "grpc-go", load=load),
            "nghttpd": h2load_file(load),
        },
        goals,
    )


def _varying(field: str) -> Scenario:
    return Scenario(
        f"varying-{field}",
        f"Server: CPU for a request whose {field} repeats, or differs each time; replayed frames",
        "µs/request",
        {
            "repeats": varying_cpu(field, Varying.SAME),
            "literal": varying_cpu(field, Varying.LITERAL),
            "inserted": varying_cpu(field, Varying.INSERTED),
        },
        (Goal("literal", ("repeats",), 1.4, at_most=True), Goal("inserted", ("repeats",), 1.8, at_most=True)),
        lower_is_better=True,
    )


def _open_loop(percentile: str, *, rate: float | None = None, share: float | None = None) -> Scenario:
    how = f"{rate:,.0f} calls/s" if rate else "half of the rate that saturates it"
    return Scenario(
        f"open-loop-{percentile}-{'rate' if rate else 'half'}",
        f"Server: {percentile} of unary echo of 16 B, open loop at {how} (bin.bench, our client)",
        "ms",
        {name: open_loop(name, percentile, rate=rate, share=share) for name in ("wire-tuned", "tonic")},
        (Goal("wire-tuned", _TONIC, 1, at_most=True),),
        lower_is_better=True,
    )


def _stream(name: str, title: str, kind: str, payload_bytes: int, bound: float, streams: int = 1) -> Scenario:
    in_mb = kind == "repeat"
    names = ["wire-tuned", "tonic"]
    names += [] if kind == "flood" else ["grpc-go"]
    names += [] if kind == "repeat" else ["wire-messages"]
    return Scenario(
        f"stream-{name}",
        f"Server: {title}; tonic's client",
        "MB/s" if in_mb else "messages/s",
        {each: server_stream(each, kind, payload_bytes, streams, in_mb=in_mb) for each in names},
        (Goal("wire-tuned", _TONIC, bound),) if in_mb else _at_most("wire-tuned", _TONIC, bound, new=bound, pypy=0.4),
    )


def _drop_in(name: str, title: str, unit: str, peer: str, opener: Callable[[str], Opener], bound: float) -> Scenario:
    """A program written for another of Python's stacks, unchanged: on wire, and on what it was written for."""
    on_wire = peer + ON_WIRE
    at_most = bound < 1
    return Scenario(
        f"dropin-{name}",
        f"Unchanged program: {title}",
        unit,
        {each: opener(each) for each in (on_wire, peer)},
        (Goal(on_wire, (peer,), bound, at_most=at_most),),
        lower_is_better=at_most,
    )


def _steps(name: str, title: str, in_flight: int, *pairs: tuple[str, str]) -> Scenario:
    """What each step of a move gains: clients and servers that change to wire one after the other. No goals."""
    return Scenario(
        f"steps-{name}",
        f"Moving from {title}: client | server, unary echo of 16 B, {in_flight} calls in flight",
        "calls/s",
        {
            f"{client} | {server}": client_echo(client, server, "per_s", in_flight=in_flight, both=True)
            for client, server in pairs
        },
        (),
    )


_ALL = (
    *(_shape(f"unary-{name}", load) for name, load in _SHAPES.items()),
    Scenario(
        "python-peers",
        "Server: unary echo of 16 B, h2load, 1 connection × 100 streams, beside Python's other stacks",
        "requests/s",
        _servers("wire-tuned", "wire-h2", *_GRPCIO, "grpclib", load=_SHAPES["1x100"]),
        (Goal("wire-tuned", _GRPCIO, 15), Goal("wire-tuned", ("grpclib",), 20)),
    ),
    *map(_varying, VALUES),
    Scenario(
        "client",
        "Client: unary echo of 16 B, 100 tasks on one connection, each stack's client against our server",
        "calls/s",
        {
            name: client_echo(name, "wire-tuned", "per_s")
            for name in ("wire-tuned", "wire-h2", "tonic", "grpcio-asyncio", "grpclib")
        },
        (
            Goal("wire-tuned", ("grpcio-asyncio",), 8),
            *_at_most("wire-tuned", _TONIC, 0.9, new=0.9, pypy=0.5),
        ),
    ),
    Scenario(
        "pair",
        "Client and server of one stack: unary echo of 16 B, 100 calls in flight",
        "calls/s",
        _pairs("wire-tuned", "wire-h2", "tonic", *_GRPCIO, "grpclib", figure="per_s", in_flight=100),
        (Goal("wire-tuned", ("grpcio-asyncio",), 12),),
    ),
    Scenario(
        "latency",
        "Client and server of one stack: p50 of unary echo of 16 B, one call in flight",
        "µs",
        _pairs("wire-tuned", "tonic", *_GRPCIO, "grpclib", "bare", figure="p50_us", in_flight=1),
        (
            Goal("wire-tuned", ("grpcio-asyncio",), 0.2, at_most=True),
            Goal("wire-tuned", _TONIC, 1, at_most=True),
            Goal("wire-tuned", ("bare",), 1.4, at_most=True),
        ),
        lower_is_better=True,
    ),
    _drop_in(
        "aio-server",
        "server of grpc.aio, unary echo of 16 B, h2load, 1 connection × 100 streams",
        "requests/s",
        "grpcio-asyncio",
        lambda name: h2load_echo(name, _SHAPES["1x100"]),
        8,
    ),
    _drop_in(
        "aio-client",
        "client of grpc.aio, unary echo of 16 B, 100 tasks on one connection, against our server",
        "calls/s",
        "grpcio-asyncio",
        lambda name: client_echo(name, "wire-tuned", "per_s"),
        3.5,
    ),
    _drop_in(
        "sync-server",
        "server of grpcio, ThreadPoolExecutor(8), unary echo of 16 B, h2load, 1 connection × 100 streams",
        "requests/s",
        "grpcio-8-threads",
        lambda name: h2load_echo(name, _SHAPES["1x100"]),
        4,
    ),
    _drop_in(
        "sync-client-p50",
        "client of grpcio, p50 of unary echo of 16 B, one call in flight, against our server",
        "µs",
        "grpcio",
        lambda name: client_echo(name, "wire-tuned", "p50_us", in_flight=1),
        0.6,
    ),
    _drop_in(
        "sync-client-threads",
        "client of grpcio, unary echo of 16 B, 8 threads on one channel, against our server",
        "calls/s",
        "grpcio",
        lambda name: client_echo(name, "wire-tuned", "per_s", in_flight=8),
        2,
    ),
    _drop_in(
        "grpclib",
        "client and server of grpclib, unary echo of 16 B, 50 calls in flight",
        "calls/s",
        "grpclib",
        lambda name: client_echo(name, name, "per_s", in_flight=50, both=True),
        10,
    ),
    _steps(
        "grpclib",
        "grpclib",
        50,
        ("grpclib", "grpclib"),
        (f"grpclib{ON_WIRE}", f"grpclib{ON_WIRE}"),
        ("wire-google", f"grpclib{ON_WIRE}"),
        ("wire-google", "wire-google-async"),
        ("wire-google", "wire-google"),
        ("wire-tuned", "wire-tuned"),
    ),
    _steps(
        "aio",
        "grpc.aio",
        100,
        ("grpcio-asyncio", "grpcio-asyncio"),
        (f"grpcio-asyncio{ON_WIRE}", f"grpcio-asyncio{ON_WIRE}"),
        ("wire-google", f"grpcio-asyncio{ON_WIRE}"),
        ("wire-google", "wire-google-async"),
        ("wire-google", "wire-google"),
        ("wire-tuned", "wire-tuned"),
    ),
    _steps(
        "sync",
        "grpcio's threads",
        8,
        ("grpcio", "grpcio-8-threads"),
        (f"grpcio{ON_WIRE}", f"grpcio-8-threads{ON_WIRE}"),
        ("wire-blocking", f"grpcio-8-threads{ON_WIRE}"),
        ("wire-blocking", "wire-google-threads"),
        ("wire-blocking", "wire-google"),
    ),
    *(_open_loop(percentile, rate=20_000) for percentile in ("p99", "p99.9")),
    *(_open_loop(percentile, share=0.5) for percentile in ("p99", "p99.9")),
    _stream("16", "100 bidi streams in ping-pong, messages of 16 B", "ping-pong", 16, 2, streams=100),
    _stream("64k", "100 bidi streams in ping-pong, messages of 64 KiB", "ping-pong", 1 << 16, 1.1, streams=100),
    _stream("flood", "one bidi stream at full speed, messages of 16 B", "flood", 16, 1),
    _stream("1m", "responses of 1 MiB streamed by the server", "repeat", MIB, 1),
    Scenario(
        "stream-pair",
        "Client and server of one stack: echoes of 16 B on one bidi stream",
        "messages/s",
        _floods("wire-tuned", "wire-h2", *_GRPCIO, "grpclib", payload_bytes=16),
        (Goal("wire-tuned", ("grpcio-asyncio",), 10),),
    ),
    Scenario(
        "large",
        "Client and server of one stack: unary echo of 1 MiB, 4 calls in flight",
        "MB/s",
        _pairs("wire-tuned", "tonic", *_GRPCIO, figure="MB/s", in_flight=4, payload_bytes=MIB),
        (Goal("wire-tuned", _GRPCIO, 1),),
    ),
    Scenario(
        "large-stream",
        "Client and server of one stack: 100 MiB echoed on one bidi stream, in messages of 1 MiB",
        "MB/s",
        _floods("wire-tuned", *_GRPCIO, payload_bytes=MIB, count=100),
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
        "Server: P-256 signatures over gRPC, h2load 1×100, beside tonic with ring, and a bare loop of key.sign",
        "signatures/s",
        {
            "wire-tuned": sign_over_grpc("bin.server --engine tuned"),
            "tonic": sign_over_grpc("tonic"),
            "key.sign": sign_alone(),
        },
        (Goal("wire-tuned", ("key.sign",), 0.7), Goal("wire-tuned", _TONIC, 1)),
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
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}
