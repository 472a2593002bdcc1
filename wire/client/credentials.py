"""Call credentials: metadata that is made for each call, such as a token that expires (gRPC's authentication guide).

    async def bearer(call: CallContext) -> wire.MetadataInput:
        return {"authorization": f"Bearer {await tokens.current()}"}

    wire.Channel("dns:///api.example:443", tls=wire.ClientTls(), credentials=bearer)

A call with credentials stands before them until its metadata is there, and then goes where other calls go at once.
Imports `pool`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wire.client.exchange import Exchange
from wire.client.pool import Pool
from wire.errors import MetadataError, is_loops_own
from wire.metadata import Fields, Metadata, MetadataInput
from wire.status import RpcError, StatusCode
from wire.transport.contract import Runtime


@dataclass(frozen=True, slots=True)
class CallContext:
    """Which call the credentials are for. `service_url`: "https://host/package.Service", what tokens are issued for
    (the audience of a JWT). `method`: "/package.Service/Method"."""

    service_url: str
    method: str


CallCredentials = Callable[[CallContext], MetadataInput | Awaitable[MetadataInput]]
"""Gives the metadata that proves who calls; asked for each call. A plain `def` is called in the event loop, so it must
not block. `RpcError` that it raises is the call's status; anything else is UNAVAILABLE, as in gRPC's core."""

# Statuses that say something about the call itself, which credentials cannot know (gRPC proposal A54).
_NOT_THEIRS = frozenset(
    {
        StatusCode.OK,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.DATA_LOSS,
    }
)


class Gate:
    """Stands before a pool: calls pass when all `credentials` have given their metadata."""

    __slots__ = ("_authority", "_credentials", "_pending", "_pool", "_runtime")

    def __init__(
        self,
        runtime: Runtime,
        pool: Pool,
        credentials: Sequence[CallCredentials],
        authority: str,
    ) -> None:
        self._runtime = runtime
        self._pool = pool
        self._pending = pool.held
        self._credentials = credentials
        self._authority = authority

    @property
    def queue(self) -> Collection[Any]:
        return self._pending or self._pool.queue

    def submit(self, call: Exchange[Any]) -> None:
        """As `Pool.submit`. A call that is tried again has its metadata already."""
        if call.attempts:
            self._pool.submit(call)
            return
        context = context_of(self._authority, call.path)
        fields: list[Fields] = []
        rest = iter(self._credentials)
        try:
            for credentials in rest:
                answer = credentials(context)
                if isinstance(answer, Awaitable):
                    self._pending[call] = None
                    task = self._runtime.spawn(self._wait(call, context, fields, answer, rest))
                    if call in self._pending:  # an eager task may have ended already
                        self._pending[call] = task
                    return
                fields.append(Metadata(answer).to_fields())
        except Exception as error:
            call.fail(*status_of(error))
            return
        self._admit(call, fields)

    async def _wait(
        self,
        call: Exchange[Any],
        context: CallContext,
        fields: list[Fields],
        answer: MetadataInput | Awaitable[MetadataInput],
        rest: Iterator[CallCredentials],
    ) -> None:
        """`answer` must be waited for, and so may be those of the `rest`."""
        try:
            while True:
                fields.append(Metadata(await answer if isinstance(answer, Awaitable) else answer).to_fields())
                credentials = next(rest, None)
                if credentials is None:
                    break
                answer = credentials(context)
        except BaseException as error:
            if is_loops_own(error, self._runtime.cancelled):
                call.fail(StatusCode.CANCELLED, "the call was cancelled")
                raise
            call.fail(*status_of(error))
            return
        if call in self._pending:  # else it has ended
            del self._pending[call]
            call.queued = True  # the time that it waited is part of its timeout
            self._admit(call, fields)

    def _admit(self, call: Exchange[Any], fields: list[Fields]) -> None:
        for more in fields:
            call.add_fields(more)
        self._pool.submit(call)

    def call_ended(self, call: Exchange[Any]) -> None:
        task = self._pending.pop(call, None)
        if task is not None:
            self._runtime.call_soon(task.cancel)  # not now: a task must begin before it can clean up
        self._pool.call_ended(call)


def context_of(authority: str, path: str) -> CallContext:
    """`authority`: what the calls name as their server; `path`: "/package.Service/Method"."""
    service, _, _ = path.rpartition("/")
    return CallContext(f"https://{authority.removesuffix(':443')}{service}", path)


def status_of(error: BaseException) -> tuple[StatusCode, str]:
    """The status of a call whose credentials raised `error`."""
    if isinstance(error, MetadataError):
        return StatusCode.INTERNAL, f"the call credentials gave metadata that cannot be sent: {error}"
    if isinstance(error, RpcError):
        text = f"the call credentials failed: {error.message}" if error.message else "the call credentials failed"
        return (StatusCode.INTERNAL if error.code in _NOT_THEIRS else error.code), text
    return StatusCode.UNAVAILABLE, f"the call credentials failed: {type(error).__name__}: {error}"
