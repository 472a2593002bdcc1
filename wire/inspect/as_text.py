"""Records → lines for people, coloured where that is asked for.

    0.001204 c1 →   1 HEADERS END_HEADERS, 85 bytes  /echo.v1.EchoService/Echo
                      :method: POST

Arrows point to the server (→) or to the client (←). No control character of a peer survives. Imports `records`,
`secrets` and `transport.address` (`printable`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wire.inspect.records import CallEnded, ConnectionLost, ConnectionMade, Frame, Message, RawBytes, Record, To, Value
from wire.inspect.secrets import mask
from wire.transport.address import printable

_MAX_TEXT: Final = 200  # characters of a text, and bytes of bytes, that are shown
_INDENT: Final = " " * 22

_RESET, _BOLD, _DIM, _RED, _GREEN, _YELLOW, _BLUE, _CYAN = (
    f"\x1b[{code}m" for code in ("0", "1", "2", "31", "32", "33", "34", "36")
)
_COLOURS: Final = {To.SERVER: _CYAN, To.CLIENT: _GREEN}
_ARROWS: Final = {To.SERVER: "→", To.CLIENT: "←"}


class TextWriter:
    """Makes each record a few lines. `full`: texts and bytes are shown whole. `process`: stands before connections."""

    __slots__ = ("_colours", "_full", "_process")

    def __init__(self, *, colours: bool, full: bool = False, process: str = "") -> None:
        self._process = f"{process} " if process else ""
        self._colours = colours
        self._full = full

    def text(self, record: Record) -> str:
        """The record's lines, each with its newline."""
        return "".join(f"{each}\n" for each in self._lines(record))

    def _lines(self, record: Record) -> Iterator[str]:
        match record:
            case Frame():
                yield from self._frame(record)
            case CallEnded():
                yield self._call(record)
            case ConnectionMade():
                client, server = (printable(each) or "here" for each in (record.client, record.server))
                tls = f", {record.tls}" if record.tls else ""
                yield f"{self._start(record)}{self._paint(_BOLD, f'connected: {client} → {server}{tls}')}"
            case ConnectionLost():
                reason = f": {printable(record.reason)}" if record.reason else ""
                yield f"{self._start(record)}{self._paint(_BOLD, f'closed{reason}')}"
            case RawBytes():
                yield self._start(record, record.to) + f"    {record.size_bytes} bytes" + self._problem(record.problem)
                if record.content:
                    yield _INDENT + self._bytes(record.content)

    def _start(self, record: Record, to: To | None = None) -> str:
        arrow = " " if to is None else self._paint(_COLOURS[to], _ARROWS[to])
        return self._paint(_DIM, f"{record.at_s:11.6f}") + f" {self._process}c{record.connection:<2} {arrow} "

    def _frame(self, record: Frame) -> Iterator[str]:
        stream = f"{record.stream or '':>3}"
        parts = [self._paint(_BOLD, record.name), *record.flags]
        parts += [f"{name}={printable(str(value))}" for name, value in record.details]
        line = f"{self._start(record, record.to)}{stream} {' '.join(parts)}, {record.size_bytes} bytes"
        if record.padding_bytes:
            line += f" ({record.padding_bytes} of padding)"
        if record.name == "HEADERS" and record.method and record.to is To.SERVER:
            line += "  " + self._paint(_BLUE, printable(record.method))
        if record.since_s is not None:
            line += self._paint(_DIM, f"  +{record.since_s * 1000:.3f} ms")
        windows = []
        if record.stream_window_bytes is not None:
            windows.append(f"stream {record.stream_window_bytes}")
        if record.connection_window_bytes is not None:
            windows.append(f"connection {record.connection_window_bytes}")
        if windows:
            line += self._paint(_DIM, f"  window left: {', '.join(windows)}")
        yield line
        for name, value in record.fields:
            yield f"{_INDENT}{self._paint(_DIM, printable(name) + ':')} {self._cut(value)}".rstrip()
        for message in record.messages:
            yield from self._message(message)
        if record.message_progress is not None:
            come, size = record.message_progress
            yield f"{_INDENT}{come} of a message's {size} bytes have come"
        for problem in record.problems:
            yield _INDENT + self._paint(_RED, f"! {printable(problem)}")

    def _message(self, message: Message) -> Iterator[str]:
        size = f"{message.size_bytes} bytes"
        if message.compressed:
            size += f" compressed, {message.plain_bytes} plain" if message.fields is not None else " compressed"
        name = f" {printable(message.type_name)}" if message.type_name else ""
        title = self._paint(_YELLOW, f"message {message.index}")
        yield f"{_INDENT}{title}{name}, {size}{self._problem(message.problem)}"
        for value in message.fields or ():
            yield from self._value(value, _INDENT + "  ")

    def _value(self, value: Value, indent: str) -> Iterator[str]:
        name = printable(value.name) if value.name else str(value.number)
        content = value.content
        if isinstance(content, tuple):
            yield f"{indent}{name} {{"
            for each in content:
                yield from self._value(each, indent + "  ")
            yield indent + "}"
            return
        if value.kind == "masked":
            shown = mask(int(content))
        elif isinstance(content, bytes):
            shown = self._bytes(content)
        elif isinstance(content, str) and value.kind == "string":
            shown = f'"{self._cut(content)}"'
        elif isinstance(content, bool):
            shown = str(content).lower()
        else:
            shown = printable(str(content))
        yield f"{indent}{name}: {shown}"

    def _call(self, record: CallEnded) -> str:
        colour = _GREEN if record.status == "OK" else _RED
        status = self._paint(colour, record.status)
        text = (
            f"{self._start(record)}{record.stream:>3} {self._paint(_BOLD, 'CALL')} {printable(record.method)} {status}"
        )
        if record.status_message:
            text += f": {self._cut(record.status_message)}"
        if record.how:
            text += f" ({record.how})"
        text += f"  {_count(record.requests)} →, {record.request_bytes} bytes"
        text += f"; {_count(record.responses)} ←, {record.response_bytes} bytes; {record.took_s * 1000:.3f} ms"
        if record.first_response_s is not None:
            text += f", first answer after {record.first_response_s * 1000:.3f} ms"
        return text

    def _problem(self, problem: str) -> str:
        return self._paint(_RED, f"  ! {printable(problem)}") if problem else ""

    def _cut(self, text: str) -> str:
        if self._full or len(text) <= _MAX_TEXT:
            return printable(text)
        return f"{printable(text[:_MAX_TEXT])}… ({len(text)} characters)"

    def _bytes(self, data: bytes) -> str:
        """As a literal of Python, so that what is text in it can be read."""
        if self._full or len(data) <= _MAX_TEXT:
            return repr(data)
        return f"{data[:_MAX_TEXT]!r}… ({len(data)} bytes)"

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours else text


def _count(messages: int) -> str:
    return f"{messages} message{'' if messages == 1 else 's'}"
