"""Calls with done callbacks: what makes their status also notes it.

A call becomes one of these with its first callback (`ServerCall.add_done_callback`), so that others have no test for it
on their way. Imports `call`.
"""

from __future__ import annotations

from wire.metadata import Fields
from wire.server.call import ServerCall
from wire.status import StatusCode


class ObservedCall(ServerCall):
    """A call with done callbacks: what makes its status also notes it."""

    __slots__ = ()

    observed = None

    @property
    def code(self) -> StatusCode | None:
        return self._code

    @property
    def message(self) -> str:
        return self._message

    def fail(self, code: StatusCode, message: str, metadata: Fields = ()) -> None:
        if not self._finished:
            self._code = code
            self._message = message
        super().fail(code, message, metadata)

    def expire(self) -> None:
        if not self._finished:
            self._code = StatusCode.DEADLINE_EXCEEDED
        super().expire()

    def _finish(self) -> None:
        first = not self._finished
        super()._finish()
        if first:
            if self._code is None:
                self._code = StatusCode.CANCELLED if self.cancelled else StatusCode.OK
            callbacks, self._done_callbacks = self._done_callbacks, []
            for callback in callbacks:
                self._tell(callback)
