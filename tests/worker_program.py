"""A server for test_workers: `python -m tests.worker_program MODE ADDRESS COUNT`.

Each worker answers every connection with its process id. Prints what was bound once all workers accept.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

from wire import workers
from wire.errors import WireError
from wire.workers import Worker, run_workers


def answer(worker: Worker) -> None:
    """Until SIGTERM."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGTERM, lambda *_: None)
    worker.accepting()
    while True:
        readable, _, _ = select.select([wake, *(sock.fileno() for sock in worker.sockets)], [], [])
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


def late(worker: Worker) -> None:
    """Does not end, under a supervisor that does not wait long."""
    stubborn(worker)


def broken(worker: Worker) -> None:
    sys.exit(3)


if __name__ == "__main__":
    mode, address, count = sys.argv[1:]
    work = {each.__name__: each for each in (answer, deaf_at_first, stubborn, late, broken)}[mode]
    if work is late:
        workers._LATE_S = 0.0  # type: ignore[misc]
    try:
        sys.exit(run_workers([address], int(count), work, started=lambda bound: print(*bound, flush=True), grace_s=0.0))
    except WireError as error:
        sys.exit(str(error))
