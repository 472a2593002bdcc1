"""A unary call on a client from below: one request, one response. See `exchange`.

Imports `exchange` and what is below it.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from wire.client.exchange import Answer, Caller, Exchange, Options, wrong_thread
from wire.client.preparation import Prepared
from wire.connection import Connection
from wire.errors import CodecError, UsageError
from wire.http2.engine import HeaderList
from wire.metadata import Fields, Metadata
from wire.rpc.framing import PREFIX_BYTES, PREFIXES, MessageReader, unpack_prefix
from wire.rpc.headers import Outcome, ResponseHead
from wire.service import Method
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future

Q = TypeVar("Q")
R = TypeVar("R")

_OK = StatusCode.OK  # a member of an enum takes a hundred times as long to look up as a global


class UnaryExchange(Exchange[R]):
    """One request, one response. `waiter`: what the task that awaits the call waits for; `response`: once `code` is
    OK."""

    __slots__ = ("_reader", "_request", "body", "response", "waiter")

    response: R
    waiter: Future[None] | None
    body: bytes | None
    """What has come of the response, as it travelled; there once it has begun in parts. So is `_reader`, for one that
    is not plain and whole."""
    _reader: MessageReader | None

    def __init__(self, channel: Caller, method: Method[Q, R], request: Q, options: Options) -> None:
        self.begin(channel, channel.prepared(method), request, options)

    def begin(self, channel: Caller, prepared: Prepared[R], request: Any, options: Options) -> None:
        """What making it does, for who made it by `__new__`: Python calls what is no constructor in half the time."""
        # In one piece with what `Exchange.__init__` does, for the same reason.
        timeout_s, metadata, self._wait_for_ready = options
        self._channel = channel
        self.prepared = prepared
        if get_ident() != channel.thread:
            raise wrong_thread()
        message = prepared.encode(request)
        size = len(message)
        self._request = PREFIXES[size] + message if size < prepared.short_bytes else self._frame(message)
        self._extra = Metadata(metadata).to_fields() if metadata else ()
        self.initial = self.trailing = self.code = self.connection = self.stream = self.waiter = self.deadline = None
        self.attempts = 0
        self.queued = False
        if timeout_s is not None:
            self._set_timeout(timeout_s)
        channel.entrance.submit(self)

    def repeat(self, call: Exchange[R], extra: Fields) -> None:
        super().repeat(call, extra)
        assert isinstance(call, UnaryExchange)
        self.waiter = None
        self._request = call._request

    async def ended(self, keeper: object) -> None:
        if self.code is None:
            if self.waiter is not None:
                raise UsageError("two tasks wait for the same call")
            self.waiter = waiter = self.future()
            try:
                await waiter
            finally:
                self.waiter = None

    def _wake(self) -> None:
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def start(self, connection: Connection) -> None:
        if self._extra and self._too_large_for(connection):
            return
        self.attempts += 1
        self.connection = connection
        extra = self._extra if self.deadline is None else self._request_extra()
        self.stream = connection.engine.send_request(self.prepared.headers, self._request, extra, self)
        connection.call_started(self)

    def on_headers(self, headers: HeaderList, end_stream: bool) -> None:
        self.body = self._reader = None
        super().on_headers(headers, end_stream)

    def _on_head(self, head: ResponseHead) -> None:
        if head.decompress is not None:
            self._reader = MessageReader(self._channel.config.calls.max_receive_message_bytes, head.decompress)

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        # What the rest of this class does, for one message that can be decoded at once.
        flag, size = unpack_prefix(data, start)
        start += PREFIX_BYTES
        prepared = self.prepared
        if flag or size != stop - start or size > prepared.plain_bytes:
            return False
        try:
            self.response = prepared.decode(data[start:stop])
        except CodecError:
            return False
        self.initial, self.trailing, self.message = answer
        self.code = _OK
        if self.deadline is not None:
            self._channel.deadlines.discard(self)
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        entrance = self._channel.entrance
        if entrance.queue:
            entrance.call_ended(self)
        self.stream = None
        return True

    def on_data(self, data: bytes, end_stream: bool) -> None:
        size = len(data) - PREFIX_BYTES
        # One frame with one whole message, uncompressed: as a number, its prefix is the message's length.
        if (
            self.body is None
            and self._reader is None
            and int.from_bytes(data[:PREFIX_BYTES], "big") == size
            and 0 <= size <= self._channel.config.calls.max_receive_message_bytes
        ):
            self.body = data[PREFIX_BYTES:]
        else:
            self._collect(data)
        if end_stream and self.code is None:
            self._end_without_status()

    def _collect(self, data: bytes) -> None:
        """A response in several frames, a compressed one, or one that is wrong."""
        assert self.connection is not None
        assert self.stream is not None
        if self._reader is None:
            self._reader = MessageReader(self._channel.config.calls.max_receive_message_bytes)
        try:
            messages = self._reader.feed(data, 2)
            if len(messages) + self._reader.partial + (self.body is not None) > 1:
                raise RpcError(StatusCode.UNIMPLEMENTED, "the server sent more than the one response of this method")
            if messages:
                self.connection.engine.consumed(self.stream, PREFIX_BYTES + len(messages[0]))
                self.body = messages[0]
            else:
                self.connection.engine.expect(self.stream, self._reader.missing_bytes)
        except RpcError as error:
            self._abort(error.code, error.message)

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK:
            if self._reader is not None and self._reader.partial:
                outcome = Outcome(outcome.fields, StatusCode.INTERNAL, "the response ended in the middle of a message")
            elif self.body is None:
                # statuscodes.md: the wrong number of messages is UNIMPLEMENTED on either side.
                outcome = Outcome(outcome.fields, StatusCode.UNIMPLEMENTED, "the server sent no response")
            elif self.body.__class__ is not bytes or (
                len(self.body) > self.prepared.decoder.inline_bytes and self.prepared.decoder.is_heavy(self.body)
            ):
                self._end_with_long(self.body, outcome)
                return
            else:
                try:
                    self.response = self.prepared.decoder.decode(self.body)
                except CodecError as error:
                    outcome = _undecodable(outcome, error)
        super()._end(outcome)

    def _end_with_long(self, body: bytes, outcome: Outcome) -> None:
        """The response is compressed, or heavy: then it goes through the thread."""
        assert self.connection is not None
        decoder = self.prepared.decoder
        inflate = None
        if body.__class__ is not bytes:
            assert self._reader is not None
            inflate = self._reader.plain
            try:
                plain = self._reader.plain_if_short(body, decoder.inline_inflate_bytes)
                if plain is not None:
                    if not decoder.is_heavy(plain):
                        self._end_decoded(outcome, decoder.decode(plain), None)
                        return
                    body, inflate = plain, None
            except (CodecError, RpcError) as error:
                self._end_decoded(outcome, None, error)
                return
        ended = partial(self._end_decoded, outcome)
        turns = self.connection.thread_turns
        decoder.decode_in_thread(turns, self, body, lambda: self.code is None, ended, inflate)

    def decode_body(self) -> R | None:
        """What has come of a response, whatever the status. Raises `CodecError` or `RpcError`."""
        if not self.initial or self.body is None:
            return None
        return self.prepared.decoder.decode(self.body if self._reader is None else self._reader.plain(self.body))

    def _abort(self, code: StatusCode, message: str) -> None:
        super()._abort(code, message)
        if self.connection is not None:
            self.connection.thread_turns.drop(self)  # a response that waits there is let go of

    def _end_decoded(
        self, outcome: Outcome, response: Any, error: CodecError | RpcError | None, size_bytes: int = 0
    ) -> None:
        """The response, or what is wrong with it, perhaps from the thread."""
        if self.code is None:
            self.response = response
            super()._end(outcome if error is None else _undecodable(outcome, error))


def _undecodable(outcome: Outcome, error: CodecError | RpcError) -> Outcome:
    if isinstance(error, RpcError):
        return Outcome(outcome.fields, error.code, error.message)
    # statuscodes.md: "Error parsing response proto" is INTERNAL.
    return Outcome(outcome.fields, StatusCode.INTERNAL, f"the response could not be decoded: {error}")
