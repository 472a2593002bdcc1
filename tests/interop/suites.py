"""The suites of `run`: each is given where to run and yields a `Result` for each case. `SUITES`, by their names.

Imports `wire` and the programs of this folder; what others wrote comes from `tools`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anyio

import wire
from tests.certificates import Certificates
from tests.interop import tools
from tests.interop.cases import CASES, Case, Connect, simple, unary
from tests.interop.generated.grpc.testing import SimpleRequest
from tests.interop.grpc_testing import GrpcTestingStub
from wire.config import CompressionName, EngineName
from wire.http2.codes import DEFAULT_WINDOW_BYTES

LinkName = Literal["h2c", "tls", "unix"]

CASE_TIMEOUT_S = 60.0
CONFORMANCE_TIMEOUT_S = 900.0
PROTO = tools.HERE / "protos" / "grpc" / "testing" / "testing.proto"
# What grpc-go's client has and needs nothing beyond a server: not ALTS, not Google's credentials, not ORCA.
GO_CLIENT_CASES = (
    *("empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream"),
    *("timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response"),
    *("status_code_and_message", "special_status_message", "custom_metadata"),
    *("unimplemented_method", "unimplemented_service", "pick_first_unary", "rpc_soak", "channel_soak"),
)
GO_SOAK_OF_MEGABYTES = ("-test_case=rpc_soak", "-soak_iterations=12", "-soak_overall_timeout_seconds=50")
GHZ_CALLERS = (1, 10, 50)
GHZ_CALLS = {100: 2000, 100_000: 500, 1_000_000: 150, 3_000_000: 60}
"""Bytes of a request and of its response → calls."""
UNEXPECTED_EOF = "rpc error: code = Internal desc = unexpected EOF"
NARROW = "streams that were opened while windows were widened: "
MOST_NARROW = 3  # of ghz's calls on a connection, as far as was seen


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a suite runs. `seconds`: how long the long runs take; `quick`: a small part of what can be run."""

    engine: EngineName
    link: LinkName
    certificates: Certificates
    seconds: float
    quick: bool


@dataclass(frozen=True, slots=True)
class Result:
    case: str
    failure: str | None
    count: int = 1
    """How many cases this stands for."""


Suite = Callable[[Setting], Iterable[Result]]


@contextmanager
def wire_server(setting: Setting, *options: str) -> Iterator[tools.Process]:
    """A wire server in a process of its own."""
    command = [sys.executable, "-m", "tests.interop.server", "--engine", setting.engine, *options]
    if setting.link == "tls":
        certificates = setting.certificates
        command += ["--certificate", str(certificates.server), "--key", str(certificates.server_key)]
    with tools.running(command) as process:
        yield process


@contextmanager
def address_of(setting: Setting) -> Iterator[str]:
    """Where a server of the setting is to listen."""
    if setting.link != "unix":
        yield "127.0.0.1:0"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/socket"


@contextmanager
def wire_target(setting: Setting) -> Iterator[str]:
    """A wire server in a process of its own: what reaches it."""
    with address_of(setting) as address, wire_server(setting, "--address", address) as server:
        yield _target(address, server.port())


def _target(address: str, port: int) -> str:
    """What a server is reached by, which said its port."""
    return address.replace(":0", f":{port}") if address.endswith(":0") else address


def connector(
    setting: Setting,
    target: int | str,
    max_message_bytes: int = 1 << 22,
    service_config: Mapping[str, Any] | None = None,
) -> Connect:
    """What makes channels to a server of the setting; `target` may be a port."""
    tls = wire.ClientTls(setting.certificates.ca) if setting.link == "tls" else None

    def connect(*, compression: CompressionName | None = None) -> AbstractAsyncContextManager[wire.Channel]:
        calls = wire.CallConfig(compression=compression, max_receive_message_bytes=max_message_bytes)
        config = wire.ChannelConfig(engine=setting.engine, wait_for_ready=True, calls=calls)
        name = f"127.0.0.1:{target}" if isinstance(target, int) else target
        return wire.Channel(name, config=config, tls=tls, service_config=service_config)

    return connect


def attempt(case: Case, connect: Connect) -> str | None:
    """Why a case failed; None when it did not."""

    async def limited() -> None:
        with anyio.fail_after(CASE_TIMEOUT_S):
            await case(connect)

    try:
        wire.run(limited)
    except TimeoutError:
        return f"did not end within {CASE_TIMEOUT_S:.0f} s"
    except BaseExceptionGroup as group:
        return repr(group.exceptions[0])
    except Exception as error:
        return str(error) or repr(error)
    return None


def client_cases(setting: Setting, target: int | str) -> Iterator[Result]:
    connect = connector(setting, target)
    for name, case in CASES.items():
        yield Result(name, attempt(case, connect))


# grpc-go.


def grpc_go_client(setting: Setting) -> Iterator[Result]:
    """grpc-go's interop client calls a wire server."""
    client = tools.grpc_go_client()
    with wire_target(setting) as target:
        host, port = (target, "0") if setting.link == "unix" else target.split(":")
        command = [client, f"-server_host={host}", f"-server_port={port}"]
        if setting.link == "tls":
            command += ["-use_tls", "-use_test_ca", f"-ca_file={setting.certificates.ca}"]
        for case in GO_CLIENT_CASES:
            yield Result(case, go_failure([*command, f"-test_case={case}"]))
        for size in (1_500_000, 3_000_000):
            sizes = (f"-soak_response_size={size}", "-soak_per_iteration_max_acceptable_latency_ms=20000")
            yield Result(f"12 unary responses of {size} bytes", go_failure([*command, *GO_SOAK_OF_MEGABYTES, *sizes]))


def go_failure(command: list[str]) -> str | None:
    done = tools.run_program(command, CASE_TIMEOUT_S)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "FATAL" in line or "did not end" in line]
    return " ".join((lines or done.stderr.splitlines() or ["it said nothing"])[-1].split())


def grpc_go_server(setting: Setting) -> Iterator[Result]:
    """A wire client calls grpc-go's interop server."""
    with _go_server(setting) as target:
        yield from client_cases(setting, target)


@contextmanager
def _go_server(setting: Setting) -> Iterator[int | str]:
    if setting.link == "unix":
        with address_of(setting) as address:
            path = address.removeprefix("unix:")
            with tools.running([tools.grpc_go_unix_server(), path], asked=False) as server:
                server.listens(path)
                yield address
        return
    port = tools.free_port()
    command = [tools.grpc_go_server(), f"-port={port}"]
    if setting.link == "tls":
        certificates = setting.certificates
        command += ["-use_tls", f"-tls_cert_file={certificates.server}", f"-tls_key_file={certificates.server_key}"]
    with tools.running(command, asked=False) as server:
        server.listens(port)
        yield port


# grpcio, by programs of ours.


def grpcio_client(setting: Setting) -> Iterator[Result]:
    """A grpcio client calls a wire server."""
    tools.grpcio()
    with wire_target(setting) as target:
        command = [sys.executable, "-m", "tests.interop.grpcio_client", target]
        if setting.link == "tls":
            command.append(str(setting.certificates.ca))
        yield from _told(tools.run_program(command, 10 * CASE_TIMEOUT_S))


def grpcio_server(setting: Setting) -> Iterator[Result]:
    """A wire client calls a grpcio server."""
    tools.grpcio()
    with address_of(setting) as address:
        command = [sys.executable, "-m", "tests.interop.grpcio_server", address]
        if setting.link == "tls":
            command += [str(setting.certificates.server), str(setting.certificates.server_key)]
        with tools.running(command) as server:
            yield from client_cases(setting, _target(address, server.port()))


# grpc-js, by programs of ours.


def grpc_js_client(setting: Setting) -> Iterator[Result]:
    """A grpc-js client calls a wire server."""
    node, env = tools.node()
    with wire_server(setting) as server:
        command = [node, str(tools.HERE / "js" / "client.js"), str(server.port())]
        if setting.link == "tls":
            command.append(str(setting.certificates.ca))
        yield from _told(tools.run_program(command, 10 * CASE_TIMEOUT_S, env))


def _told(done: subprocess.CompletedProcess[str]) -> Iterator[Result]:
    """What a program of ours has said of its cases."""
    for line in done.stdout.splitlines():
        found = json.loads(line)
        yield Result(found["case"], found["failure"])
    if done.returncode:
        yield Result("all", done.stderr.strip() or "it said nothing")


def grpc_js_server(setting: Setting) -> Iterator[Result]:
    """A wire client calls a grpc-js server."""
    node, env = tools.node()
    command = [node, str(tools.HERE / "js" / "server.js")]
    if setting.link == "tls":
        command += [str(setting.certificates.server), str(setting.certificates.server_key)]
    with tools.running(command, env) as server:
        yield from client_cases(setting, server.port())


# connectconformance, which goes over links itself.


def conformance_client(setting: Setting) -> Iterator[Result]:
    """connectconformance's server, and its judgement on a wire client."""
    return _conformance(setting, "client")


def conformance_server(setting: Setting) -> Iterator[Result]:
    """connectconformance's client, and its judgement on a wire server."""
    return _conformance(setting, "server")


def _conformance(setting: Setting, role: str) -> Iterator[Result]:
    program = [sys.executable, "-m", f"tests.interop.conformance_{role}", setting.engine]
    config = ["--conf", str(tools.HERE / "conformance.yaml"), "--mode", role]
    done = tools.run_program([tools.connectconformance(), *config, "--", *program], CONFORMANCE_TIMEOUT_S)
    total = failed = 0
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("FAILED: "):
            failed += 1
            yield Result(line.removeprefix("FAILED: ").rstrip(":"), following.strip())
        elif line.startswith("Total cases: "):
            total = int(line.rpartition(" ")[2])
    if not total or (done.returncode and not failed):
        yield Result("all", lines[-1] if lines else "it said nothing")
    yield Result("passed", None, total - failed)


# ghz, which is grpc-go's client in many threads.


def ghz(setting: Setting) -> Iterator[Result]:
    """ghz's callers times sizes: no call may be lost."""
    program = tools.ghz()
    with wire_server(setting) as server, tempfile.TemporaryDirectory() as folder:
        port = server.port()
        for size, calls in GHZ_CALLS.items():
            for callers in GHZ_CALLERS:
                number = max(callers, calls // 5 if setting.quick else calls)
                options = ["-c", str(callers), "-n", str(number), "-t", "60s"]
                failure = _ghz_failure(program, setting, port, Path(folder), size, options)[1]
                yield Result(f"{callers} × {size} bytes", failure)


def _ghz_failure(
    program: str, setting: Setting, port: int, folder: Path, size: int, options: list[str]
) -> tuple[int, str | None]:
    """How many calls were made, and why some were lost; None when none was."""
    request = folder / str(size)
    request.write_bytes(wire.codec_for(SimpleRequest).encode(simple(size, size)))
    trust = ["--cacert", str(setting.certificates.ca)] if setting.link == "tls" else ["--insecure"]
    call = ["--proto", str(PROTO), "--call", "grpc.testing.TestService.UnaryCall", "-B", str(request)]
    limit_s = CASE_TIMEOUT_S * 2 + setting.seconds
    done = tools.run_program([program, *trust, *call, *options, "-O", "json", f"127.0.0.1:{port}"], limit_s)
    if done.returncode:
        return 0, " ".join(done.stderr.split()) or "it said nothing"
    return lost_calls(json.loads(done.stdout), size)


def lost_calls(report: dict[str, Any], size: int) -> tuple[int, str | None]:
    """What ghz says in JSON, as `_ghz_failure` gives it. `size`: bytes of a response."""
    codes: dict[str, int] = report["statusCodeDistribution"]
    made = sum(codes.values())
    lost = made - codes.get("OK", 0)
    if not lost and made:
        return made, None
    errors: dict[str, int] = report["errorDistribution"]
    narrow = size > DEFAULT_WINDOW_BYTES and lost <= MOST_NARROW and set(errors) == {UNEXPECTED_EOF}
    return made, f"{NARROW if narrow else ''}{lost} of {made} calls were lost: {json.dumps(errors)}"


# Full speed for a long time.


def long_ghz(setting: Setting) -> Iterator[Result]:
    """ghz against a wire server: half the time one caller, half the time 50."""
    program = tools.ghz()
    with wire_server(setting) as server, tempfile.TemporaryDirectory() as folder:
        port = server.port()
        for callers in (1, 50):
            duration = ["-z", f"{setting.seconds / 2:.0f}s", "--duration-stop", "wait"]
            options = ["-c", str(callers), *duration, "-t", "60s"]
            made, failure = _ghz_failure(program, setting, port, Path(folder), 100, options)
            yield Result(f"{callers} callers, {made} calls", failure)


def long_client(setting: Setting) -> Iterator[Result]:
    """A wire client against grpc-go's server: half the time one caller, half the time 50."""
    with _go_server(setting) as port:
        for callers in (1, 50):
            made, failure = wire.run(_flood, connector(setting, port), callers, setting.seconds / 2)
            yield Result(f"{callers} callers, {made} calls", failure)


async def _flood(connect: Connect, callers: int, seconds: float) -> tuple[int, str | None]:
    made = 0
    failures: dict[str, int] = {}
    end = time.monotonic() + seconds

    async def call_on(stub: GrpcTestingStub) -> None:
        nonlocal made
        while time.monotonic() < end:
            made += 1
            try:
                await unary(stub, 100, 100)
            except wire.RpcError as error:
                failures[str(error)] = failures.get(str(error), 0) + 1

    async with connect() as channel, anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(call_on, GrpcTestingStub(channel))
    if not failures:
        return made, None
    return made, f"{sum(failures.values())} of {made} calls were lost: {json.dumps(failures)}"
