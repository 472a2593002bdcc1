"""Decoding one type's messages within the limits of `CallConfig`: at once, or in a thread where that would take long.

In: a `Codec`, bytes. Out: messages; `DecodeError`. All long messages of a process take turns in one thread, one of each
connection at a time, so that the event loop loses no more of its time than one switch of threads takes
(`sys.getswitchinterval`, 5 ms), and no connection waits for all that another has sent. Imports `codec`, `config`,
`status` and `transport`'s contract.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from wire.codec import Codec
from wire.config import CallConfig
from wire.errors import CodecError, DecodeError
from wire.status import RpcError
from wire.transport.contract import Future, Runtime

M = TypeVar("M")

_INFLATE_FACTOR = 2  # inflating is ten times as fast as decoding what is heavy, but then hundreds come at once

Done = Callable[[M | None, CodecError | RpcError | None, int], None]
"""What a message became, or why nothing, and how many bytes of memory that takes, by estimate."""


class Room(Protocol):
    """Bounds the long messages that are held by those whom they were given to (`server.held_messages`)."""

    @property
    def refusal(self) -> str: ...

    def hold(self, holder: object, size_bytes: int) -> bool: ...

    def leave(self, holder: object) -> None: ...


class MessageDecoder(Generic[M]):
    """`decode(bytes)` gives a message or raises `DecodeError`; ask `is_heavy` first."""

    __slots__ = ("_codec", "decode", "decode_long", "inline_bytes", "inline_inflate_bytes")

    def __init__(self, codec: Codec[M], calls: CallConfig) -> None:
        self._codec = codec
        self.decode: Callable[[bytes], M] = codec.decoder(calls.max_message_depth, calls.max_decoded_bytes)
        self.decode_long: Callable[[bytes], tuple[M, int]] = codec.measured_decoder(
            calls.max_message_depth, calls.max_decoded_bytes
        )
        """As `decode`, and with the memory that the message takes: in the thread."""
        self.inline_bytes = calls.inline_decode_bytes
        self.inline_inflate_bytes = _INFLATE_FACTOR * calls.inline_decode_bytes
        """What a compressed message may become outside of the thread."""

    def is_heavy(self, message: bytes) -> bool:
        """Whether decoding it would hold the event loop up."""
        return len(message) > self.inline_bytes and self._codec.is_heavy(message, self.inline_bytes)

    def decode_in_thread(
        self,
        turns: ThreadTurns,
        owner: object,
        message: bytes,
        wanted: Callable[[], bool],
        done: Done[M],
        inflate: Callable[[bytes], bytes] | None = None,
        postponed: Callable[[], bool] | None = None,
    ) -> None:
        """Decode in the thread, and call `done` in the event loop with the message or with what was raised.

        `inflate` is called before, there too, for a message that is compressed; it may raise `RpcError`. `wanted` is
        asked when the message's turn comes: where nobody waits for it any more, `done` gets two Nones and 0. An owner
        who knows that before then says so by `ThreadTurns.drop`; each has one message there at a time. `postponed` is
        asked in the event loop of a message that had to wait for its turn: True when its owner has taken it back.
        """
        turns.take(owner, _Job(self.decode_long, message, wanted, done, inflate, postponed))

    async def decoded(
        self, turns: ThreadTurns, message: bytes, inflate: Callable[[bytes], bytes] | None = None
    ) -> tuple[M, int]:
        """Decode in the thread, and wait for it: as `decode_long`."""
        waiter: Future[Any] = turns.runtime.future()
        waiting = True

        def done(decoded: M | None, failure: CodecError | RpcError | None, size_bytes: int) -> None:
            if not waiter.done():
                waiter.set_result((decoded, failure, size_bytes))

        self.decode_in_thread(turns, waiter, message, lambda: waiting, done, inflate)
        try:
            decoded, failure, size_bytes = await waiter
        finally:
            waiting = False
            turns.drop(waiter)
        if failure is not None:
            raise type(failure)(*failure.args)  # what is raised holds this frame, which must not hold it
        return decoded, size_bytes


class _Job:
    """A message for the thread; see `MessageDecoder.decode_in_thread`."""

    __slots__ = ("_decode", "_inflate", "_message", "done", "postponed", "wanted")

    def __init__(
        self,
        decode: Callable[[bytes], tuple[Any, int]],
        message: bytes,
        wanted: Callable[[], bool],
        done: Done[Any],
        inflate: Callable[[bytes], bytes] | None,
        postponed: Callable[[], bool] | None,
    ) -> None:
        self._decode = decode
        self._message = message
        self._inflate = inflate
        self.wanted = wanted
        self.done = done
        self.postponed = postponed

    def work(self) -> tuple[Any, CodecError | RpcError | None, int]:
        """In the thread: what `done` gets."""
        try:
            if self.wanted():
                message = self._message
                decoded, size_bytes = self._decode(message if self._inflate is None else self._inflate(message))
                return decoded, None, size_bytes
        except (CodecError, RpcError) as error:
            return None, type(error)(*error.args), 0  # without the frames, which hold what was decoded until then
        except Exception as error:  # such as MemoryError: it is this call's alone, and the others' turns come
            return None, DecodeError(f"decoding failed: {type(error).__name__}"), 0
        return None, None, 0


class ThreadTurns:
    """One connection's messages for the thread. The first is there, and the others wait here in order."""

    __slots__ = ("_busy", "_waiting", "runtime")

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._busy = False
        self._waiting: dict[object, _Job] = {}

    def take(self, owner: object, job: _Job) -> None:
        if self._busy:
            self._waiting[owner] = job
        else:
            self._busy = True
            _thread().submit(self._work, job)

    def drop(self, owner: object) -> None:
        """Nobody waits for the owner's message any more: let go of it, if its turn has not come."""
        job = self._waiting.pop(owner, None)
        if job is not None:
            job.done(None, None, 0)

    def _work(self, job: _Job) -> None:
        """In the thread."""
        result = job.work()
        try:
            self.runtime.call_soon_threadsafe(self._finished, job.done, *result)
        except RuntimeError:  # the event loop has ended meanwhile
            pass

    def _finished(self, done: Done[Any], decoded: Any, failure: CodecError | RpcError | None, size_bytes: int) -> None:
        self._busy = False
        while self._waiting and not self._busy:
            owner = next(iter(self._waiting))
            job = self._waiting.pop(owner)
            if job.postponed is None or not job.postponed():
                self.take(owner, job)
        done(decoded, failure, size_bytes)


_threads: dict[int, ThreadPoolExecutor] = {}  # by process: a fork has none of its parent's threads


def _thread() -> ThreadPoolExecutor:
    process = os.getpid()
    if process not in _threads:
        _threads.clear()
        _threads[process] = ThreadPoolExecutor(1, thread_name_prefix="wire-decode")
    return _threads[process]
