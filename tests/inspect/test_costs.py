"""Samples become CPU time by layer, which comes to what the clock says; a server that runs is measured at a signal."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import socket
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from typing import Any

import anyio
import pytest

import wire
from tests.support import LOCAL, Probe, ProbeStub
from wire.errors import ConfigurationError
from wire.inspect import (
    LayerCosts,
    Sampler,
    Samples,
    add_up,
    costs_as_text,
    costs_on_signal,
    flame_graph,
    folded_lines,
    layer_costs,
    sampling,
)
from wire.inspect.layers import Layer
from wire.inspect.sampling import StackFrame
from wire.programs.costs import to_stderr
from wire.transport.runtime import LoopName

USER = (StackFrame("/srv/shop/service.py", 12, "get"),)
CODEC = (StackFrame("<wire.codec shop.Item>", 3, "decode"), *USER)
ASLEEP = (StackFrame(asyncio.runners.__file__, 1, "run"),)

pytestmark = pytest.mark.skipif(sampling.unsupported() is not None, reason="layer costs are not measured here")


def samples(**changes: float) -> Samples:
    made = Samples(
        stacks=Counter({USER: 300, CODEC: 100}),
        interval_s=0.002,
        wall_s=2.0,
        cpu_s=1.0,
        own_s=0.1,
        system_s=0.04,
        delayed_s=0.0,
        other_threads_s=0.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_each_sample_is_its_interval_and_the_rest_is_the_kernels_poll() -> None:
    costs = layer_costs(samples(), 1000)
    assert costs.layers == pytest.approx({Layer.KERNEL_POLL: 0.1, Layer.CODEC_IN: 0.2, Layer.HANDLER: 0.6})
    assert costs.sum_s == pytest.approx(costs.cpu_s) == pytest.approx(0.9)
    assert costs.asleep_s == 1.0
    assert costs.per_call_us(costs.layers[Layer.HANDLER]) == pytest.approx(600)


def test_samples_that_come_to_more_than_the_clock_are_made_smaller() -> None:
    costs = layer_costs(samples(cpu_s=0.5), 1000)
    assert costs.layers == pytest.approx({Layer.CODEC_IN: 0.1, Layer.HANDLER: 0.3})


def test_loop_in_c_has_what_is_not_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linecache.getline", lambda *_: "    return self._loop.run_until_complete(task)\n")
    costs = layer_costs(samples(stacks=Counter({USER: 400, ASLEEP: 10_000})), 1000)  # type: ignore[arg-type]
    assert costs.layers == pytest.approx({Layer.KERNEL: 0.04, Layer.EVENT_LOOP: 0.06, Layer.HANDLER: 0.8})


def test_json_is_the_costs_again() -> None:
    costs = layer_costs(samples(), 1000)
    assert LayerCosts.from_json(json.loads(json.dumps(costs.as_json()))) == costs


def test_text_has_a_column_for_each_and_what_was_used_without_measuring() -> None:
    text = costs_as_text([("tuned", layer_costs(samples(), 1000)), ("h2", layer_costs(samples(), 500))], [950.0, None])
    lines = {line[:24].strip(): line[24:].split() for line in text.splitlines()}
    assert lines["µs a call"] == ["tuned", "h2"]
    assert lines["handler"] == ["600", "±69.3", "67%", "1200", "±139", "67%"]
    assert lines["sum"] == ["900", "1800"]
    assert lines["CPU, not measuring"] == ["950.00", "(sum", "-5%)", "–"]
    assert lines["waiting"] == ["1000", "2000"]


def test_text_says_when_other_programs_had_the_cpu_and_when_there_were_no_calls() -> None:
    text = costs_as_text([("server", layer_costs(samples(delayed_s=0.5), 0))])
    assert text.startswith("ms in all")
    assert "server: waited for a CPU 25% of the time, behind other programs: its figures are rough\n" in text


def test_flame_graph_is_as_wide_as_what_it_shows_and_says_what_it_is() -> None:
    picture = ET.fromstring(flame_graph(layer_costs(samples(), 1).folded, "a < b"))
    svg = "{http://www.w3.org/2000/svg}"
    widths = {}
    for group in picture.iter(f"{svg}g"):
        title, rect = group.find(f"{svg}title"), group.find(f"{svg}rect")
        assert title is not None
        assert rect is not None
        widths[(title.text or "").partition(":")[0]] = float(rect.get("width", ""))
    assert widths["get (shop/service.py)"] == pytest.approx(widths["all"] * 8 / 9, abs=0.1)
    assert widths["decode (<wire.codec shop.Item>)"] == pytest.approx(widths["all"] * 2 / 9, abs=0.1)
    assert "[codec in]" in widths


def test_folded_lines_are_what_other_programs_read() -> None:
    assert folded_lines({"b;c": 0.002, "a": 0.5}) == "a 500000\nb;c 2000\n"


def spin(seconds: float) -> int:
    turns, end = 0, time.thread_time() + seconds
    while time.thread_time() < end:
        turns += 1
    return turns


def test_sampler_finds_what_is_busy() -> None:
    sampler = Sampler()
    sampler.start()
    spin(0.3)
    taken = sampler.stop()
    stacks = taken.stacks
    busy = sum(count for stack, count in stacks.items() if stack[0].function == "spin")
    assert busy > 0.9 * stacks.total() > 0
    assert 0 < taken.own_s < 0.1 * taken.cpu_s
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def leaf(seconds: float) -> None:
    pass


def test_way_to_a_function_is_its_callers_time() -> None:
    sampler = Sampler()
    sampler.start()
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        for _ in range(1000):
            leaf(0)
    stacks = sampler.stop().stacks
    assert stacks.total() > 0
    assert not any(stack[0].function == "leaf" for stack in stacks)


def test_sampler_is_one_at_a_time_in_the_main_thread_and_leaves_others_signals_alone() -> None:
    sampler = Sampler()
    sampler.start()
    with pytest.raises(ConfigurationError, match="SIGALRM, which layer costs need, is in use"):
        Sampler().start()
    sampler.stop()
    errors: list[ConfigurationError] = []

    def elsewhere() -> None:
        try:
            Sampler().start()
        except ConfigurationError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert str(errors[0]) == "layer costs are those of the main thread, and are begun there"


def test_loops_are_woken_by_others_signals_alone() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = signal.set_wakeup_fd(writer.fileno())
        handled = signal.signal(signal.SIGUSR1, lambda *_: None)
        wakeups = sampling._Wakeups()
        try:
            signal.raise_signal(signal.SIGUSR1)
            wakeups.pass_on()
            assert reader.recv(10) == bytes([signal.SIGUSR1])
            signal.raise_signal(signal.SIGUSR1)
            signal.set_wakeup_fd(-1)  # the loop has ended
            wakeups.close()
            assert signal.set_wakeup_fd(before) == -1
            with pytest.raises(BlockingIOError):
                reader.recv(10)
        finally:
            signal.signal(signal.SIGUSR1, handled)


def test_interpreters_and_systems_without_it_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(signal, "setitimer")
        with pytest.raises(ConfigurationError, match="need a timer that sends signals"):
            Sampler().start()
    with monkeypatch.context() as patch:
        patch.delattr(signal, "SIGUSR2")
        with pytest.raises(ConfigurationError, match="SIGUSR2, which this system does not have"):
            costs_on_signal(print)


def test_server_that_runs_is_measured_at_a_signal(loop: LoopName) -> None:
    """And what is written of it has nothing of a payload."""
    got: list[LayerCosts] = []
    done = threading.Event()

    def output(costs: LayerCosts) -> None:
        got.append(costs)
        done.set()

    async def main() -> None:
        async with wire.Server([Probe()]) as server, wire.Channel(await server.listen(LOCAL)) as channel:
            stub = ProbeStub(channel)
            await stub.unary(b"before")
            signal.raise_signal(signal.SIGUSR2)
            end = time.thread_time() + 0.2
            while time.thread_time() < end:
                await stub.unary(b"marker-of-a-payload")
            signal.raise_signal(signal.SIGUSR2)
            assert await anyio.to_thread.run_sync(done.wait, 30)

    before = signal.getsignal(signal.SIGUSR2)
    costs_on_signal(output)
    try:
        wire.run(main, loop=loop)
    finally:
        signal.signal(signal.SIGUSR2, before)
    costs = got[0]
    assert costs.calls > 10
    assert {Layer.HTTP2_IN, Layer.HTTP2_OUT, Layer.CALL_STATE} & set(costs.layers)
    assert costs.sum_s == pytest.approx(costs.cpu_s, rel=0.01)
    assert "marker" not in json.dumps(costs.as_json()) + costs_as_text([("server", costs)])


def test_measuring_ends_by_itself() -> None:
    done = threading.Event()
    before = signal.getsignal(signal.SIGUSR2)
    costs_on_signal(lambda costs: done.set(), measure_s=0.05)
    try:
        signal.raise_signal(signal.SIGUSR2)
        assert done.wait(30)
    finally:
        signal.signal(signal.SIGUSR2, before)


class _Signalled(io.RawIOBase):
    """A file whose first write is interrupted by SIGUSR2."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        first = not self.written
        self.written += bytes(data)
        if first:
            signal.raise_signal(signal.SIGUSR2)
        return len(data)


def test_signal_that_comes_amid_a_write_is_logged_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    file = _Signalled()
    handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(file), write_through=True))
    log = logging.getLogger("wire.inspect")
    done = threading.Event()
    before = signal.getsignal(signal.SIGUSR2)
    costs_on_signal(lambda costs: done.set(), measure_s=0.05)
    try:
        log.addHandler(handler)
        with caplog.at_level(logging.INFO, "wire.inspect"):
            log.info("written")
            assert done.wait(30)
    finally:
        log.removeHandler(handler)
        signal.signal(signal.SIGUSR2, before)
    assert file.written == b"written\nmeasuring layer costs for 0.05 s\n"


def test_costs_of_several_processes_are_added_up() -> None:
    one, two = layer_costs(samples(), 1000), layer_costs(samples(stacks=Counter({USER: 400})), 500)  # type: ignore[arg-type]
    both = add_up([one, two])
    assert both is not None
    assert both.calls == 1500
    assert both.layers == pytest.approx({Layer.KERNEL_POLL: 0.2, Layer.CODEC_IN: 0.2, Layer.HANDLER: 1.4})
    assert both.errors_s[Layer.HANDLER] == pytest.approx((one.errors_s[Layer.HANDLER] ** 2 + 0.08**2) ** 0.5)
    assert list(both.layers) == [Layer.KERNEL_POLL, Layer.CODEC_IN, Layer.HANDLER]
    assert add_up([]) is None


def test_server_prints_a_table_or_with_logs_as_json_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    costs = layer_costs(samples(), 1000)
    to_stderr("text")(costs)
    text = capsys.readouterr().err
    assert text.startswith("2.0 s, 1,000 calls\nµs a call ")
    to_stderr("json")(costs)
    assert LayerCosts.from_json(json.loads(capsys.readouterr().err)) == costs
