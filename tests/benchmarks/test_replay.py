"""Prebuilt requests are what a gRPC client sends, and are counted by the replies that end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hpack import Decoder

from benchmarks.frames import Varying, request_bytes, unary_requests
from benchmarks.processes import UnavailableError
from benchmarks.replay import Connection, replay
from proto.echo.v1 import EchoRequest
from tests.bin.programs import ServerProcess

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEADERS_OF_STREAM_1 = b"\1\4\0\0\0\1"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ServerProcess("--listen", "127.0.0.1:0", "--rsa-bits", "none") as server:
        yield server.address.removeprefix("ipv4:")


@contextmanager
def answering(reply: bytes) -> Iterator[str]:
    """A server that answers the first request with `reply`, and ends its side."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(SETTINGS)
                received = b""
                while HEADERS_OF_STREAM_1 not in received:
                    received += connection.recv(1 << 16)
                connection.sendall(reply)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def blocks_and_messages(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The header block and the DATA of each request."""
    while data:
        sizes = int.from_bytes(data[:3], "big")
        block, data = data[9 : 9 + sizes], data[9 + sizes :]
        sizes = int.from_bytes(data[:3], "big")
        yield block, data[9 : 9 + sizes]
        data = data[9 + sizes :]


@pytest.mark.parametrize("varying", Varying)
def test_requests_decode_in_order_to_the_same_call_with_their_timeouts(varying: Varying) -> None:
    decoder = Decoder()
    timeouts = []
    for block, data in blocks_and_messages(unary_requests(varying, 300, payload_bytes=200).blob):
        fields: dict[Any, Any] = dict(decoder.decode(block))
        assert fields[":path"] == "/echo.v1.EchoService/Echo"
        assert fields["te"] == "trailers"
        timeouts.append(fields["grpc-timeout"])
        assert data[0] == 0
        assert len(data) == 5 + int.from_bytes(data[1:5], "big")
        assert EchoRequest.parse(data[5:]) == EchoRequest(payload=bytes(200))
    assert len(timeouts) == 300
    assert len(set(timeouts)) == (1 if varying is Varying.SAME else 300)


def test_only_inserted_timeouts_reach_the_dynamic_table() -> None:
    sizes = {}
    for varying in Varying:
        decoder = Decoder()
        for block, _ in blocks_and_messages(unary_requests(varying, 20).blob):
            decoder.decode(block)
        sizes[varying] = sum(name == b"grpc-timeout" for name, _ in decoder.header_table.dynamic_entries)
    assert sizes == {Varying.SAME: 1, Varying.LITERAL: 0, Varying.INSERTED: 20}


def test_one_request_is_as_long_as_a_later_one_of_many() -> None:
    requests = unary_requests(Varying.SAME, 10)
    indexed_timeout_bytes = 1
    assert len(request_bytes(16)) == requests.ends[-1] - requests.ends[-2] - indexed_timeout_bytes


@pytest.mark.parametrize("varying", Varying)
def test_every_request_is_answered_by_a_server(address: str, varying: Varying) -> None:
    assert replay(address, unary_requests(varying, 500), in_flight=20) > 0


def test_streams_stay_open(address: str) -> None:
    connection = Connection(address)
    connection.open_streams(50, "/echo.v1.EchoService/EchoStream")
    connection.close()


def test_a_server_that_closes_is_an_error() -> None:
    with answering(b"") as address, pytest.raises(UnavailableError, match="closed a connection"):
        replay(address, unary_requests(Varying.SAME, 1), in_flight=1)


def test_a_reset_is_an_error() -> None:
    reset = b"\0\0\4\3\0\0\0\0\1\0\0\0\7"
    with answering(reset) as address, pytest.raises(UnavailableError, match="RST_STREAM"):
        replay(address, unary_requests(Varying.SAME, 1), in_flight=1)


def test_replies_too_short_for_echoes_are_an_error() -> None:
    trailers_only = b"\0\0\1\1\5\0\0\0\1\x88"
    with answering(trailers_only) as address, pytest.raises(UnavailableError, match="no echoes"):
        replay(address, unary_requests(Varying.SAME, 1), in_flight=1)
