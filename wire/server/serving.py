"""A whole server program in one call: `serve` listens, runs event loops in one or several processes, and drains.

Imports `transport`'s `runtime` and `sockets`, and its siblings `server`, `activation` and `workers`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import iscoroutinefunction
from threading import current_thread, main_thread
from typing import Final

import anyio

from wire.errors import AddressError, ConfigurationError, ListenError, UsageError, WireError
from wire.process import tune_process
from wire.server.activation import inherited_sockets
from wire.server.server import Server
from wire.server.workers import FirstSignal, Worker, run_workers
from wire.transport import sockets
from wire.transport.runtime import LoopName, run

SYSTEMD: Final = "systemd:"
"""In place of an address: the sockets that the service manager hands over (LISTEN_FDS)."""

_CUT_OFF: Final = 1  # exit status of a process that left calls behind

_log = logging.getLogger("wire.server")

MakeServer = Callable[[], AbstractAsyncContextManager[Server]]


def serve(
    make_server: MakeServer,
    addresses: str | Sequence[str],
    *,
    workers: int = 1,
    loop: LoopName = "auto",
    started: Callable[[list[str]], object] = lambda bound: None,
    grace_s: float = 30.0,
    backlog: int = 1024,
    hang_timeout_s: float | None = 10.0,
    reuse_port: bool = False,
    pass_on: Sequence[signal.Signals] = (),
) -> int:
    """Serve until SIGTERM or SIGINT, let open calls end, and return the exit status: 0 after a clean drain, else 1.

        def make_server() -> wire.Server:
            return wire.Server([Store(), Health(), *reflection()])

        sys.exit(wire.serve(make_server, "[::]:50051", workers=4))

    `make_server` is called in each process, within its event loop. It returns a server, or an async context manager
    that enters one and yields it, where something else has to be opened before and closed after it (a function with
    `contextlib.asynccontextmanager`). `addresses`: in gRPC's name syntax; "systemd:" stands for the sockets that
    systemd hands over, and is for one worker. `workers`: processes that share the addresses (`run_workers`, which
    also says what `grace_s`, `backlog`, `hang_timeout_s` and `pass_on` are: they matter to several workers only).
    `loop`: as for `wire.run`. `started` is called once, when all accept, with the addresses as they were bound.
    `reuse_port`: other programs may listen on the same TCP ports, where they ask for it too.

    A second signal ends the process at once. Handlers that swallow their cancellation are left behind, by `os._exit`
    with status 1. Where it cannot listen, the program ends as by `sys.exit` with one sentence (a `SystemExit` whose
    cause is the `ListenError` or `AddressError`). Whatever `make_server` raises passes through with one worker, and is
    logged with several. To be called from the main thread, or it raises `UsageError`.
    """
    if not callable(make_server) or iscoroutinefunction(make_server):
        raise UsageError(
            "make_server is a function that returns a wire.Server, or an async context manager that yields one"
        )
    if current_thread() is not main_thread():
        raise UsageError(
            "wire.serve waits for signals, as only the main thread can: elsewhere enter the server, and listen"
        )
    targets = [addresses] if isinstance(addresses, str) else list(addresses)
    if not targets:
        raise UsageError("there is no address to listen on")

    def told(bound: list[str]) -> None:
        started(bound)
        if sys.stdout is not None:
            sys.stdout.flush()  # a pipe or a file would hold back what it printed

    if workers == 1:
        refused = run(_serve_alone, make_server, targets, told, reuse_port, loop=loop)
        if refused is not None:
            raise SystemExit(str(refused)) from refused
        return 0
    if SYSTEMD in targets:
        raise ConfigurationError(f'the address "{SYSTEMD}" is for one worker, but there are {workers}')
    try:
        return run_workers(
            targets,
            workers,
            lambda worker: run(_serve_as_worker, make_server, worker, loop=loop),
            started=told,
            grace_s=grace_s,
            backlog=backlog,
            hang_timeout_s=hang_timeout_s,
            reuse_port=reuse_port,
            pass_on=pass_on,
        )
    except (AddressError, ListenError) as error:
        raise SystemExit(str(error)) from error


async def _serve_alone(
    make_server: MakeServer, addresses: list[str], started: Callable[[list[str]], object], reuse_port: bool
) -> WireError | None:
    """Why it cannot listen, if so."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        tune_process()  # before there are threads
        async with make_server() as server:
            try:
                bound = [each for address in addresses for each in await _listen(server, address, reuse_port)]
            except (AddressError, ConfigurationError, ListenError) as error:
                return error
            tune_process()  # for what was made since
            started(bound)
            first = FirstSignal(await anext(signals))
            _log.info("stopping: open calls may end; a second signal cuts them off")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_exit_at, signals, first)
                await server.stop()
                _leave_behind(server.still_running)
                tasks.cancel_scope.cancel()
    return None


async def _serve_as_worker(make_server: MakeServer, worker: Worker) -> None:
    """The supervisor sees to further signals."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        tune_process()
        async with make_server() as server:
            for sock in worker.sockets:
                server.serve(sock)
            tune_process()
            worker.accepting()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.keep_beating)
                await anext(signals)
                tasks.cancel_scope.cancel()
            worker.draining()
            await server.stop()
            _leave_behind(server.still_running)


async def _listen(server: Server, address: str, reuse_port: bool) -> list[str]:
    """The addresses as bound."""
    if address != SYSTEMD:
        return [await server.listen(address, reuse_port=reuse_port)]
    inherited = inherited_sockets()
    for sock in inherited:
        server.serve(sock)
    return [sockets.bound_address(sock) for sock in inherited]


async def _exit_at(signals: AsyncIterator[signal.Signals], first: FirstSignal) -> None:
    while first.is_echoed_by(await anext(signals)):
        pass
    _log.warning("stopping at once")
    os._exit(_CUT_OFF)


def _leave_behind(methods: list[str]) -> None:
    """End the process where handlers swallow their cancellation: the event loop would wait for them for ever."""
    if methods:
        logging.shutdown()
        os._exit(_CUT_OFF)
