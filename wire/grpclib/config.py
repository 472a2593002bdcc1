"""`grpclib.config`: the knobs of a channel or server, checked when the object is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

_WINDOW_MIN: Final = 2**16 - 1
_WINDOW_MAX: Final = 2**31 - 1


class _Default:
    """Stands for a value that differs between clients, servers and tests."""

    def __repr__(self) -> str:
        return "<default>"


_DEFAULT: Any = _Default()

_Validator = Callable[[str, Any], None]


def _number(name: str, value: Any) -> None:
    _of_type(name, value, int, float)
    if value <= 0:
        raise ValueError(f'"{name}" should be positive')


def _count(name: str, value: Any) -> None:
    _of_type(name, value, int)
    if value < 0:
        raise ValueError(f'"{name}" should not be negative')


def _flag(name: str, value: Any) -> None:
    _of_type(name, value, bool)


def _window(name: str, value: Any) -> None:
    _of_type(name, value, int)
    if value < _WINDOW_MIN:
        raise ValueError(f'"{name}" should be higher or equal to {_WINDOW_MIN}')
    if value > _WINDOW_MAX:
        raise ValueError(f'"{name}" should be less or equal to {_WINDOW_MAX}')


def _of_type(name: str, value: Any, *types: type) -> None:
    if not isinstance(value, types):
        raise TypeError(f'"{name}" should be of type {" or ".join(str(each) for each in types)}')


def _optional(validator: _Validator) -> _Validator:
    def validate(name: str, value: Any) -> None:
        if value is not None:
            validator(name, value)

    return validate


@dataclass(frozen=True)
class Configuration:
    """Windows in bytes, times in seconds. `Channel` and `Server` translate it for wire (`wire.grpclib._core`)."""

    _keepalive_time: float | None = field(
        default=_DEFAULT,
        metadata={
            "validate": _optional(_number),
            "server-default": 7200.0,
            "client-default": None,
            "test-default": None,
        },
    )
    """Silence before a ping; None: never."""

    _keepalive_timeout: float = field(default=20.0, metadata={"validate": _number})
    """Time for the answer to a ping."""

    _keepalive_permit_without_calls: bool = field(default=False, metadata={"validate": _optional(_flag)})
    _http2_max_pings_without_data: int = field(default=2, metadata={"validate": _optional(_count)})
    _http2_min_sent_ping_interval_without_data: float = field(default=300, metadata={"validate": _optional(_number)})

    http2_connection_window_size: int = field(default=4 * 2**20, metadata={"validate": _window})
    """Receive window of a connection: 64 KiB to 2 GiB."""

    http2_stream_window_size: int = field(default=4 * 2**20, metadata={"validate": _window})
    """Receive window of a stream: 64 KiB to 2 GiB."""

    ssl_target_name_override: str | None = None
    """The name that the server's certificate must be valid for, instead of the host. For tests."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if "validate" in each.metadata and value is not _DEFAULT:
                each.metadata["validate"](each.name, value)

    def __for_server__(self) -> Configuration:
        return self._with_defaults("server-default")

    def __for_client__(self) -> Configuration:
        return self._with_defaults("client-default")

    def __for_test__(self) -> Configuration:
        return self._with_defaults("test-default")

    def _with_defaults(self, kind: str) -> Configuration:
        return replace(
            self, **{each.name: each.metadata[kind] for each in fields(self) if getattr(self, each.name) is _DEFAULT}
        )
