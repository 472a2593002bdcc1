"""Decoding one type's messages within the limits of `CallConfig`: at once, or in a thread where that would take long.

In: a `Codec`, bytes. Out: messages; `DecodeError`. All long messages of a process take turns in one thread, so that the
event loop loses no more of its time than one switch of threads takes (`sys.getswitchinterval`, 5 ms). Imports `codec`,
`config` and `transport`'s contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from wire.codec import Codec
from wire.config import CallConfig
from wire.errors import CodecError
from wire.transport.contract import Future, Runtime

M = TypeVar("M")


class MessageDecoder(Generic[M]):
    """`decode(bytes)` gives a message or raises `DecodeError`; ask `is_heavy` first."""

    __slots__ = ("_codec", "decode", "inline_bytes")

    def __init__(self, codec: Codec[M], calls: CallConfig) -> None:
        self._codec = codec
        self.decode: Callable[[bytes], M] = codec.decoder(calls.max_message_depth, calls.max_decoded_bytes)
        self.inline_bytes = calls.inline_decode_bytes

    def is_heavy(self, message: bytes) -> bool:
        """Whether decoding it would hold the event loop up."""
        return len(message) > self.inline_bytes and self._codec.is_heavy(message, self.inline_bytes)

    def decode_in_thread(
        self,
        runtime: Runtime,
        message: bytes,
        wanted: Callable[[], bool],
        done: Callable[[M | None, CodecError | None], None],
    ) -> None:
        """Decode in the thread, and call `done` in the event loop with the message or with what was raised.

        `wanted` is asked, in the thread, when the message's turn comes: where nobody waits for it any more, `done` gets
        two Nones.
        """

        def work() -> None:
            decoded: M | None = None
            failure: CodecError | None = None
            try:
                if wanted():
                    decoded = self.decode(message)
            except CodecError as error:
                failure = type(error)(*error.args)  # without the frames, which hold what was decoded until then
            try:
                runtime.call_soon_threadsafe(done, decoded, failure)
            except RuntimeError:  # the event loop has ended meanwhile
                pass

        _thread().submit(work)

    async def decoded(self, runtime: Runtime, message: bytes) -> M:
        """Decode in the thread, and wait for it."""
        waiter: Future[Any] = runtime.future()
        waiting = True

        def done(decoded: M | None, failure: CodecError | None) -> None:
            if not waiter.done():
                waiter.set_result((decoded, failure))

        self.decode_in_thread(runtime, message, lambda: waiting, done)
        try:
            decoded, failure = await waiter
        finally:
            waiting = False
        if failure is not None:
            raise type(failure)(*failure.args)  # what is raised holds this frame, which must not hold it
        result: M = decoded
        return result


_threads: dict[int, ThreadPoolExecutor] = {}  # by process: a fork has none of its parent's threads


def _thread() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _threads:
        _threads.clear()
        _threads[process] = ThreadPoolExecutor(1, thread_name_prefix="wire-decode")
    return _threads[process]
