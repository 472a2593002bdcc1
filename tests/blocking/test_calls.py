"""Calls of the four kinds by threads: what they return and raise, how they end."""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

import wire
from tests.blocking.support import serving, status_of, threads, tied
from tests.certificates import Certificates
from tests.leftovers import gone
from tests.support import TIMEOUT_S, Probe, ProbeStub
from wire import StatusCode
from wire.config import EngineName


def test_the_four_kinds(engine: EngineName) -> None:
    with tied(config=wire.ChannelConfig(engine=engine)) as pair:
        stub = pair.stub
        assert stub.unary(b"one", timeout=TIMEOUT_S) == b"one"
        assert list(stub.server_stream(b"abc")) == [b"a", b"b", b"c"]
        assert stub.client_stream([b"a", b"b"]) == b"ab"
        assert stub.client_stream(each for each in [b"a", b"b"]) == b"ab"
        assert list(stub.bidi([b"a", b"b"])) == [b"a", b"b"]
        assert list(stub.bidi(iter([b"a", b"b"]))) == [b"a", b"b"]


def test_a_conversation_message_by_message() -> None:
    with tied() as pair, pair.stub.bidi() as call:
        for number in range(3):
            call.send(b"%d" % number)
            assert call.recv() == b"%d" % number
        call.end()
        assert call.recv() is None
        assert call.code is StatusCode.OK
        with pytest.raises(wire.UsageError, match="already ended"):
            call.send(b"more")


def test_requests_may_depend_on_responses() -> None:
    """An iterator of requests is asked in a thread of its own."""
    answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def requests() -> Iterator[bytes]:
        yield b"first"
        while (answer := answers.get(timeout=TIMEOUT_S)) is not None:
            yield answer + b"!"

    seen = []
    with tied() as pair:
        for response in pair.stub.bidi(requests()):
            seen.append(response)
            answers.put(response if len(seen) < 3 else None)
    assert seen == [b"first", b"first!", b"first!!"]


def test_an_iterator_of_requests_that_raises_ends_the_call() -> None:
    def requests() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("no more")

    with tied() as pair:
        code, text = status_of(pair.stub.client_stream, requests())
        assert (code, text) == (StatusCode.CANCELLED, "the iterator of requests raised ValueError: no more")


def test_a_call_that_ends_while_its_requests_are_waited_for() -> None:
    wanted = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"first"
        wanted.wait(TIMEOUT_S)

    async def refuse(requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.FAILED_PRECONDITION, "not now")

    with tied(Probe(ClientStream=refuse)) as pair:
        assert status_of(pair.stub.client_stream, requests()) == (StatusCode.FAILED_PRECONDITION, "not now")
        wanted.set()


def test_metadata_both_ways() -> None:
    async def answer(request: bytes, context: wire.ServerContext) -> bytes:
        context.send_initial_metadata({"first": str(context.metadata["key"])})
        context.set_trailing_metadata({"last-bin": b"\1"})
        return request

    with tied(Probe(Unary=answer, ClientStream=lambda requests, context: answer(b"x", context))) as pair:
        for response, call in (
            pair.stub.unary.with_call(b"x", metadata={"key": "value"}),
            pair.stub.client_stream.with_call([b"x"], metadata={"key": "value"}),
        ):
            assert response == b"x"
            assert call.code is StatusCode.OK
            assert call.initial_metadata == wire.Metadata({"first": "value"})
            assert call.trailing_metadata == wire.Metadata({"last-bin": b"\1"})
        with pytest.raises(wire.MetadataError):
            pair.stub.unary(b"x", metadata={"key": "\n"})
        assert pair.stub.unary(b"x", metadata={"key": "value"}) == b"x"


def test_initial_metadata_before_the_first_response() -> None:
    async def wait(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        context.send_initial_metadata({"first": "value"})
        await anyio.sleep_forever()
        yield b""

    with tied(Probe(ServerStream=wait)) as pair, pair.stub.server_stream(b"x") as call:
        assert call.read_initial_metadata() == wire.Metadata({"first": "value"})
    assert call.code is StatusCode.CANCELLED


def test_errors_are_those_of_other_channels() -> None:
    async def refuse(request: bytes, context: wire.ServerContext) -> bytes:
        raise wire.RpcError(StatusCode.NOT_FOUND, "no such thing", trailing_metadata=wire.Metadata({"why": "gone"}))

    with tied(Probe(Unary=refuse), config=wire.ChannelConfig()) as pair:
        with pytest.raises(wire.CallError) as caught:
            pair.stub.unary(b"x")
        assert (caught.value.code, caught.value.message) == (StatusCode.NOT_FOUND, "no such thing")
        assert caught.value.trailing_metadata == wire.Metadata({"why": "gone"})
        with pytest.raises(wire.EncodeError):
            pair.stub.unary("text")  # type: ignore[arg-type]
        with pytest.raises(wire.ConfigurationError):
            pair.stub.unary(b"x", timeout=float("nan"))


@pytest.mark.parametrize("method", ["unary", "server_stream", "client_stream", "bidi"])
def test_a_deadline_ends_a_call(method: str) -> None:
    async def hang(request: object, context: wire.ServerContext) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    async def hang_streaming(request: object, context: wire.ServerContext) -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""

    servicer = Probe(Unary=hang, ServerStream=hang_streaming, ClientStream=hang, Bidi=hang_streaming)
    with tied(servicer) as pair:
        stub = pair.stub
        calls = {
            "unary": lambda: stub.unary(b"x", timeout=0.02),
            "server_stream": lambda: list(stub.server_stream(b"x", timeout=0.02)),
            "client_stream": lambda: stub.client_stream([b"x"], timeout=0.02),
            "bidi": lambda: list(stub.bidi([b"x"], timeout=0.02)),
        }
        assert status_of(calls[method])[0] is StatusCode.DEADLINE_EXCEEDED
        assert stub.channel.pool.queue == {}


def test_a_stream_can_be_cancelled_by_another_thread() -> None:
    async def hang(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        yield b"begun"
        await anyio.sleep_forever()

    with tied(Probe(ServerStream=hang)) as pair, threads() as others:
        call = pair.stub.server_stream(b"x")
        assert next(call) == b"begun"
        others.start(call.cancel)
        assert status_of(next, call) == (StatusCode.CANCELLED, "the call was cancelled")
        call.cancel()  # no effect


def test_a_started_call_can_be_waited_for_and_cancelled() -> None:
    release = threading.Event()

    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"wait":
            await anyio.to_thread.run_sync(release.wait)
        return request

    told: queue.SimpleQueue[wire.StatusCode | None] = queue.SimpleQueue()
    with tied(Probe(Unary=slow)) as pair, threads() as others:
        call = pair.stub.unary.start(b"wait")
        call.add_done_callback(lambda call: told.put(call.code))
        assert not call.done()
        with pytest.raises(TimeoutError):
            call.result(timeout=0.01)
        results: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for _ in range(2):
            others.start(lambda: results.put(call.result()))
        release.set()
        assert [results.get(timeout=TIMEOUT_S) for _ in range(2)] == [b"wait", b"wait"]
        assert told.get(timeout=TIMEOUT_S) is StatusCode.OK
        assert call.done()
        call.add_done_callback(lambda call: told.put(call.code))
        assert told.get(timeout=TIMEOUT_S) is StatusCode.OK

        release.clear()
        call = pair.stub.unary.start(b"wait")
        call.add_done_callback(lambda call: told.put(call.code))
        call.cancel()
        assert told.get(timeout=TIMEOUT_S) is StatusCode.CANCELLED
        assert status_of(call.result)[0] is StatusCode.CANCELLED
        release.set()


def test_a_started_call_ends_although_nobody_waits() -> None:
    told = threading.Event()
    with tied() as pair:
        call = pair.stub.unary.start(b"x")
        call.add_done_callback(lambda call: told.set())
        assert told.wait(TIMEOUT_S)
        assert call.result() == b"x"


def test_a_call_that_streams_tells_of_its_end_too() -> None:
    told: queue.SimpleQueue[wire.StatusCode | None] = queue.SimpleQueue()
    with tied() as pair:
        call = pair.stub.server_stream(b"abc")
        call.add_done_callback(lambda call: told.put(call.code))
        assert told.get(timeout=TIMEOUT_S) is StatusCode.OK
        assert list(call) == [b"a", b"b", b"c"]
        call.add_done_callback(lambda call: told.put(call.code))
        assert told.get(timeout=TIMEOUT_S) is StatusCode.OK


def test_calls_are_retried_as_a_service_config_says() -> None:
    failures = 4

    def fails(request: bytes, context: wire.ServerContext) -> bytes:
        nonlocal failures
        failures -= 1
        if failures % 2:
            raise wire.RpcError(StatusCode.UNAVAILABLE)
        return request

    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.001s",
        "maxBackoff": "0.001s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    service_config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    with (
        tied(Probe(Unary=fails)) as pair,
        wire.blocking.Channel(pair.served.address, service_config=service_config) as channel,
    ):
        assert ProbeStub(channel).unary(b"x") == b"x"
        assert ProbeStub(channel).unary(b"y", compression="gzip") == b"y"
    assert failures == 0


def test_a_call_that_is_let_go_of_is_cancelled() -> None:
    ended = threading.Event()

    async def hang(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        try:
            yield b"begun"
            await anyio.sleep_forever()
        finally:
            ended.set()

    with tied(Probe(ServerStream=hang)) as pair:
        call = pair.stub.server_stream(b"x")
        assert next(call) == b"begun"
        with pytest.warns(ResourceWarning, match="abandoned"), gone():
            del call
        assert ended.wait(TIMEOUT_S)


def test_messages_larger_than_windows_both_ways() -> None:
    big = bytes(3_000_000)
    with tied() as pair:
        assert pair.stub.unary(big) == big
        assert list(pair.stub.bidi([big, big])) == [big, big]
        with pair.stub.bidi() as call:
            call.send(big)
            assert call.recv() == big


def test_a_response_over_the_limit() -> None:
    config = wire.ChannelConfig(calls=wire.CallConfig(max_receive_message_bytes=10, max_send_message_bytes=20))
    with tied(config=config) as pair:
        assert status_of(pair.stub.unary, bytes(11))[0] is StatusCode.RESOURCE_EXHAUSTED
        assert status_of(pair.stub.unary, bytes(21))[0] is StatusCode.RESOURCE_EXHAUSTED
        assert pair.stub.unary(bytes(10)) == bytes(10)


def test_over_tls(certificates: Certificates) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key)
    with tied(tls=wire.ClientTls(certificates.ca), server_tls=tls) as pair:
        assert pair.stub.unary(b"x") == b"x"
        big = bytes(1_000_000)
        assert list(pair.stub.bidi([big, b"x"])) == [big, b"x"]


def test_interceptors_stand_in_front_of_every_kind() -> None:
    paths = []

    def tell(method: wire.Method, start: wire.StartCall) -> wire.StartCall:  # type: ignore[type-arg]
        def intercepted(request: object, **options: object) -> object:
            paths.append(method.name)
            return start(request, **options)

        return intercepted

    with tied() as pair, wire.blocking.Channel(pair.served.address, interceptors=[tell]) as channel:
        stub = ProbeStub(channel)
        assert stub.unary(b"x") == b"x"
        assert stub.unary.with_call(b"x")[0] == b"x"
        assert list(stub.server_stream(b"x")) == [b"x"]
        assert stub.client_stream([b"x"]) == b"x"
        assert list(stub.bidi([b"x"])) == [b"x"]
    assert paths == ["Unary", "Unary", "ServerStream", "ClientStream", "Bidi"]


def test_calls_by_path() -> None:
    with tied() as pair:
        channel = pair.channel
        assert channel.unary_unary("/probe.v1.Probe/Unary", bytes, bytes)(b"x") == b"x"
        assert list(channel.unary_stream("/probe.v1.Probe/ServerStream", bytes, bytes)(b"xy")) == [b"x", b"y"]
        assert channel.stream_unary("/probe.v1.Probe/ClientStream", bytes, bytes)([b"x", b"y"]) == b"xy"
        assert list(channel.stream_stream("/probe.v1.Probe/Bidi", bytes, bytes)([b"x"])) == [b"x"]
        assert status_of(channel.unary_unary("/probe.v1.Probe/Nothing", bytes, bytes), b"")[0] is (
            StatusCode.UNIMPLEMENTED
        )


def test_compression_of_one_call() -> None:
    with tied() as pair:
        big = bytes(100_000)
        assert pair.stub.unary(big, compression="gzip") == big
        assert list(pair.stub.bidi([big], compression="deflate")) == [big]
        assert pair.stub.unary(b"x") == b"x"


def test_credentials_are_asked_in_the_thread_that_calls(certificates: Certificates) -> None:
    asked = []

    def tell(request: bytes, context: wire.ServerContext) -> bytes:
        return " ".join(str(context.metadata.get(key)) for key in ("token", "more")).encode()

    def token(call: Any) -> wire.MetadataInput:
        asked.append((threading.get_ident(), call.method))
        return {"token": "secret"}

    def fails(call: Any) -> wire.MetadataInput:
        raise ValueError("no token")

    tls = wire.ServerTls(certificates.server, certificates.server_key)
    client_tls = wire.ClientTls(certificates.ca)
    with (
        serving(Probe(Unary=tell), tls=tls) as served,
        wire.blocking.Channel(served.address, tls=client_tls, credentials=token) as channel,
    ):
        stub = ProbeStub(channel)
        assert stub.unary(b"", credentials=lambda call: {"more": "yes"}) == b"secret yes"
        assert stub.unary(b"", metadata={"more": "own"}) == b"secret own"
        assert asked == [(threading.get_ident(), "/probe.v1.Probe/Unary")] * 2
        assert status_of(stub.unary, b"", credentials=fails) == (
            StatusCode.UNAVAILABLE,
            "the call credentials failed: ValueError: no token",
        )
    with pytest.raises(wire.ConfigurationError, match="in the clear"):
        wire.blocking.Channel("127.0.0.1:1", credentials=token)


def test_the_end_of_a_stream_is_told_to_callbacks() -> None:
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    with tied() as pair:
        call = pair.stub.server_stream(b"xy")
        call.add_done_callback(lambda call: told.put((call, call.code)))
        assert told.get(timeout=TIMEOUT_S) == (call, StatusCode.OK)  # although nobody has taken a response
        assert list(call) == [b"x", b"y"]
