"""One soak: a server and its callers in this process, with the collector off, measured whenever all calls have ended.

Run by `python -m tests.soak` in a process of its own for each engine and event loop. Prints one JSON object a line: a
`Level` for each stage, then what the collector finds when it is turned on again, the outcomes and the errors logged.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from functools import _lru_cache_wrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

import wire
from tests.certificates import make_certificates
from tests.soak.load import AT_ONCE, Load, Servicer, Target
from wire.config import EngineName
from wire.http2.tuned import huffman
from wire.process import FreedMemory
from wire.transport.anyio_transport import AnyioRuntime
from wire.transport.runtime import LoopName

_CHANNELS = 8
_QUIET_S = 5.0
"""How long what ends by itself after the last call may take: transports that linger, handlers that unwind."""


@dataclass(frozen=True, slots=True)
class Level:
    """What the process holds while no call is open. `rss_mib`: once glibc has handed back what it keeps of freed
    memory, which rises with how large and small blocks are mixed, and is nobody's leak. `objects`: those that the
    collector would look at."""

    calls: int
    rss_mib: float
    descriptors: int
    tasks: int
    timers: int
    objects: int

    def __str__(self) -> str:
        return (
            f"{self.calls:>9,} {self.rss_mib:8.1f} {self.descriptors:11} {self.tasks:5} {self.timers:6} "
            f"{self.objects:8}"
        )

    def faults(self, before: Level) -> list[str]:
        """In what this is not flat, `before` being a level at which all caches were full."""
        return [
            f"{name} rose from {getattr(before, name)} to {getattr(self, name)}"
            for name, most in _MOST.items()
            if getattr(self, name) > getattr(before, name) + most
        ]


_MOST = {"rss_mib": 4.0, "descriptors": 0, "tasks": 0, "timers": 0, "objects": 200}
"""By how much a level may be above an earlier one: holes in the arenas of Python's allocator, dictionaries that have
grown."""

_TRIO_DEADLINES = 2000
"""trio keeps scopes whose deadline no longer counts until there are a thousand of them, so that it would hold any
number below that whenever it is looked at: it is given as many that it drops all."""

HEADING = f"{'calls':>9} {'RSS MiB':>8} {'descriptors':>11} {'tasks':>5} {'timers':>6} {'objects':>8}"


def full_stage(stages: int) -> int:
    """Of so many, the first after which all caches are full."""
    return max(1, stages // 3)


def _tasks(loop: LoopName) -> int:
    if loop == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def _is_timer(found: object) -> bool:
    """Whether it is a timer that was not cancelled, of any loop."""
    kind = type(found).__name__
    if kind == "AnyioTimer":
        return found.callback is not None  # type: ignore[attr-defined]
    return kind == "TimerHandle" and not found.cancelled()  # type: ignore[attr-defined]


def _empty_caches() -> None:
    """Of what is kept up to a bound, short runs bring some more each time. Caches are looked for where they are: what
    the collector was told to leave alone it does not list."""
    modules = [module for name, module in sys.modules.items() if name.startswith("wire.")]
    for each in (each for module in modules for each in vars(module).values()):
        if isinstance(each, _lru_cache_wrapper) and each.cache_parameters()["maxsize"] is not None:
            each.cache_clear()
    for each in gc.get_objects():
        if isinstance(each, AnyioRuntime):
            each._timers_looked_at = 0
            each._drop_cancelled()
    while huffman._kept:
        known, ending = huffman._kept.popleft()
        known.pop(ending, None)


def _level(calls: int, loop: LoopName) -> Level:
    _empty_caches()
    freed = FreedMemory.find()
    if freed is not None:
        freed.give_back()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    objects = gc.get_objects()
    timers = sum(map(_is_timer, objects))
    count = len(objects)
    del objects
    return Level(
        calls,
        pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
        len(os.listdir("/proc/self/fd")),
        _tasks(loop),
        timers,
        count,
    )


async def _quiet(server: wire.Server, loop: LoopName, tasks: int) -> None:
    """Wait until no connection is open and no more tasks run than at first."""
    with anyio.move_on_after(_QUIET_S):
        while server.connections or _tasks(loop) > tasks:
            await anyio.sleep(0.01)
    await anyio.sleep(0.05)
    if loop == "trio":
        for _ in range(_TRIO_DEADLINES):
            with anyio.fail_after(1):
                pass
        await anyio.sleep(0)


class Errors(logging.Handler):
    """Counts the errors that are logged, less those of handlers that were asked to raise."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if repr(error) != repr(ValueError("asked to")):
            self.found[f"{record.name}: {record.getMessage().partition(chr(10))[0]}: {error!r}"] += 1


async def soak(engine: EngineName, loop: LoopName, calls: int, stages: int, report: Any) -> Load:
    """Play `calls` calls in so many stages, and `report` the level before the first and after each."""
    with TemporaryDirectory(prefix="wire") as directory:
        found = make_certificates(Path(directory))
        secure_config = wire.ServerConfig(
            engine=engine,
            transport=wire.TransportConfig(linger_s=0.05),
            trim_memory_bytes=None,  # its timer comes and goes
        )
        config = replace(secure_config, calls=wire.CallConfig(compression="gzip"))
        async with AsyncExitStack() as exits:
            server = await exits.enter_async_context(wire.Server([Servicer()], config=config))
            tls = wire.ServerTls(found.server, found.server_key)
            secure = await exits.enter_async_context(wire.Server([Servicer()], config=secure_config, tls=tls))
            plain = await server.listen("127.0.0.1:0")
            client_tls = wire.ClientTls(found.ca)
            targets = [
                Target(plain),
                Target(plain, compression="gzip"),
                Target(await server.listen(f"unix:{directory}/s.sock")),
                Target(await secure.listen("127.0.0.1:0"), client_tls),
            ]
            load = Load(server, targets, engine)
            await load.play(AT_ONCE * 4 * len(targets), _CHANNELS)  # what is imported and cached at first
            await anyio.sleep(0.1)
            gc.collect()  # of what importing left; from here on, what only it would free is not freed
            tasks = _tasks(loop)
            report(_level(0, loop))
            load.made = 0
            for stage in range(stages):
                await load.play(calls * (stage + 1) // stages - load.made, _CHANNELS)
                await _quiet(server, loop, tasks)
                report(_level(load.made, loop))
            for each in (server, secure):
                await each.stop(0)
    return load


def collected_blocks() -> int:
    """Blocks of memory that Python has allocated, with what it keeps of freed tuples and the like given back."""
    _empty_caches()
    gc.collect()
    return sys.getallocatedblocks()


def leftovers() -> Counter[str]:
    """What waits for the collector, by type."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.garbage.clear()
    return found


def main() -> None:
    engine, loop, calls, stages = sys.argv[1:]
    errors = Errors()
    logging.basicConfig(handlers=[errors])
    gc.collect()
    gc.disable()

    levels: list[Level] = []
    blocks: list[int] = []

    def report(level: Level) -> None:
        levels.append(level)
        print(json.dumps(asdict(level)), flush=True)
        if len(levels) - 1 == full_stage(int(stages)):
            blocks.append(collected_blocks())
        elif len(levels) - 1 == int(stages):
            print(json.dumps({"garbage": dict(leftovers().most_common(10))}), flush=True)
            blocks.append(collected_blocks())

    async def run() -> None:
        load = await soak(engine, loop, int(calls), int(stages), report)  # type: ignore[arg-type]
        print(
            json.dumps({"outcomes": dict(sorted(load.outcomes.items())), "blocks": blocks, "errors": errors.found}),
            flush=True,
        )

    wire.run(run, loop=loop)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
