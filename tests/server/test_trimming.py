"""When memory is handed back, and that it is."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from typing import Any, cast

import pytest

import wire
from tests.clocks import ManualClock
from tests.leftovers import COUNTED
from tests.support import run
from wire.server.trimming import Trimming
from wire.transport.runtime import LoopName

MIB = 1 << 20


class Process:
    """One of which as much is free as the test says, until that is given back."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.free_bytes = 0
        self.trims = 0
        self.trimming = Trimming(cast(Any, self.clock), 32 * MIB, self)

    def size_bytes(self) -> int:
        return self.free_bytes

    def give_back(self) -> None:
        self.trims += 1
        self.free_bytes = 0

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for thread in threading.enumerate():
            if thread.name == "wire-trim":
                thread.join()


def test_memory_is_handed_back_a_second_after_a_connection_when_much_is_free() -> None:
    process = Process()
    process.free_bytes = 33 * MIB
    process.trimming.connection_ended()
    process.trimming.connection_ended()
    process.pass_time(0.9)
    assert process.trims == 0
    process.pass_time(0.2)
    assert process.trims == 1
    process.pass_time(100)
    assert process.trims == 1
    process.free_bytes = 33 * MIB
    process.trimming.connection_ended()
    process.pass_time(1)
    assert process.trims == 2


def test_a_little_is_left_where_it_is() -> None:
    process = Process()
    process.free_bytes = 32 * MIB
    for _ in range(3):
        process.trimming.connection_ended()
        process.pass_time(1)
    assert process.trims == 0


def test_it_does_not_happen_again_for_ten_seconds() -> None:
    process = Process()
    for trims in (1, 2):
        process.free_bytes = 50 * MIB
        process.trimming.connection_ended()
        process.pass_time(1.1)
        assert process.trims == 1
        process.pass_time(8)
        assert process.trims == trims


def test_nothing_waits_once_it_is_closed() -> None:
    process = Process()
    process.trimming.connection_ended()
    process.trimming.close()
    process.trimming.connection_ended()
    assert process.clock.pending == []


def test_other_c_libraries_and_those_who_want_none_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = cast(Any, ManualClock())
    assert Trimming.make(clock, None) is None
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert Trimming.make(clock, 1) is None


def test_a_server_looks_when_a_connection_has_ended(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = 0

    class Recorded(Trimming):
        def connection_ended(self) -> None:
            nonlocal ended
            ended += 1
            super().connection_ended()

    monkeypatch.setattr("wire.server.server.Trimming.make", lambda runtime, most: Recorded(runtime, most, Process()))

    async def main() -> None:
        async with wire.Server([]) as server:
            address = await server.listen("127.0.0.1:0")
            async with wire.Channel(address) as channel:
                await channel.ready()
            await server.stop()
        assert ended == 1

    run(main, loop=loop)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
@COUNTED
def test_what_was_freed_below_something_small_goes_back() -> None:
    code = """if True:
        import os
        from wire.process import FreedMemory, tune_process

        def resident_mib():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

        tune_process()
        freed = FreedMemory.find()
        before, free = resident_mib(), freed.size_bytes()
        blocks = [bytearray(b"x") * 100_000 for _ in range(1000)]
        del blocks[:-1]
        print(resident_mib() - before, freed.size_bytes() - free >> 20)
        freed.give_back()
        print(resident_mib() - before)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    kept, free, after = map(int, done.stdout.split())
    assert kept > 60
    assert free > 60
    assert after < 10
