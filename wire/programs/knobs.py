"""The knobs of `wire.config` by name, such as "http2.stream_window_bytes": listed, read from text and from files.

Names, types, defaults, ranges and reasons come from the dataclasses and their docstrings, so that a field which is
added there is a knob here. Imports `config`, `errors` and `standard.symbols`.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from wire import config as wire_config
from wire.errors import ConfigurationError
from wire.standard.symbols import nearest

C = TypeVar("C")

_SIZES = {"": 1, "K": 1 << 10, "KIB": 1 << 10, "M": 1 << 20, "MIB": 1 << 20, "G": 1 << 30, "GIB": 1 << 30}
_TIMES = {"": 1.0, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"([-+0-9._eE]*[0-9.])\s*([A-Za-zµ]*)")


class KnobError(ConfigurationError):
    """There is no such knob, or it cannot have this value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """`kind`: int, float, bool, str, or frozenset of whole numbers. `choices`: the only texts, where they are named."""

    name: str
    kind: type
    default: Any
    reason: str
    optional: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    off: bool = False
    """It is one of a group that does nothing until one of them is set."""

    @property
    def unit(self) -> str:
        """ "bytes", "s", "per s", or nothing for a count, a share, a name."""
        for suffix, unit in (("_bytes", "bytes"), ("_per_s", "per s"), ("_s", "s")):
            if self.name.endswith(suffix):
                return unit
        return ""

    @property
    def range(self) -> str:
        """In words; empty where there is none."""
        if self.choices:
            text = ", ".join(self.choices)
        elif self.kind is bool:
            text = "true, false"
        elif self.low is None or self.high is None:
            text = "text" if self.kind is str else "whole numbers with commas between them"
        else:
            text = f"{self.low:,.15g} to {self.high:,.15g} {self.unit}".rstrip()
        return f"{text} or none" if self.optional else text

    def read(self, text: str) -> Any:
        """The value that a text stands for, such as 1MiB, 250ms, none. Raises `KnobError`."""
        if self.optional and text.lower() == "none":
            return None
        if self.choices:
            if text not in self.choices:
                raise KnobError(
                    f"{self.name} cannot be {text!r}: it is one of {self.range}{nearest(text, self.choices)}"
                )
            return text
        if self.kind is str:
            return text
        try:
            if self.kind is bool:
                return {"true": True, "false": False}[text.lower()]
            if self.kind is frozenset:
                return frozenset(int(each) for each in text.split(","))
            value = self._quantity(text)
            if self.low is not None and self.high is not None and not self.low <= value <= self.high:
                raise ValueError(text)
            return value
        except (KeyError, ValueError):
            examples = {"bytes": ", as 65536 or 64KiB", "s": ", as 0.25 or 250ms"}.get(self.unit, "")
            raise KnobError(f"{self.name} cannot be {text!r}: it is {self.range}{examples}") from None

    def _quantity(self, text: str) -> int | float:
        found = _QUANTITY.fullmatch(text.strip())
        if found is None:
            raise ValueError(text)
        number, unit = found.groups()
        factor: float = 1
        if self.unit == "bytes":
            factor = _SIZES[unit.upper()]
        elif self.unit == "s":
            factor = _TIMES[unit]
        elif unit:
            raise ValueError(text)
        value = float(number) * factor
        if self.kind is float:
            return value
        if not value.is_integer():
            raise ValueError(text)
        return int(value) if factor != 1 or not number.lstrip("+-").replace("_", "").isdigit() else int(number)

    def show(self, value: Any) -> str:
        """A value as it can be read again; bytes in the largest unit that leaves no remainder."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, frozenset):
            return ",".join(map(str, sorted(value)))
        if self.unit == "bytes" and value:
            for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
                if value % size == 0:
                    return f"{value // size}{unit}"
        return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def knobs_of(config_class: type[Any]) -> Mapping[str, Knob]:
    """The knobs of `ServerConfig` or `ChannelConfig` by name, in the order of their file."""
    return {knob.name: knob for knob in _knobs(config_class, config_class(), "")}


def _knobs(config_class: type[Any], default: Any, prefix: str) -> Iterator[Knob]:
    reasons = _reasons(config_class)
    hints = get_type_hints(config_class)
    ranges = wire_config.RANGES.get(config_class, {})
    for field in fields(config_class):
        hint, optional = _without_none(hints[field.name])
        value = getattr(default, field.name)
        if is_dataclass(hint):
            assert isinstance(hint, type)
            for knob in _knobs(hint, hint() if value is None else value, f"{prefix}{field.name}."):
                yield replace(knob, off=True) if value is None else knob
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        kind = str if choices else get_origin(hint) or hint
        low, high = ranges.get(field.name, (None, None))
        yield Knob(
            name=prefix + field.name,
            kind=kind,
            default=value,
            reason=reasons.get(field.name, ""),
            optional=optional,
            choices=choices,
            low=low,
            high=high,
        )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if isinstance(hint, UnionType) or (get_origin(hint) is not None and NoneType in get_args(hint)):
        [inner] = [each for each in get_args(hint) if each is not NoneType]
        return inner, True
    return hint, False


def _reasons(config_class: type[Any]) -> dict[str, str]:
    """The docstrings that follow the fields, on one line each; none where there is no source."""
    try:
        body = ast.parse(inspect.getsource(config_class)).body[0]
    except (OSError, TypeError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(value=str(reason))):
                found[name] = " ".join(reason.split())
    return found


def configured(config: C, settings: Mapping[str, Any]) -> C:
    """`config` with the knobs in `settings` (name → value) set. Raises `KnobError` for a value out of range."""
    nested: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in settings.items():
        group, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(group, {})[rest] = value
        else:
            own[group] = value
    for group, inner in nested.items():
        own[group] = configured(_group(config, group), inner)
    try:
        return replace(config, **own)  # type: ignore[type-var]
    except ConfigurationError as error:
        raise KnobError(str(error)) from None


def _group(config: Any, name: str) -> Any:
    """A config inside of another; a new one where there is none by default."""
    value = getattr(config, name)
    if value is None:
        hint, _ = _without_none(get_type_hints(type(config))[name])
        value = hint()
    return value


def find_knob(knobs: Mapping[str, Knob], name: str) -> Knob:
    """Raises `KnobError`, with the nearest names, when there is none."""
    knob = knobs.get(name)
    if knob is None:
        raise KnobError(f"there is no knob {name}{nearest(name, knobs)}")
    return knob


def assignment(text: str) -> tuple[str, str]:
    """`name=value`, as --set takes it. Raises `KnobError`."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise KnobError(f"{text!r} is not of the form name=value")
    return name.strip(), value.strip()


def settings_in(path: Path) -> dict[str, str]:
    """What a TOML file sets, tables and dotted keys alike: {"http2.reset_burst": "10"}. Raises `KnobError`."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KnobError(f"{path}: {error}") from None
    return dict(_flat(tables, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ",".join(map(str, value))
        elif isinstance(value, bool):
            yield prefix + key, str(value).lower()
        else:
            yield prefix + key, str(value)


def knobs_as_text(knobs: Iterable[Knob], settings: Mapping[str, Any]) -> str:
    """A paragraph for each: name, value, unit, range; its default where it is set; its reason."""
    from textwrap import fill

    paragraphs = []
    for knob in knobs:
        value = settings.get(knob.name, knob.default)
        facts = [f"{knob.name} = {knob.show(value)}"]
        if value != knob.default:
            facts.append(f"default {knob.show(knob.default)}")
        facts.append(knob.range)
        if knob.off and knob.name not in settings:
            facts.append(f"off until one of {knob.name.rpartition('.')[0]} is set")
        reason = fill(knob.reason, 100, initial_indent="    ", subsequent_indent="    ")
        paragraphs.append("\n".join(filter(None, ["   ".join(filter(None, facts)), reason])))
    return "\n\n".join(paragraphs)


def knobs_as_json(knobs: Iterable[Knob], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same for programs."""

    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, frozenset) else value

    return [
        {
            "name": knob.name,
            "value": plain(settings.get(knob.name, knob.default)),
            "unit": knob.unit,
            "range": list(knob.choices) or ([knob.low, knob.high] if knob.low is not None else None),
            "none_allowed": knob.optional,
            "default": plain(knob.default),
            "reason": knob.reason,
        }
        for knob in knobs
    ]
