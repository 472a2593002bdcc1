"""A server for test_workers: `python -m tests.server.worker_program MODE ADDRESS COUNT`.

Each worker answers every connection with its process id. Prints what was bound once all workers accept.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import cast

import wire
from wire.errors import WireError
from wire.server import workers
from wire.server.workers import Worker, run_workers
from wire.transport.runtime import LoopName


def answer(worker: Worker) -> None:
    """Until SIGTERM."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGTERM, lambda *_: None)
    worker.accepting()
    while True:
        worker.beat()
        readable, _, _ = select.select([wake, *(sock.fileno() for sock in worker.sockets)], [], [], worker.beat_s)
        if wake in readable:
            return
        for sock in worker.sockets:
            try:
                connection, _ = sock.accept()
            except BlockingIOError:  # it is another socket's, or another worker was faster
                continue
            with connection:
                connection.sendall(b"%d" % os.getpid())


def deaf_at_first(worker: Worker) -> None:
    """The first worker takes no connection and leaves its process id in a file; its replacement answers."""
    marker = Path(os.environ["DEAF_WORKER"])
    if marker.exists():
        answer(worker)
        return
    marker.write_text(str(os.getpid()))
    worker.accepting()
    signal.pause()


def stubborn(worker: Worker) -> None:
    """Does not end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker.accepting()
    while True:
        signal.pause()


async def _beating(worker: Worker) -> None:
    await worker.keep_beating()


def spinning_at_first(worker: Worker) -> None:
    """The first worker's event loop turns, until SIGTERM has its handler never return; its replacement answers."""
    marker = Path(os.environ["SPINNING_WORKER"])
    if marker.exists():
        answer(worker)
        return
    marker.write_text(str(os.getpid()))

    def spin(*_: object) -> None:
        print("spinning", flush=True)
        while True:
            pass

    signal.signal(signal.SIGTERM, spin)
    worker.beat()  # so that the supervisor watches by the time that it says it has started
    worker.accepting()
    wire.run(_beating, worker, loop=cast(LoopName, os.environ["LOOP"]))


def late(worker: Worker) -> None:
    """Does not end, under a supervisor that does not wait long."""
    stubborn(worker)


def broken(worker: Worker) -> None:
    sys.exit(3)


if __name__ == "__main__":
    mode, address, count = sys.argv[1:]
    work = {each.__name__: each for each in (answer, deaf_at_first, spinning_at_first, stubborn, late, broken)}[mode]
    if work is late:
        workers._LATE_S = 0.0  # type: ignore[misc]
    try:
        status = run_workers(
            [address],
            int(count),
            work,
            started=lambda bound: print(*bound, flush=True),
            grace_s=0.0,
            hang_timeout_s=float(os.environ.get("HANG_TIMEOUT_S", "10")),
        )
        sys.exit(status)
    except WireError as error:
        sys.exit(str(error))
