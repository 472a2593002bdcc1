"""What a handler may say of its call beside returning: sending, ending, compression; and handlers of any path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import wire
from tests.certificates import Certificates
from tests.peers import ask_once, request
from tests.support import LOCAL, Pair, Probe, ProbeStub, collect, on_pair, run, serving, status_of
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName


def test_a_stream_may_be_ended_well_with_a_message() -> None:
    async def handler(request: bytes, context: ServerContext) -> tuple[()]:
        await context.send(b"one")
        context.end(StatusCode.OK, "all of it")
        return ()

    async def test(pair: Pair) -> None:
        call = pair.stub.server_stream(b"")
        assert await collect(call) == [b"one"]
        assert (call.code, call.message) == (StatusCode.OK, "all of it")

    on_pair(test, Probe(ServerStream=handler))


@pytest.mark.parametrize("accepted", [True, False])
def test_a_handler_chooses_how_its_responses_are_compressed(accepted: bool) -> None:
    async def handler(request: bytes, context: ServerContext) -> tuple[()]:
        context.set_compression("gzip")
        await context.send(b"x" * 1000)
        await context.send(b"y" * 1000, compress=False)
        with pytest.raises(wire.UsageError, match="compression is chosen before"):
            context.set_compression(None)
        return ()

    extra = [(b"grpc-accept-encoding", b"identity, gzip")] if accepted else []
    answer = ask_once(framed(b""), Probe(ServerStream=handler), fields=request("ServerStream", *extra))
    assert dict(answer.headers).get(b"grpc-encoding") == (b"gzip" if accepted else None)
    assert answer.data[0] == accepted
    first = 5 + int.from_bytes(answer.data[1:5], "big")
    assert (first < 1005) == accepted
    assert answer.data[first:] == framed(b"y" * 1000)


def test_a_handler_may_leave_its_responses_plain() -> None:
    def handler(request: bytes, context: ServerContext) -> bytes:
        context.set_compression(None)
        return b"x" * 1000

    fields = request("Unary", (b"grpc-accept-encoding", b"gzip"))
    answer = ask_once(framed(b""), Probe(Unary=handler), fields=fields, calls=wire.CallConfig(compression="gzip"))
    assert b"grpc-encoding" not in dict(answer.headers)
    assert answer.data == framed(b"x" * 1000)


def test_an_encoding_that_is_not_here_is_refused() -> None:
    def handler(request: bytes, context: ServerContext) -> bytes:
        with pytest.raises(wire.ConfigurationError, match="snappy"):
            context.set_compression("snappy")  # type: ignore[arg-type]
        return b""

    async def test(pair: Pair) -> None:
        assert await pair.stub.unary(b"") == b""

    on_pair(test, Probe(Unary=handler))


def test_a_fallback_answers_every_path_that_no_servicer_has(loop: LoopName, engine: EngineName) -> None:
    async def fallback(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            yield context.method.encode() + b" " + each

    class Elsewhere(wire.Stub):
        service = wire.Service(
            "else.Where", [one := wire.UnaryUnary("One", bytes, bytes), many := wire.StreamStream("Many", bytes, bytes)]
        )
        one = one
        many = many

    async def test() -> None:
        config = wire.ServerConfig(engine=engine)
        async with (
            wire.Server([Probe()], config=config, fallback=fallback) as server,
            wire.Channel(await server.listen(LOCAL)) as channel,
        ):
            assert await ProbeStub(channel).unary(b"x") == b"x"
            assert await Elsewhere(channel).one(b"x") == b"/else.Where/One x"
            many = Elsewhere(channel).many([b"1", b"2"])
            assert await collect(many) == [b"/else.Where/Many 1", b"/else.Where/Many 2"]

    run(test, loop=loop)


def test_interceptors_stand_in_front_of_the_fallback() -> None:
    def refuse(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: Any, context: ServerContext) -> Any:
            raise wire.RpcError(StatusCode.PERMISSION_DENIED, context.method)

        return intercepted if method.path == "*" else handler

    async def fallback(requests: AsyncIterator[bytes], context: ServerContext) -> tuple[()]:
        return ()

    async def test() -> None:
        async with (
            wire.Server([Probe()], interceptors=[refuse], fallback=fallback) as server,
            wire.Channel(await server.listen(LOCAL)) as channel,
        ):
            assert await ProbeStub(channel).unary(b"x") == b"x"
            stub = type("Stub", (wire.Stub,), {"one": _elsewhere()})(channel)
            assert await status_of(stub.one(b"")) == (StatusCode.PERMISSION_DENIED, "/some.Where/One")

    run(test)


def _elsewhere() -> wire.UnaryUnary[bytes, bytes]:
    method = wire.UnaryUnary("One", bytes, bytes)
    wire.Service("some.Where", [method])
    return method


def test_a_socket_is_bound_without_an_event_loop_and_each_has_its_own_security(certificates: Certificates) -> None:
    plain, secure = wire.bind(LOCAL), wire.bind(LOCAL)
    tls = wire.ServerTls(certificates.server, certificates.server_key)

    async def test() -> None:
        async with wire.Server([Probe()], tls=tls) as server:
            server.serve(plain, tls=False)
            server.serve(secure)
            other = await server.listen(LOCAL, tls=wire.ServerTls(certificates.server, certificates.server_key))
            targets = [f"127.0.0.1:{sock.getsockname()[1]}" for sock in (plain, secure)]
            trust = wire.ClientTls(certificates.ca)
            for target, client_tls in ((targets[0], None), (targets[1], trust), (other, trust)):
                async with wire.Channel(target, tls=client_tls) as channel:
                    assert await ProbeStub(channel).unary(b"x") == b"x"

    run(test)


def test_certificates_may_be_given_as_bytes(certificates: Certificates) -> None:
    def read(path: Path) -> bytes:
        return path.read_bytes()

    server_tls = wire.ServerTls(read(certificates.server), read(certificates.server_key), read(certificates.ca))
    client_tls = wire.ClientTls(read(certificates.ca), read(certificates.client), read(certificates.client_key))
    assert "PRIVATE KEY" not in repr((server_tls, client_tls))

    async def test() -> None:
        async with serving(tls=server_tls) as (_, address), wire.Channel(address, tls=client_tls) as channel:
            assert await ProbeStub(channel).unary(b"x") == b"x"

    run(test)


def test_bytes_that_are_no_certificate_are_named_without_showing_them() -> None:
    with pytest.raises(wire.TlsError) as caught:
        wire.ClientTls(b"secret")
    assert "secret" not in str(caught.value)


def test_the_context_of_a_call_that_has_ended_says_nothing_more() -> None:
    kept: list[ServerContext] = []

    def handler(request: bytes, context: ServerContext) -> bytes:
        for ended in kept:
            assert ended.done
            ended.send_initial_metadata({"late": "1"})
            ended.set_trailing_metadata({"late": "1"})
            ended.end(StatusCode.ABORTED, "late")
            ended.reset()
            with pytest.raises(wire.RpcError, match="the call has ended"):
                ended.send_last(b"late")
        kept.append(context)
        return request

    async def test(pair: Pair) -> None:
        calls = [pair.stub.unary(b"%d" % number) for number in range(5)]  # which come in one read
        for number, call in enumerate(calls):
            assert await call == b"%d" % number
            assert "late" not in (call.initial_metadata or {})
            assert "late" not in (call.trailing_metadata or {})

    on_pair(test, Probe(Unary=handler))


def test_calls_that_differ_in_their_timeouts_have_deadlines_of_their_own(engine: EngineName) -> None:
    left: list[float | None] = []

    def handler(request: bytes, context: ServerContext) -> bytes:
        left.append(context.time_remaining())
        return b""

    async def test(pair: Pair) -> None:
        for number in range(4):
            await pair.stub.unary(b"", timeout=100 + 100 * number)
        assert left == [pytest.approx(100 + 100 * number, abs=50) for number in range(4)]

    on_pair(test, Probe(Unary=handler), engine=engine)


def test_calls_that_differ_in_metadata_keep_their_own_once_they_have_ended(engine: EngineName) -> None:
    contexts: list[ServerContext] = []

    def handler(request: bytes, context: ServerContext) -> bytes:
        contexts.append(context)
        return b""

    async def test(pair: Pair) -> None:
        for number in range(4):
            await pair.stub.unary(b"", metadata={"token": f"token {number}"})
        assert [context.metadata["token"] for context in contexts] == [f"token {number}" for number in range(4)]

    on_pair(test, Probe(Unary=handler), engine=engine)
