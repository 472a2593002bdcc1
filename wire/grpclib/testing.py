"""`grpclib.testing`: services and a channel to them in one process, for tests."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from wire.grpclib._typing import IServable
from wire.grpclib.client import Channel
from wire.grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from wire.grpclib.protocol import Peer
from wire.grpclib.server import Server


class _OwnServer(Server):
    """One whose clients are in this process, and have no addresses."""

    def _peer(self, context: Any) -> Peer:
        return Peer(None)


class _OwnChannel(Channel):
    """One to such a server."""

    def _peer(self, call: Any) -> Peer:
        return Peer(None)


class ChannelFor:
    """A server of `services`, and a channel to it, while the block lasts:

    async with ChannelFor([Greeter()]) as channel:
        reply = await GreeterStub(channel).SayHello(HelloRequest(name="Dr. Strange"))
    """

    def __init__(
        self,
        services: Collection[IServable],
        codec: CodecBase | None = None,
        status_details_codec: StatusDetailsCodecBase | None = None,
    ) -> None:
        self._services = services
        self._codec = codec
        self._status_details_codec = status_details_codec

    async def __aenter__(self) -> Channel:
        self._directory = TemporaryDirectory()
        path = str(Path(self._directory.name) / "server.sock")
        self._server = _OwnServer(self._services, codec=self._codec, status_details_codec=self._status_details_codec)
        await self._server.start(path=path)
        self._channel: Channel = _OwnChannel(
            path=path, codec=self._codec, status_details_codec=self._status_details_codec
        )
        return self._channel

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channel.close()
        self._server.close()
        await self._server.wait_closed()
        self._directory.cleanup()
