"""Calls without a stub, and what single calls may be told."""

from __future__ import annotations

from typing import Any

import pytest

import wire
from proto.echo.v1 import EchoRequest
from tests.peers import RawPeer, answered, reply
from tests.support import Probe, ProbeStub, collect, on_pair, run, serving
from wire import StatusCode
from wire.http2.codes import FrameType
from wire.rpc.framing import frame as framed
from wire.transport.runtime import LoopName

UPPER = wire.Codec(str, lambda text: text.upper().encode(), lambda data: data.decode().lower())


def test_all_kinds_by_path_with_codecs_of_ones_own(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address) as channel:
            unary = channel.unary_unary("/probe.v1.Probe/Unary", request=UPPER, response=bytes)
            assert await unary("x", timeout=5) == b"X"
            responses = channel.unary_stream("/probe.v1.Probe/ServerStream", request=bytes, response=UPPER)
            assert await collect(responses(b"AB")) == ["a", "b"]
            requests = channel.stream_unary("/probe.v1.Probe/ClientStream", request=UPPER, response=bytes)
            assert await requests(["a", "b"]) == b"AB"
            both = channel.stream_stream("/probe.v1.Probe/Bidi", request=UPPER, response=UPPER)
            assert await collect(both(["a", "b"])) == ["a", "b"]

    run(main, loop=loop)


def test_message_classes_of_both_libraries_are_taken() -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")

    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address) as channel:
            google = channel.unary_unary("/probe.v1.Probe/Unary", wrappers.BytesValue, EchoRequest)
            assert await google(wrappers.BytesValue(value=b"x")) == EchoRequest(payload=b"x")

    run(main)


@pytest.mark.parametrize("path", ["", "/", "pkg.Service/Method", "/pkg.Service/", "/pkg.Service/a b", "/ü/x"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(wire.ServiceError, match="is not a path of a method"):
        wire.Channel("127.0.0.1:1").unary_unary(path, bytes, bytes)


def test_a_path_that_nobody_serves_is_unimplemented(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address) as channel:
            with pytest.raises(wire.RpcError) as caught:
                await channel.unary_unary("/any.Service/Method", bytes, bytes)(b"")
            assert caught.value.code is StatusCode.UNIMPLEMENTED

    run(main, loop=loop)


# Compression of single calls.


@pytest.mark.parametrize("method", ["unary", "server_stream", "client_stream", "bidi"])
def test_one_call_may_be_compressed(method: str) -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        message: Any = bytes(100) if method in {"unary", "server_stream"} else [bytes(100)]
        for stream_id, compression in ((3, "gzip"), (5, None), (7, "gzip")):
            call = getattr(stub, method)(message, compression=compression)
            await peer.until(FrameType.HEADERS, stream_id)
            answer = await peer.answer(stream_id)
            assert dict(answer.headers or ()).get(b"grpc-encoding") == (compression and b"gzip")
            assert answer.data[0] == (compression is not None)
            assert (answer.data == framed(bytes(100))) == (compression is None)
            await reply(peer, stream_id, b"")
            await (call if method in {"unary", "client_stream"} else collect(call))

    answered(test)


def test_one_call_may_go_as_it_is_on_a_channel_that_compresses() -> None:
    async def test(stub: ProbeStub, peer: RawPeer) -> None:
        call = stub.unary(b"x", compression="identity")
        answer = await peer.answer(3)
        assert b"grpc-encoding" not in dict(answer.headers or ())
        assert answer.data == framed(b"x")
        await reply(peer, 3, b"")
        await call

    answered(test, calls=wire.CallConfig(compression="gzip"))


def test_a_compression_that_is_none_is_refused() -> None:
    async def test(pair: Any) -> None:
        with pytest.raises(wire.ConfigurationError, match='no compression is called "rot13"'):
            pair.stub.unary(b"", compression="rot13")

    on_pair(test)


def test_compressed_calls_arrive(loop: LoopName) -> None:
    async def test(pair: Any) -> None:
        assert await pair.stub.unary(bytes(1000), compression="deflate") == bytes(1000)
        assert await collect(pair.stub.bidi([b"1", bytes(1000)], compression="gzip")) == [b"1", bytes(1000)]

    on_pair(test, Probe(), loop=loop)
