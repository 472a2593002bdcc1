"""A trace: what is shown of which connections, and where it goes. What programs and embedders make one of.

    trace = Trace(filter="frame=HEADERS,DATA", file=sys.stderr)

It gives each connection a `ConnectionReader`, whose records pass its filter on their way to its outputs. Used from one
thread. Imports `service`, `transport.contract` and its siblings.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from wire.inspect import as_json
from wire.inspect.as_text import TextWriter
from wire.inspect.filters import parse_filter
from wire.inspect.layer import TracedRuntime
from wire.inspect.reader import MAX_MESSAGE_BYTES, ConnectionReader
from wire.inspect.records import Record
from wire.inspect.schemas import Schemas
from wire.inspect.secrets import Secrets
from wire.service import Method, Service
from wire.transport.contract import Runtime

_log = logging.getLogger("wire.inspect")

Output = Callable[[Record], None]
"""Takes each record; one that raises gets nothing more."""


class Trace:
    """Shows what is on the wire.

    `filter` is in the syntax of `filters`. Records go to each of `outputs`, and as text to `file` (coloured on a
    terminal); where neither is given to stderr. `services` say which messages methods take; those of servers and
    channels are added by themselves, and messages of others are shown as raw fields. `secrets` says what is masked.
    Raises `ConfigurationError` for a filter that cannot be read.
    """

    def __init__(
        self,
        filter: str = "",  # noqa: A002  it is the flag's name, too
        *,
        file: TextIO | None = None,
        outputs: Iterable[Output] = (),
        services: Iterable[Service] = (),
        secrets: Secrets | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._shows = parse_filter(filter)
        self._outputs = list(outputs)
        if file is not None or not self._outputs:
            self._outputs.append(text_output(sys.stderr if file is None else file))
        self.schemas = Schemas()
        for service in services:
            self.add_service(service)
        self.secrets = Secrets() if secrets is None else secrets
        self._max_message_bytes = max_message_bytes
        self._clock = clock
        self._began_s: float | None = None
        self._connections = 0
        self.on_output_lost: Callable[[Exception], None] = _warn
        """Called when an output raised; it gets nothing more."""

    def add_service(self, service: Service) -> None:
        """Messages of its methods are then shown by name."""
        self.schemas.add_files(service.files)
        for method in service.methods:
            self.add_method(method)

    def add_method(self, method: Method[Any, Any]) -> None:
        """Its messages are then shown by name."""
        if method.path is not None:
            self.schemas.add_method(method.path, method.request.message_type, method.response.message_type)

    def around(self, runtime: Runtime) -> Runtime:
        """The runtime, with this trace on everything that it connects and accepts. Servers and channels ask for it."""
        between: Any = TracedRuntime(runtime, self.connection, self.now)
        return between  # type: ignore[no-any-return]

    def now(self) -> float:
        """Seconds since the trace's first question for them."""
        if self._began_s is None:
            self._began_s = self._clock()
        return self._clock() - self._began_s

    def connection(self, *, whole: bool = True) -> ConnectionReader:
        """A reader for one more connection. `whole`: it will see it from the first byte on."""
        self._connections += 1
        return ConnectionReader(
            self._connections,
            self._tell,
            schemas=self.schemas,
            secrets=self.secrets,
            max_message_bytes=self._max_message_bytes,
            whole=whole,
        )

    def _tell(self, record: Record) -> None:
        if not self._outputs or not self._shows(record):
            return
        for output in tuple(self._outputs):
            try:
                output(record)
            except Exception as error:  # it must not end the connections that are looked at
                self._outputs.remove(output)
                self.on_output_lost(error)


def _warn(error: Exception) -> None:
    _log.warning("the trace ends: %s", error)


def text_output(file: TextIO, *, colours: bool | None = None, full: bool = False, process: str = "") -> Output:
    """Lines for people. `colours`: None for what the file is (a terminal) and what NO_COLOR and FORCE_COLOR say.

    `full`: texts and bytes of any length are shown whole. `process`: tells several apart that share the file.
    """
    if colours is None:
        colours = bool(os.environ.get("FORCE_COLOR")) or (file.isatty() and not os.environ.get("NO_COLOR"))
    writer = TextWriter(colours=colours, full=full, process=process)

    def output(record: Record) -> None:
        file.write(writer.text(record))
        file.flush()

    return output


class JsonLines:
    """An output: a file of JSON lines, one for each record, behind what is in it. Only its owner may read a new one.
    Raises OSError where it cannot be written.

    Each line is written at once and whole, so several processes may share the file; `process` tells them apart.
    """

    __slots__ = ("_descriptor", "_process")

    def __init__(self, path: Path, *, process: str = "") -> None:
        self._process = process
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)

    def __call__(self, record: Record) -> None:
        data = as_json.line(record, self._process).encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
