"""Services as plain data: names, message types, stubs and servicers that fit them."""

from __future__ import annotations

from typing import Any

import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from tests.support import PROBE_SERVICE, UNARY, Probe, ProbeStub, paired, run
from wire.errors import ServiceError

KINDS = [wire.UnaryUnary, wire.UnaryStream, wire.StreamUnary, wire.StreamStream]


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_gets_its_path_from_its_service(kind: Any) -> None:
    method = kind("Say", EchoRequest, EchoResponse)
    assert method.path is None
    assert repr(method) == f"{kind.__name__}(Say)"
    service = wire.Service("echo.v1.Other", [method])
    assert service.methods == (method,)
    assert method.path == "/echo.v1.Other/Say"
    assert repr(method) == f"{kind.__name__}(/echo.v1.Other/Say)"
    assert repr(service) == "Service(echo.v1.Other)"


@pytest.mark.parametrize(
    ("kind", "requests", "responses"),
    list(zip(KINDS, [False, False, True, True], [False, True, False, True], strict=True)),
)
def test_a_kind_says_what_it_streams(kind: Any, requests: bool, responses: bool) -> None:
    assert (kind.streams_requests, kind.streams_responses) == (requests, responses)


@pytest.mark.parametrize("name", ["", "a b", "1a", "a/b", "a.b", "ü"])
def test_a_method_has_an_identifier_for_a_name(name: str) -> None:
    with pytest.raises(ServiceError):
        wire.UnaryUnary(name, bytes, bytes)


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "a/b", "a b", "1.a"])
def test_a_service_has_a_dotted_name(name: str) -> None:
    with pytest.raises(ServiceError):
        wire.Service(name, ())


@pytest.mark.parametrize("message", [str, dict, 5, None])
def test_a_message_type_must_have_a_codec(message: Any) -> None:
    with pytest.raises(ServiceError):
        wire.UnaryUnary("M", message, bytes)


def test_names_are_used_once() -> None:
    with pytest.raises(ServiceError, match="same name"):
        wire.Service("s", [wire.UnaryUnary("M", bytes, bytes), wire.UnaryStream("M", bytes, bytes)])
    with pytest.raises(ServiceError, match="another service"):
        wire.Service("s", [UNARY])


def test_a_codec_of_ones_own_will_do() -> None:
    class Text(wire.Codec[str]):
        def __init__(self) -> None:
            super().__init__(str)
            self.encode = lambda message: message.encode()
            self.decode = lambda data: data.decode()

    method = wire.UnaryUnary("Unary", Text(), Text())
    wire.Service("probe.v1.Probe", [method])

    class TextStub(wire.Stub):
        service = PROBE_SERVICE
        unary = method

    async def main() -> None:
        async with paired() as pair:
            assert await TextStub(pair.channel).unary("grün") == "grün"

    run(main)


def test_a_method_read_from_the_class_is_the_description() -> None:
    assert ProbeStub.unary is UNARY


def test_a_method_of_no_service_cannot_be_called() -> None:
    class Loose(wire.Stub):
        say = wire.UnaryUnary("Say", bytes, bytes)

    async def main() -> None:
        async with paired() as pair:
            with pytest.raises(ServiceError, match="belongs to no service"):
                Loose(pair.channel)

    run(main)


def test_stubs_inherit_their_methods() -> None:
    class More(ProbeStub):
        pass

    async def main() -> None:
        async with paired() as pair:
            assert await More(pair.channel).unary(b"x") == b"x"

    run(main)


def test_servicers_must_fit_their_service() -> None:
    class NoService(wire.Servicer):
        pass

    with pytest.raises(ServiceError, match="names no service"):
        wire.Server([NoService()])
    with pytest.raises(ServiceError, match="cannot be called"):
        wire.Server([Probe(unary=5)])  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="two servicers"):
        wire.Server([Probe(), Probe()])


def test_a_method_without_a_handler_is_unimplemented() -> None:
    class Partial(wire.Servicer):
        service = PROBE_SERVICE

        def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
            return request

    async def main() -> None:
        async with paired(Partial()) as pair:
            assert await pair.stub.unary(b"x") == b"x"
            with pytest.raises(wire.RpcError, match="UNIMPLEMENTED"):
                await pair.stub.client_stream([])

    run(main)
