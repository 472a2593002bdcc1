"""Which records a trace shows: a small syntax in, a function of records out.

    frame=HEADERS,DATA method=Echo* stream=1-9 connection!=2 to=server

All terms must hold; of a term's values one must (with `!=`: none). `frame` takes the names of RFC 9113 §6, and
PREFACE, CALL (one record for each call that ended), CONNECTION and RAW. `method` takes patterns, as a shell has them,
of a path ("/echo.v1.*/*"), or of a method's own name where there is no slash. What belongs to no call has no method.
Imports `errors`, `http2.codes` and `records`.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

from wire.errors import ConfigurationError
from wire.http2.codes import FrameType
from wire.inspect.records import CALL, CONNECTION, PREFACE, RAW, CallEnded, Frame, RawBytes, Record, To

Filter = Callable[[Record], bool]

_KINDS: Final = (*(each.name for each in FrameType), PREFACE, CALL, CONNECTION, RAW)


def parse_filter(text: str) -> Filter:
    """The filter that `text` describes; an empty one shows everything. Raises `ConfigurationError`."""
    terms = [_term(each) for each in text.split()]
    if not terms:
        return _everything
    if len(terms) == 1:
        return terms[0]
    return lambda record: all(term(record) for term in terms)


def _everything(record: Record) -> bool:
    return True


def _term(text: str) -> Filter:
    key, equals, values_text = text.partition("=")
    negated = key.endswith("!")
    key = key.removesuffix("!")
    if not equals or not key:
        raise ConfigurationError(f'cannot use the filter "{text}": a term reads KEY=VALUE, as in frame=HEADERS')
    make = _KEYS.get(key)
    if make is None:
        raise ConfigurationError(f'cannot use the filter "{text}": {_not_one_of(key, tuple(_KEYS))}')
    values = values_text.split(",")
    if not all(values):
        raise ConfigurationError(f'cannot use the filter "{text}": a value is missing')
    try:
        holds = make(values)
    except ValueError as error:
        raise ConfigurationError(f'cannot use the filter "{text}": {error}') from None
    return (lambda record: not holds(record)) if negated else holds


def _not_one_of(name: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(name, names, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f'"{name}" is not one of {", ".join(names)}{hint}'


def _frame(values: list[str]) -> Filter:
    kinds = {each.upper() for each in values}
    for kind in kinds:
        if kind not in _KINDS:
            raise ValueError(_not_one_of(kind, _KINDS))
    return lambda record: record.kind in kinds


def _method(values: list[str]) -> Filter:
    patterns = [each if "/" in each else f"*/{each}" for each in values]
    patterns = [each if each.startswith(("/", "*")) else f"/{each}" for each in patterns]
    return lambda record: any(fnmatchcase(_method_of(record), each) for each in patterns)


def _method_of(record: Record) -> str:
    return record.method if isinstance(record, Frame | CallEnded) else ""


def _stream(values: list[str]) -> Filter:
    ranges = _ranges(values)
    return lambda record: (
        isinstance(record, Frame | CallEnded) and any(low <= record.stream <= high for low, high in ranges)
    )


def _connection(values: list[str]) -> Filter:
    ranges = _ranges(values)
    return lambda record: any(low <= record.connection <= high for low, high in ranges)


def _ranges(values: list[str]) -> list[tuple[int, int]]:
    ranges = []
    for each in values:
        low, dash, high = each.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ValueError(f'"{each}" is neither a number nor a range such as 1-9')
        ranges.append((int(low), int(high or low)))
    return ranges


def _to(values: list[str]) -> Filter:
    sides = set(values)
    for side in sides - {each.value for each in To}:
        raise ValueError(_not_one_of(side, tuple(each.value for each in To)))
    return lambda record: isinstance(record, Frame | RawBytes) and record.to.value in sides


_KEYS: Final[dict[str, Callable[[list[str]], Filter]]] = {
    "frame": _frame,
    "method": _method,
    "stream": _stream,
    "connection": _connection,
    "to": _to,
}
