"""nginx and Envoy between a client and two wire servers, of which one is killed. Suites for `run`; h2c alone.

Imports `wire` and `suites`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio

import wire
from tests.interop import tools
from tests.interop.cases import Connect, outputs, unary
from tests.interop.grpc_testing import GrpcTestingStub
from tests.interop.suites import GO_CLIENT_CASES, Result, Setting, attempt, client_cases, connector, wire_server

MESSAGE_BYTES = 10_000_000
LIMIT_BYTES = 1 << 24
CALLS_AFTER = 200
CALLERS = 20
CALLS_BEFORE = 2000
RETRY = {
    "methodConfig": [
        {
            "name": [{"service": "grpc.testing.TestService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
"""A service config that has calls made again which a server did not answer."""

_NGINX = """\
daemon off;
user root;
pid {folder}/pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream servers {{
        server 127.0.0.1:{first};
        server 127.0.0.1:{second};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{ grpc_pass grpc://servers; }}
    }}
}}
"""

_ELSEWHERE = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
# Envoy sends a call again once and perhaps to the same server, and lets 3 calls at once do so, unless it is told.
_ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route:
                  cluster: servers
                  timeout: 0s
                  retry_policy:
                    retry_on: "connect-failure,refused-stream"
                    num_retries: 3
                    retry_host_predicate:
                    - name: elsewhere
                      typed_config: {{"@type": {elsewhere}}}
                    host_selection_retry_max_attempts: 5
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: servers
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers: {{thresholds: [{{max_retries: 1024}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: servers
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {first}}}}}}}
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {second}}}}}}}
"""


def nginx(setting: Setting) -> Iterator[Result]:
    """Through nginx's grpc_pass."""
    return _through(setting, [tools.nginx(), "-c"], _NGINX)


def envoy(setting: Setting) -> Iterator[Result]:
    """Through Envoy."""
    options = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "critical", "-c"]
    return _through(setting, [tools.envoy(), *options], _ENVOY)


def _through(setting: Setting, command: list[str], text: str) -> Iterator[Result]:
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        limit = ("--max-message-bytes", str(LIMIT_BYTES))
        servers = [exits.enter_context(wire_server(setting, *limit)) for _ in range(2)]
        port = tools.free_port()
        ports: dict[str, Any] = {"port": port, "first": servers[0].port(), "second": servers[1].port()}
        config = folder / "proxy.yaml"
        config.write_text(text.format(folder=folder, elsewhere=_ELSEWHERE, **ports))
        exits.enter_context(tools.running([*command, str(config)], asked=False)).listens(port)
        yield from client_cases(setting, port)
        connect = connector(setting, port, LIMIT_BYTES)
        yield Result("unary of 10 MB", attempt(_large_unary, connect))
        yield Result("streams of 10 MB", attempt(_large_streams, connect))
        yield from _go_cases(port)
        kill = Killing(servers[0].kill)
        yield Result("calls while one of two servers is killed", attempt(kill.under_load, connect), kill.calls)
        yield Result(f"{CALLS_AFTER} calls after one of two servers was killed", attempt(_many, connect))
        revived = exits.enter_context(wire_server(setting, *limit, "--address", f"127.0.0.1:{ports['first']}"))
        revived.port()
        again = Killing(revived.kill)
        retrying = connector(setting, port, LIMIT_BYTES, service_config=RETRY)
        name = "calls of a channel with a retry policy while one of two servers is killed"
        yield Result(name, attempt(again.without_a_loss, retrying), again.calls)


def _go_cases(port: int) -> Iterator[Result]:
    """The same by grpc-go's client, where there is Go."""
    try:
        client = tools.grpc_go_client()
    except tools.UnavailableError:
        return
    for case in GO_CLIENT_CASES:
        if case != "pick_first_unary":  # which wants one server to answer all
            command = [client, "-server_host=127.0.0.1", f"-server_port={port}", f"-test_case={case}"]
            done = tools.run_program(command, 60)
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            yield Result(f"grpc-go's {case}", said[-1] if done.returncode else None)


async def _large_unary(connect: Connect) -> None:
    async with connect() as channel:
        await unary(GrpcTestingStub(channel), MESSAGE_BYTES, MESSAGE_BYTES)


async def _large_streams(connect: Connect) -> None:
    async with connect() as channel:
        request = outputs(MESSAGE_BYTES, request_size=MESSAGE_BYTES)
        call = GrpcTestingStub(channel).full_duplex_call([request, request])
        sizes = [len(response.payload.body) async for response in call if response.payload is not None]
        assert sizes == [MESSAGE_BYTES] * 2


class Killing:
    """Calls through a proxy, and a server behind it that is killed while they go on."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self.calls = 0
        self.lost: list[wire.RpcError] = []

    async def under_load(self, connect: Connect) -> None:
        """A proxy sends elsewhere what a server cannot have seen, and nothing that it may have: so each caller loses
        the call at most that it has on the server when that goes, and is told UNAVAILABLE."""
        await self._load(connect)
        assert len(self.lost) <= CALLERS, f"{len(self.lost)} of {self.calls} calls were lost: {self._why()}"
        for error in self.lost:
            assert error.code is wire.StatusCode.UNAVAILABLE, str(error)

    async def without_a_loss(self, connect: Connect) -> None:
        await self._load(connect)
        assert not self.lost, f"{len(self.lost)} of {self.calls} calls were lost: {self._why()}"

    def _why(self) -> str:
        """What they were told, and how many of them."""
        return "; ".join(f"{count} × {said}" for said, count in Counter(map(str, self.lost)).items())

    async def _load(self, connect: Connect) -> None:
        async with connect() as channel, anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(self._call_on, GrpcTestingStub(channel))

    async def _call_on(self, stub: GrpcTestingStub) -> None:
        while self.calls < 2 * CALLS_BEFORE:
            self.calls += 1
            if self.calls == CALLS_BEFORE:
                await anyio.to_thread.run_sync(self._kill)
            try:
                await unary(stub, 100, 100)
            except wire.RpcError as error:
                self.lost.append(error)


async def _many(connect: Connect) -> None:
    """Calls that begin after a server is gone are answered by the other."""
    async with connect() as channel:
        for _ in range(CALLS_AFTER):
            await unary(GrpcTestingStub(channel), 100, 100)
            await anyio.sleep(0)
