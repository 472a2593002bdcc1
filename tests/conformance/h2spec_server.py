"""A server for h2spec: one engine on plain asyncio, which answers every request with 200 and a body.

`python -m tests.conformance.h2spec_server ENGINE` prints its port and serves until its standard input ends, so that it
cannot outlive who started it. Nothing of wire but the engine is at work.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import cast

from wire.config import EngineName, Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.engine import HeaderList, Stream
from wire.http2.engines import EngineFactory, engine_factory

_BODY = b"hello, h2spec\n"
_HEADERS = HeaderList(
    ((b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY))), shared=True
)
# h2spec opens as many streams as it may, and one more; and takes the default frame size for what any server announces.
_CONFIG = Http2Config(max_concurrent_streams=100, max_frame_bytes=1 << 14)


class H2specServer(asyncio.Protocol):
    """One connection: the engine, its sink and its transport."""

    def __init__(self, factory: EngineFactory) -> None:
        self._engine = factory(False, self, _CONFIG)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._clock = asyncio.get_running_loop().time
        self._engine.start()
        self._flush()

    def data_received(self, data: bytes) -> None:
        while self._engine.receive(data, self._clock()):
            data = b""
        self._flush()

    def _flush(self) -> None:
        if data := self._engine.take():
            self._transport.write(data)

    def _reply(self, stream: Stream) -> None:
        self._engine.send_headers(stream, _HEADERS)
        self._engine.send_data(stream, _BODY, end_stream=True)

    reply: tuple[HeaderList, HeaderList] | None = None

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        return None

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        if end_stream:
            self._reply(stream)

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self._reply(stream)

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        self._reply(stream)

    def whole_answer(self, headers: HeaderList, trailers: HeaderList) -> None: ...

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> bool:
        return True

    def on_writable(self, stream: Stream) -> None: ...

    def on_settings(self) -> None: ...

    def on_more_to_write(self) -> None: ...

    def on_settings_ack(self) -> None: ...

    def on_ping(self, explained: bool) -> None: ...

    def on_ping_ack(self, payload: bytes) -> None: ...

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self._flush()
        self._transport.close()

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        self._flush()
        self._transport.close()


async def serve(engine: EngineName) -> None:
    factory = engine_factory(engine)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: H2specServer(factory), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="h2spec_server", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("engine", choices=["h2", "tuned"])
    asyncio.run(serve(cast(EngineName, parser.parse_args().engine)))
