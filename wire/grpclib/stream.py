"""`grpclib.stream`: a call's messages as an async iterator, the same for both sides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

_SendType = TypeVar("_SendType")
_RecvType = TypeVar("_RecvType")


class StreamIterator(ABC, AsyncIterator[_RecvType], Generic[_RecvType]):
    """Iterates over what `recv_message` gives, to its first None."""

    @abstractmethod
    async def recv_message(self) -> _RecvType | None:
        """The next message; None when the other side has ended its stream."""

    def __aiter__(self) -> AsyncIterator[_RecvType]:
        return self

    async def __anext__(self) -> _RecvType:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message
