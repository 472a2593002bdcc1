"""The tap between the clients, servers and proxies of others: what passes is whole, and what is told of it right.

Two traces are kept as files that can be read, in `golden/`: grpcio's client and grpc-go's server, nginx and ours.
UPDATE_GOLDEN=1 writes them anew; they are compared where these programs are.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.echo import EchoServicer
from tests.interop import tools
from tests.interop.generated.grpc.testing import Payload, SimpleRequest, SimpleResponse
from tests.interop.grpc_testing import TEST_SERVICE, UNARY_CALL
from tests.interop.proxies import _NGINX
from tests.support import LOCAL, run
from wire.inspect import CallEnded, Frame, RawBytes, Record, Tap, Trace

grpc: Any = pytest.importorskip("grpc", reason="grpcio has no wheels for this interpreter", exc_type=ImportError)

GOLDEN = Path(__file__).parent / "golden"
GO_SERVER = tools.CACHE / f"{tools.GO_SERVER[0].replace('/', '-')}-{tools.GRPC_GO}" / "server"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Bytes in, bytes out, on grpcio's server."""

    def service(self, details: Any) -> Any:
        def fail(request: bytes, context: Any) -> bytes:
            context.abort(grpc.StatusCode.NOT_FOUND, "größer: 世界")
            raise AssertionError

        return {
            "/x.X/Echo": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
            "/x.X/Fail": grpc.unary_unary_rpc_method_handler(fail),
            "/x.X/Split": grpc.unary_stream_rpc_method_handler(lambda request, _: (bytes([each]) for each in request)),
            "/x.X/Join": grpc.stream_unary_rpc_method_handler(lambda requests, _: b"".join(requests)),
            "/x.X/Chat": grpc.stream_stream_rpc_method_handler(lambda requests, _: requests),
        }.get(details.method)


@contextmanager
def grpcio_server() -> Iterator[str]:
    with futures.ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, handlers=[Handlers()], compression=grpc.Compression.Gzip)
        port = server.add_insecure_port(LOCAL)
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


def plain(address: str) -> str:
    return address.removeprefix("ipv4:")


def call_grpcio(address: str) -> None:
    with grpc.insecure_channel(plain(address)) as channel:
        assert channel.unary_unary("/x.X/Echo")(b"hello") == b"hello"
        large = bytes(1_000_000)
        assert channel.unary_unary("/x.X/Echo")(large, compression=grpc.Compression.Gzip) == large
        assert channel.unary_unary("/x.X/Echo")(os.urandom(500_000)) is not None
        assert list(channel.unary_stream("/x.X/Split")(b"abc")) == [b"a", b"b", b"c"]
        assert channel.stream_unary("/x.X/Join")(iter([b"a", b"b"])) == b"ab"
        assert list(channel.stream_stream("/x.X/Chat")(iter([b"a", b"b"]))) == [b"a", b"b"]
        for method, code in [("Fail", grpc.StatusCode.NOT_FOUND), ("None", grpc.StatusCode.UNIMPLEMENTED)]:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/x.X/{method}")(b"x")
            assert caught.value.code() == code


def test_grpcio_to_grpcio_is_whole_and_told_right() -> None:
    records: list[Record] = []

    async def main() -> None:
        with grpcio_server() as target:
            async with Tap(target, trace=Trace(outputs=[records.append])) as tap:
                await anyio.to_thread.run_sync(call_grpcio, await tap.listen(LOCAL))

    run(main)
    calls = [each for each in records if isinstance(each, CallEnded)]
    assert [(each.method.removeprefix("/x.X/"), each.status, each.requests, each.responses) for each in calls] == [
        ("Echo", "OK", 1, 1),
        ("Echo", "OK", 1, 1),
        ("Echo", "OK", 1, 1),
        ("Split", "OK", 1, 3),
        ("Join", "OK", 2, 1),
        ("Chat", "OK", 2, 2),
        ("Fail", "NOT_FOUND", 1, 0),
        ("None", "UNIMPLEMENTED", 1, 0),
    ]
    assert calls[6].status_message == "größer: 世界"
    found = [each for each in records if isinstance(each, Frame)]
    assert not [problem for each in found for problem in each.problems]
    assert not [each for each in records if isinstance(each, RawBytes)]
    messages = [message for each in found for message in each.messages]
    assert {message.plain_bytes for message in messages if message.compressed} >= {1_000_000}
    assert not [message.problem for message in messages if message.problem.startswith("message is not")]
    windows = [each.connection_window_bytes for each in found if each.name == "DATA"]
    assert all(window is not None and window >= 0 for window in windows)


# Files that can be read.


def normalised(text: str) -> str:
    """Without times, ports, versions, and sizes that depend on these."""
    text = re.sub(r"^ *\d+\.\d{6}", "   0.000000", text, flags=re.MULTILINE)
    text = re.sub(r"(HEADERS[A-Z_ ]*), \d+ bytes", r"\1", text)
    text = re.sub(r"  \+\d+\.\d+ ms|  window left: .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\d+\.\d{3} ms", "0.000 ms", text)
    text = re.sub(r"grpc-timeout: .*", "grpc-timeout: …", text)
    text = re.sub(r"user-agent: (\S+?)/.*", r"user-agent: \1/…", text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(normalised(text), encoding="utf-8")
    assert normalised(text) == path.read_text(encoding="utf-8")


@contextmanager
def program(command: list[str], port: int) -> Iterator[None]:
    with tools.running(command, asked=False) as process:
        process.listens(port)
        yield


@asynccontextmanager
async def tapped(target: str, text: io.StringIO, service: wire.Service) -> AsyncIterator[str]:
    async with Tap(target, trace=Trace("frame=HEADERS,DATA,CALL", file=text, services=[service])) as tap:
        yield await tap.listen(LOCAL)


@pytest.mark.skipif(not GO_SERVER.exists(), reason="grpc-go's server is not built (python -m tests.interop.run)")
def test_grpcio_client_and_grpc_go_server() -> None:
    text = io.StringIO()

    def call(address: str) -> None:
        with grpc.insecure_channel(plain(address)) as channel:
            method = channel.unary_unary(
                UNARY_CALL.path, request_serializer=bytes, response_deserializer=SimpleResponse.parse
            )
            request = SimpleRequest(response_size=3, payload=Payload(body=b"hello"))
            reply = method(request, metadata=[("x-api-key", "secret")])
            assert reply.payload is not None
            assert reply.payload.body == bytes(3)
            refused = channel.unary_unary("/grpc.testing.TestService/Nothing")
            with pytest.raises(grpc.RpcError):
                refused(b"")

    async def main() -> None:
        port = tools.free_port()
        with program([str(GO_SERVER), f"-port={port}"], port):
            async with tapped(f"127.0.0.1:{port}", text, TEST_SERVICE) as address:
                await anyio.to_thread.run_sync(call, address)

    run(main)
    check_golden("grpcio-client-grpc-go-server", text.getvalue())


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx)")
def test_nginx_and_our_server(tmp_path: Path) -> None:
    text = io.StringIO()

    async def main() -> None:
        async with wire.Server([EchoServicer()]) as server:
            target = await server.listen(LOCAL)
            async with tapped(target, text, EchoServiceStub.service) as address:
                port, behind = tools.free_port(), address.rpartition(":")[2]
                config = tmp_path / "nginx.conf"
                config.write_text(_NGINX.format(folder=tmp_path, port=port, first=behind, second=behind))
                with ExitStack() as exits:
                    start = program([str(NGINX), "-c", str(config)], port)
                    await anyio.to_thread.run_sync(exits.enter_context, start)
                    async with wire.Channel(f"127.0.0.1:{port}") as channel:
                        reply = await EchoServiceStub(channel).echo(EchoRequest(payload=b"hello"))
                        assert reply.payload == b"hello"
            await server.stop(0)

    run(main)
    check_golden("nginx-wire", text.getvalue())
