"""What one unary exchange costs an HTTP/2 engine by itself, in memory: no sockets, no event loop, no messages.

    python -m benchmarks.engine [--engine tuned|h2]… [--requests N] [--rounds N] [--json FILE]

Server: HEADERS and DATA received, two calls of a sink, `send_reply`, `take`; reads of 100 requests. Client:
`send_request`, `take`, HEADERS, DATA and trailers received. The requests' fields are those of a gRPC call, and their
grpc-timeout is the same in all, differs in each as a literal without indexing, or differs and enters the dynamic
table as grpc-go's encoder does. Prints microseconds an exchange, the least of some rounds."""

from __future__ import annotations

import argparse
import gc
import json
import struct
import time
from collections.abc import Callable
from typing import Any

from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

from wire.config import Http2Config
from wire.http2.codes import PREFACE
from wire.http2.engine import Engine, HeaderList, Stream
from wire.http2.engines import engine_factory

IN_FLIGHT = 100
MESSAGE = b"\0\0\0\0\x12\x0a\x10" + b"x" * 16
REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/echo.v1.EchoService/Echo"),
    (b":authority", b"127.0.0.1:50051"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-go/1.70.0"),
    (b"te", b"trailers"),
)
RESPONSE = HeaderList(((b":status", b"200"), (b"content-type", b"application/grpc")), shared=True)
TRAILERS = HeaderList(((b"grpc-status", b"0"),), shared=True)
CLIENT_REQUEST = HeaderList(REQUEST, shared=True)


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream_id) + payload


class EchoSink:
    """Answers each request with its own bytes; as a client, counts the replies."""

    def __init__(self) -> None:
        self.engine: Engine
        self.replies = 0

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        pass

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.engine.send_reply(stream, RESPONSE, data, TRAILERS)

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        self.replies += 1

    def on_settings(self) -> None:
        pass

    def on_connection_error(self, code: object, reason: str) -> None:
        raise AssertionError(reason)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"unexpected {name}")


def request_reads(timeout: str, requests: int) -> list[bytes]:
    """What a client writes for `requests` calls, in reads of IN_FLIGHT; `timeout`: repeated, literal or inserted."""
    encoder = Encoder()
    reads = [PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, encoder.encode(REQUEST)) + frame(0, 1, 1, MESSAGE)]
    stream_id = 3
    for _ in range(requests // IN_FLIGHT):
        parts = []
        for _ in range(IN_FLIGHT):
            value = b"1S" if timeout == "repeated" else b"%du" % (1_000_000 + stream_id)
            kind = NeverIndexedHeaderTuple if timeout == "literal" else HeaderTuple
            parts.append(frame(1, 4, stream_id, encoder.encode([*REQUEST, kind(b"grpc-timeout", value)])))
            parts.append(frame(0, 1, stream_id, MESSAGE))
            stream_id += 2
        reads.append(b"".join(parts))
    return reads


def time_server(engine_name: Any, timeout: str, requests: int) -> float:
    """Seconds for `requests` exchanges."""
    sink = EchoSink()
    engine = sink.engine = engine_factory(engine_name)(False, sink, Http2Config())
    reads = request_reads(timeout, requests)
    engine.start()
    engine.receive(reads[0], 0.0)
    # The client's windows are as good as endless.
    grant = frame(8, 0, 0, struct.pack(">I", 2**30))
    engine.receive(grant, 0.0)
    engine.take()
    receive, take = engine.receive, engine.take
    started = time.perf_counter()
    for read in reads[1:]:
        more = receive(read, 0.0)
        while more:
            more = receive(b"", 0.0)
        take()
    return time.perf_counter() - started


def time_client(engine_name: Any, timeout: str, requests: int) -> float:
    """Seconds for `requests` calls, without those of the tuned engine that answers them."""
    sink, peer_sink = EchoSink(), EchoSink()
    client = engine_factory(engine_name)(True, sink, Http2Config())
    server = peer_sink.engine = engine_factory("tuned")(False, peer_sink, Http2Config())
    client.start()
    server.start()
    server.receive(client.take(), 0.0)
    client.receive(server.take(), 0.0)
    spent = 0.0
    number = 0
    for _ in range(requests // IN_FLIGHT):
        started = time.perf_counter()
        for _ in range(IN_FLIGHT):
            number += 1
            value = b"1S" if timeout == "repeated" else b"%du" % (1_000_000 + number)
            client.send_request(CLIENT_REQUEST, MESSAGE, ((b"grpc-timeout", value),))
        data = client.take()
        spent += time.perf_counter() - started
        while server.receive(data, 0.0):
            data = b""
        data = server.take()
        started = time.perf_counter()
        client.receive(data, 0.0)
        spent += time.perf_counter() - started
    if sink.replies != number:
        raise AssertionError(f"{sink.replies} replies to {number} requests")
    return spent


def least_us(run: Callable[..., float], *args: Any, requests: int, rounds: int) -> float:
    gc.disable()
    try:
        return min(run(*args, requests) for _ in range(rounds)) / requests * 1e6
    finally:
        gc.enable()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", action="append", choices=("tuned", "h2"))
    parser.add_argument("--requests", type=int, default=10_000, help="in a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts (default %(default)s)")
    parser.add_argument("--json", help="write the results to this file too")
    options = parser.parse_args()
    results: dict[str, float] = {}
    for name in options.engine or ("tuned", "h2"):
        for role, run in (("server", time_server), ("client", time_client)):
            for timeout in ("repeated", "literal", "inserted"):
                if role == "client" and timeout == "inserted":
                    continue  # a peer's way of encoding; not one of ours
                key = f"{name} {role}, timeout {timeout}"
                requests = options.requests if name == "tuned" else max(options.requests // 10, IN_FLIGHT)
                results[key] = least_us(run, name, timeout, requests=requests, rounds=options.rounds)
                print(f"{key:34} {results[key]:7.2f} µs")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
