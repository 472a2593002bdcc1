"""What a process and its descendants use, by /proc (Linux). Imports nothing of the project."""

from __future__ import annotations

from pathlib import Path


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and its descendants that are alive; 0 where /proc does not say.

    By the scheduler's nanoseconds of each thread: /proc/PID/stat counts in ticks of 10 ms.
    """
    return sum(map(_cpu_ns, process_tree(pid))) / 1e9


def process_tree(pid: int) -> list[int]:
    """A process and its descendants that are alive."""
    pids = [pid]
    for parent in pids:
        try:
            pids += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            continue  # it has ended since
    return pids


def _cpu_ns(pid: int) -> int:
    total_ns = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total_ns += int(schedstat.read_text().split()[0])
        except (OSError, IndexError):  # it ends, or has ended
            continue
    return total_ns
