"""Event loops: which one runs here (`open_runtime`, `start_runtime`), and running one (`run`)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib.util import find_spec
from inspect import iscoroutine
from typing import Any, Literal, TypeVar

from wire.errors import ConfigurationError, UsageError
from wire.process import open_standard_descriptors
from wire.transport.contract import Runtime

T = TypeVar("T")
LoopName = Literal["auto", "asyncio", "uvloop", "trio"]


def open_runtime() -> AbstractAsyncContextManager[Runtime]:
    """The runtime of the running event loop, as an async context manager. Leaving it aborts the transports that are
    still open.

    Raises `UsageError` where no event loop runs.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        from wire.transport.anyio_transport import open_anyio_runtime

        return open_anyio_runtime("trio")
    _running_loop()
    from wire.transport.asyncio_transport import open_asyncio_runtime

    return open_asyncio_runtime()


def start_runtime() -> tuple[Runtime, Callable[[], Awaitable[None]]]:
    """The runtime of the running event loop without a block, and what closes it: that aborts the transports that are
    still open.

    Raises `UsageError` where no event loop runs.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        from wire.transport.anyio_transport import start_trio_runtime

        return start_trio_runtime()
    loop = _running_loop()
    from wire.transport.asyncio_transport import AsyncioRuntime

    runtime = AsyncioRuntime(loop)
    return runtime, runtime.aclose


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError("no event loop is running; start one with wire.run, asyncio.run or trio.run") from None


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(async_function: Callable[..., Awaitable[T]], *args: Any, loop: LoopName = "auto") -> T:
    """Run `async_function(*args)` to its end under an event loop, and return what it returns.

    `loop`: "auto" is uvloop where it is installed, else asyncio. Raises `ConfigurationError` for a loop that is not
    there, `UsageError` for a coroutine in place of a function, and where an event loop runs already.
    """
    if iscoroutine(async_function):
        async_function.close()
        raise UsageError("wire.run takes a function and its arguments, as in wire.run(main), and not a coroutine")
    if _loop_runs():
        raise UsageError("an event loop runs in this thread already: await there what is to be run")
    open_standard_descriptors()
    if loop == "auto":
        loop = "uvloop" if find_spec("uvloop") else "asyncio"
    elif loop not in {"asyncio", "uvloop", "trio"}:
        raise ConfigurationError(f'no event loop is called "{loop}": there are "auto", "asyncio", "uvloop" and "trio"')
    elif loop != "asyncio" and not find_spec(loop):
        raise ConfigurationError(f"the event loop {loop} is not installed; `pip install {loop}` does that")
    if loop == "trio":
        import trio

        try:
            return trio.run(partial(async_function, *args))
        except BaseExceptionGroup as group:
            if group.subgroup(KeyboardInterrupt) is not None:  # Ctrl-C, which struck in some task
                raise KeyboardInterrupt from None
            ends = group.subgroup(SystemExit)
            if ends is not None:
                raise SystemExit(_first(ends).args[0] if _first(ends).args else None) from None
            raise

    async def main() -> T:
        return await async_function(*args)

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def _first(group: BaseExceptionGroup[SystemExit]) -> SystemExit:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
