"""What a handler may know and say about its call. The call itself derives from it, so no object more is made for it.

Imports `connection` of this folder, and what is below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.config import CompressionName
from wire.errors import UsageError
from wire.http2.engine import HeaderList, Stream
from wire.metadata import Fields, Metadata, MetadataInput, limited_fields
from wire.rpc.compression import Compressor, compressor
from wire.rpc.headers import RESPONSE_FIELDS, RequestHead
from wire.server.connection import OK_HEADERS, ServerConnection, accepts
from wire.status import StatusCode
from wire.transport.contract import Peer


class ServerContext:
    """What a handler may know and say about its call beside the messages."""

    __slots__ = (
        "_chosen",
        "_compress",
        "_finished",
        "_headers_sent",
        "_plain",
        "_trailing",
        "cancelled",
        "connection",
        "deadline",
        "headers",
        "stream",
    )

    connection: ServerConnection
    stream: Stream
    headers: HeaderList
    deadline: float | None
    """When the client gives up, in seconds of the server's clock; None: never. See `time_remaining`."""
    cancelled: bool
    """True once the client has cancelled, its deadline has passed or its connection is gone."""
    _finished: bool
    _chosen: tuple[bytes, Compressor] | None  # only where `set_compression` was called
    _compress: Compressor | None  # once the headers are sent

    @property
    def head(self) -> RequestHead:
        """What the header fields say that came first."""
        head: RequestHead = self.headers.parsed
        return head

    @property
    def method(self) -> str:
        """The path called, "/package.Service/Method"."""
        return self.head.path.decode("latin-1")

    @property
    def metadata(self) -> Metadata:
        """What the client sent beside its messages."""
        return Metadata.from_fields(self.headers.fields)

    @property
    def peer(self) -> Peer:
        """Who calls: address, and what the transport vouches for (VSOCK CID, UNIX user, TLS certificate)."""
        return self.connection.peer

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled else "ended" if self._finished else "open"
        return f"<{type(self).__name__.lstrip('_')} of {self.method} from {self.peer.address}: {state}>"

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self.connection.runtime.now())

    @property
    def code(self) -> StatusCode | None:
        """The status that the call ended with, in done callbacks and after them; None before, and without any."""
        return None

    @property
    def message(self) -> str:
        """The status's text, which may be empty; as `code`."""
        return ""

    def add_done_callback(self, callback: Callable[[ServerContext], object]) -> None:
        """Call `callback(context)` once, as soon as the call's status is decided: `code` and `message` tell it.

        It runs in the event loop and must not block. A handler that the status cut off may still be unwinding. On a
        call that has ended it is called at the loop's next turn, and `code` stays None. What it raises is logged.
        """
        raise NotImplementedError

    def set_compression(self, encoding: CompressionName | None) -> None:
        """How this call's responses are compressed, in place of what the server is configured to do; None: not at all.
        A client that does not accept the encoding gets them as they are.

        Raises `UsageError` once the response's headers are gone, `ConfigurationError` for an encoding that is not here.
        """
        if self._headers_sent:
            raise UsageError("the response's headers are sent already: compression is chosen before")
        self._chosen = None if encoding is None else (encoding.encode(), compressor(encoding))
        self._plain = False

    def send_initial_metadata(self, metadata: MetadataInput = ()) -> None:
        """Send the response's headers now rather than with the first message. Raises `UsageError` when they are gone
        already."""
        if self._headers_sent:
            raise UsageError("the initial metadata was already sent")
        if self._finished:
            return
        self._send_headers(limited_fields(metadata, self.connection.max_metadata_bytes))
        self.connection.wake()

    def set_trailing_metadata(self, metadata: MetadataInput) -> None:
        """What to send beside the status, when the call ends well or with an `RpcError` that has none of its own."""
        self._trailing = limited_fields(metadata, self.connection.max_metadata_bytes)
        self._plain = False

    @property
    def done(self) -> bool:
        """True once the call has its status, or its client is gone: nothing more is sent."""
        return self._finished

    async def send(self, response: Any, *, compress: bool = True) -> None:
        """Send one of a stream's responses, and wait while the client takes no more. `compress=False`: as it is, where
        others are compressed.

        For handlers that write rather than yield: `async def` functions that return None once they have sent all.
        Raises `EncodeError`; `RpcError` CANCELLED once the call has ended, RESOURCE_EXHAUSTED for a response over the
        server's limit; `UsageError` in a method with one response.
        """
        raise NotImplementedError

    def send_last(self, response: Any) -> None:
        """Send the one response, or the last of a stream, together with OK: in one write where nothing else was sent.

        The handler may go on, with work that its caller need not wait for; what it returns is then dropped. Raises as
        `send` does.
        """
        raise NotImplementedError

    def end(
        self, code: StatusCode = StatusCode.OK, message: str = "", *, trailing_metadata: MetadataInput | None = None
    ) -> None:
        """End the call with a status now, though the handler may go on. No effect once it has ended.

        `trailing_metadata`; None: as `set_trailing_metadata` said. Raises `UsageError` for OK in a method with one
        response, which `send_last` sends.
        """
        raise NotImplementedError

    def reset(self, error_code: int = 0x8) -> None:
        """End the call without a status, by RST_STREAM: its client sees CANCELLED, or what another of HTTP/2's error
        codes stands for (RFC 9113 §7). No effect once it has ended."""
        raise NotImplementedError

    def _encoding(self) -> tuple[bytes | None, Compressor | None]:
        """The grpc-encoding of the responses, and what compresses them; None where they travel as they are."""
        try:
            chosen = self._chosen
        except AttributeError:
            encoding = self.connection.encoding_for(self.head)
            return encoding, None if encoding is None else self.connection.compress
        return chosen if chosen is not None and accepts(self.head, chosen[0]) else (None, None)

    def _send_headers(self, metadata: Fields = ()) -> None:
        self._headers_sent = True
        self._plain = False
        encoding, self._compress = self._encoding()
        if encoding is not None:
            metadata = ((b"grpc-encoding", encoding), *metadata)
        headers = HeaderList(RESPONSE_FIELDS + metadata) if metadata else OK_HEADERS
        self.connection.engine.send_headers(self.stream, headers)
