"""JSON values out of text that comes in pieces: one a line, several a line, or one over many lines."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, BinaryIO

import anyio

from wire.errors import ConfigurationError

_PIECE_BYTES = 1 << 16
_SPACE = re.compile(r"[ \t\n\r]*")
_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')


class JsonError(ConfigurationError):
    """What should be JSON is not. The text says where."""


class JsonValues:
    """Takes bytes as they come, gives the values that are whole, in order.

    A value is given as soon as its line has ended. Work is linear in the bytes: brackets are counted line by line, as
    no string goes over the end of one (RFC 8259 §7).
    """

    def __init__(self, source: str) -> None:
        """`source`: what errors call it, such as a file's name."""
        self._source = source
        self._decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates)
        self._rest: list[bytes] = []
        self._lines: list[str] = []
        self._depth = 0
        self._line = 0

    def feed(self, data: bytes) -> Iterator[Any]:
        """Values that `data` completes. Raises `JsonError`."""
        first, *more = data.split(b"\n")
        self._rest.append(first)
        for piece in more:
            line = b"".join(self._rest)
            self._rest = [piece]
            yield from self._take(line)

    def end(self) -> Iterator[Any]:
        """There is no more; values that had no line break behind them."""
        line, self._rest = b"".join(self._rest), []
        yield from self._take(line)
        if self._lines:
            yield from self._decode()

    def _take(self, line: bytes) -> Iterator[Any]:
        self._line += 1
        try:
            text = line.decode("utf-8-sig" if self._line == 1 else "utf-8")
        except UnicodeDecodeError:
            raise JsonError(f"{self._source}, line {self._line}: this is not UTF-8") from None
        if self._lines or text.strip():
            self._lines.append(text)
        for token in _STRINGS_AND_BRACKETS.findall(text):
            if token in "{[":
                self._depth += 1
            elif token in "}]":
                self._depth -= 1
        if self._depth <= 0 and self._lines:
            yield from self._decode()

    def _decode(self) -> Iterator[Any]:
        text, count = "\n".join(self._lines), len(self._lines)
        self._lines, self._depth = [], 0
        position = 0
        while (position := _after_space(text, position)) < len(text):
            try:
                value, position = self._decoder.raw_decode(text, position)
            except json.JSONDecodeError as error:
                line = self._line - count + error.lineno
                raise JsonError(f"{self._source}, line {line}: {error.msg} at column {error.colno}") from None
            except (ValueError, RecursionError) as error:
                raise JsonError(f"{self._source}, line {self._line}: {error}") from None
            yield value


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return position if found is None else found.end()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} stands twice in one object")
    return found


def json_values(text: bytes, source: str) -> list[Any]:
    """All values in a text. Raises `JsonError`."""
    values = JsonValues(source)
    return [*values.feed(text), *values.end()]


async def pieces_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """What can be read from a file, pipe or terminal, as it comes; the event loop goes on while there is nothing."""
    try:
        descriptor = file.fileno()
    except OSError:  # something in memory
        yield file.read()
        return
    waits = True
    while True:
        if waits:
            try:
                await anyio.wait_readable(descriptor)
            except OSError:  # a regular file, which epoll(7) does not take, and which is always readable
                waits = False
        data = os.read(descriptor, _PIECE_BYTES)
        if not data:
            return
        yield data


def open_data(argument: str | None) -> tuple[str, BinaryIO]:
    """What a command line's JSON is called in errors, and a file of it: JSON itself, "@file", or "-" for standard
    input. Raises `OSError` for a file that cannot be opened."""
    if argument in ("-", "@-", "@"):
        return "standard input", sys.stdin.buffer
    if argument is not None and argument.startswith("@"):
        return argument[1:], open(argument[1:], "rb")
    return "the request", io.BytesIO((argument or "").encode(errors="surrogateescape"))
