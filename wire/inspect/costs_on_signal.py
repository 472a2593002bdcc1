"""Layer costs of a server that runs: a signal begins it, and ten seconds later they are handed out.

Nothing is done before the signal but to set its handler. Imports `costs`, `sampling` and of wire `live`.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from wire import live
from wire.errors import ConfigurationError
from wire.inspect.costs import LayerCosts, layer_costs
from wire.inspect.sampling import Sampler

MEASURE_S: Final = 10.0

_log = logging.getLogger("wire.inspect")


def costs_on_signal(
    output: Callable[[LayerCosts], object], *, number: int | None = None, measure_s: float = MEASURE_S
) -> None:
    """At the signal (SIGUSR2), measure for `measure_s`, and give the costs to `output`, in a thread; a second signal
    ends it early.

    To be called in the main thread, whose event loop is measured. Calls are those of the process's servers. Where a
    process cannot be measured, the log says why at the signal. Raises `ConfigurationError` where there is no SIGUSR2.
    """
    if number is None:
        number = getattr(signal, "SIGUSR2", None)
        if number is None:
            raise ConfigurationError("layer costs begin at SIGUSR2, which this system does not have")
    signal.signal(number, _OnSignal(output, number, measure_s))


class _OnSignal:
    """A signal's handler. Both the begin and the end of measuring are at a signal, so in the main thread, where the
    state of servers may be read; the thread that waits in between sends the second one. Only threads write: the signal
    may have come amid a write of the main thread, and Python lets none begin within another."""

    def __init__(self, output: Callable[[LayerCosts], object], number: int, measure_s: float) -> None:
        self._output = output
        self._number = number
        self._measure_s = measure_s
        self._sampler: Sampler | None = None
        self._ended = threading.Event()
        self._calls = 0
        self._late = False
        """The thread's signal is on its way."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._sampler is not None:
            self._end(self._sampler)
        elif not self._late:  # it was ended early, just when its time was up
            self._begin()
        self._late = False

    def _begin(self) -> None:
        sampler = Sampler()
        try:
            sampler.start()
        except ConfigurationError as error:
            threading.Thread(target=_log.error, args=("%s", error), name="wire-costs-error").start()
            return
        self._sampler, self._ended = sampler, threading.Event()
        self._calls = _calls_started()
        threading.Thread(target=self._wait, args=(self._ended,), name="wire-costs-end", daemon=True).start()

    def _wait(self, ended: threading.Event) -> None:
        _log.info("measuring layer costs for %g s", self._measure_s)
        if not ended.wait(self._measure_s):
            self._late = True
            os.kill(os.getpid(), self._number)

    def _end(self, sampler: Sampler) -> None:
        self._sampler = None
        self._ended.set()
        samples, calls = sampler.stop(), _calls_started() - self._calls
        # Adding up takes a while, which calls need not wait for.
        threading.Thread(target=lambda: self._report(layer_costs(samples, calls)), name="wire-costs-report").start()

    def _report(self, costs: LayerCosts) -> None:
        try:
            self._output(costs)
        except OSError as error:
            _log.error("layer costs were not written: %s", error.strerror)


def _calls_started() -> int:
    return sum(server.calls_started for server in live.servers())
