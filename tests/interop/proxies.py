"""nginx and Envoy between a client and two wire servers, of which one is killed. Suites for `run`; h2c alone.

Imports `wire` and `suites`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio

from tests.interop import tools
from tests.interop.cases import Connect, outputs, unary
from tests.interop.grpc_testing import GrpcTestingStub
from tests.interop.suites import GO_CLIENT_CASES, Result, Setting, attempt, client_cases, connector, wire_server

MESSAGE_BYTES = 10_000_000
LIMIT_BYTES = 1 << 24
CALLS_AFTER = 200

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
                  retry_policy: {{retry_on: "connect-failure,refused-stream"}}
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: servers
    type: STATIC
    lb_policy: ROUND_ROBIN
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
        config.write_text(text.format(folder=folder, **ports))
        exits.enter_context(tools.running([*command, str(config)], asked=False)).listens(port)
        yield from client_cases(setting, port)
        connect = connector(setting, port, LIMIT_BYTES)
        yield Result("unary of 10 MB", attempt(_large_unary, connect))
        yield Result("streams of 10 MB", attempt(_large_streams, connect))
        yield from _go_cases(port)
        servers[0].kill()
        yield Result(f"{CALLS_AFTER} calls after one of two servers was killed", attempt(_many, connect))


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


async def _many(connect: Connect) -> None:
    """Calls that begin after a server is gone are answered by the other."""
    async with connect() as channel:
        for _ in range(CALLS_AFTER):
            await unary(GrpcTestingStub(channel), 100, 100)
            await anyio.sleep(0)
