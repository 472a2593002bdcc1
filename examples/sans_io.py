"""The HTTP/2 engine alone: no sockets, no event loop, no clock. A client's and a server's engine talk through bytes.

This is what tests, fuzzers and simulations use; everything else in wire stands on the same few methods.
"""

from __future__ import annotations

from typing import Any

from wire.config import Http2Config
from wire.http2.engine import HeaderList, Stream
from wire.http2.engines import engine_factory


class Printer:
    """A `Sink` that says what it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.streams: list[Stream] = []

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        self.streams.append(stream)
        print(f"{self.name}: HEADERS on stream {stream.id}: {dict(headers.fields)}")

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        print(f"{self.name}: DATA on stream {stream.id}: {data!r}")

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        print(f"{self.name}: trailers on stream {stream.id}: {dict(trailers.fields)}")

    def __getattr__(self, name: str) -> Any:  # on_settings, on_ping and the others
        return lambda *arguments: None


def main() -> None:
    make = engine_factory("tuned")
    asking, answering = Printer("client"), Printer("server")
    client = make(True, asking, Http2Config())
    server = make(False, answering, Http2Config())
    client.start()
    server.start()

    def exchange() -> None:
        for _ in range(2):
            server.receive(client.take(), now=0.0)
            client.receive(server.take(), now=0.0)

    exchange()  # the preface and SETTINGS of both
    request = HeaderList(((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.Service/Method")))
    client.send_request(request, b"hello")
    exchange()
    [stream] = answering.streams
    server.send_reply(stream, HeaderList(((b":status", b"200"),)), b"world", HeaderList(((b"grpc-status", b"0"),)))
    exchange()


if __name__ == "__main__":
    main()
