"""Whatever a handler may return as its stream of responses → one async generator, which is closed where it can be.

Imports nothing of wire.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator, Iterable, Mapping
from typing import Any, TypeGuard, TypeVar

R = TypeVar("R")

_NO_STREAM = (str, bytes, bytearray, memoryview, Mapping)  # iterable, but returned by mistake


async def generator_of(
    responses: AsyncIterable[R] | Iterable[R] | Awaitable[AsyncIterable[R] | Iterable[R]],
) -> AsyncGenerator[R, None]:
    """The responses as an async generator. Raises TypeError for what is no stream of them."""
    if isinstance(responses, Awaitable) and not isinstance(responses, AsyncIterable):
        responses = await responses
    if isinstance(responses, AsyncGenerator):
        return responses
    if isinstance(responses, AsyncIterable):
        return _closing(responses)
    if is_plain_stream(responses):
        return _asynchronous(responses)
    raise TypeError(
        f"a handler that streams responses must return a generator or an iterable of them, and "
        f"returned {type(responses).__name__}"
    )


def is_plain_stream(responses: object) -> TypeGuard[Iterable[Any]]:
    """Whether a `for` can go over them, and nothing has to be awaited."""
    return isinstance(responses, Iterable) and not isinstance(responses, (*_NO_STREAM, AsyncIterable, Awaitable))


async def _asynchronous(responses: Iterable[R]) -> AsyncGenerator[R, None]:
    """The responses of a handler that has nothing to await. A generator is closed with this, not by the collector."""
    iterator = iter(responses)
    try:
        for response in iterator:
            yield response
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


async def _closing(responses: AsyncIterable[R]) -> AsyncGenerator[R, None]:
    """The responses of an async iterator of any kind, closed where it can be."""
    iterator = aiter(responses)
    try:
        async for response in iterator:
            yield response
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
