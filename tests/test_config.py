"""Every knob: documented, frozen, and checked when it is set."""

from __future__ import annotations

import ast
import inspect
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import Any

import pytest

import wire
from wire import config
from wire.config import (
    CallConfig,
    ChannelConfig,
    Http2Config,
    KeepaliveConfig,
    ServerConfig,
    TransportConfig,
)
from wire.errors import ConfigurationError
from wire.rpc import compression

CONFIGS = [each for each in vars(config).values() if inspect.isclass(each) and is_dataclass(each)]
OUT_OF_RANGE = [
    (Http2Config, "stream_window_bytes", 65_534),
    (Http2Config, "connection_window_bytes", 2**31),
    (Http2Config, "max_frame_bytes", 2**14 - 1),
    (Http2Config, "max_frame_bytes", 2**24),
    (Http2Config, "max_concurrent_streams", 0),
    (Http2Config, "max_header_fields", 15),
    (Http2Config, "resets_per_s", -1),
    (TransportConfig, "connect_timeout_s", 0),
    (TransportConfig, "read_bytes", 0),
    (TransportConfig, "max_connections", 0),
    (CallConfig, "max_receive_message_bytes", -1),
    (CallConfig, "max_send_message_bytes", 2**32),
    (CallConfig, "max_message_depth", 0),
    (CallConfig, "max_decoded_bytes", 0),
    (CallConfig, "inline_decode_bytes", -1),
    (CallConfig, "send_buffer_bytes", 0),
    (KeepaliveConfig, "time_s", 0),
    (KeepaliveConfig, "timeout_s", None),
    (ServerConfig, "preface_timeout_s", 0),
    (ServerConfig, "grace_s", -1),
    (ServerConfig, "slow_handler_s", 0),
    (ServerConfig, "hang_timeout_s", 0),
    (ChannelConfig, "connections", 0),
    (ChannelConfig, "backoff_multiplier", 0.5),
    (ChannelConfig, "backoff_jitter", 2),
]


@pytest.mark.parametrize("kind", CONFIGS)
def test_defaults_are_in_range_and_cannot_be_changed(kind: Any) -> None:
    made = kind()
    name = fields(made)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, 1)
    with pytest.raises(TypeError):
        kind(1)
    assert replace(made) == made


@pytest.mark.parametrize(("kind", "name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_and_named(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind.__name__}.{name}"):
        kind(**{name: value})


@pytest.mark.parametrize("value", ["1", True, [], float("nan")])
def test_a_value_that_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError):
        Http2Config(max_concurrent_streams=value)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_number_has_a_range(kind: Any) -> None:
    for field in fields(kind):
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            with pytest.raises(ConfigurationError, match=field.name):
                kind(**{field.name: -1e30})


def test_none_means_unlimited_where_it_may() -> None:
    assert CallConfig(max_send_message_bytes=None).max_send_message_bytes is None
    assert KeepaliveConfig(time_s=None).time_s is None
    assert ServerConfig(slow_handler_s=None).slow_handler_s is None
    assert ServerConfig(hang_timeout_s=None).hang_timeout_s is None


def test_a_channel_may_not_ping_more_often_than_every_ten_seconds() -> None:
    ChannelConfig(keepalive=KeepaliveConfig(time_s=10))
    with pytest.raises(ConfigurationError, match="10 s"):
        ChannelConfig(keepalive=KeepaliveConfig(time_s=9.9))
    ServerConfig(keepalive=KeepaliveConfig(time_s=1))


@pytest.mark.parametrize(
    ("kind", "knob"), [(ServerConfig, "engine"), (ChannelConfig, "engine"), (CallConfig, "compression")]
)
def test_a_name_that_is_not_known_is_refused(kind: Any, knob: str) -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        kind(**{knob: "nonsense"})


def test_a_compression_that_this_python_has_not_is_refused_by_server_and_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(compression._COMPRESSORS, "zstd", raising=False)
    calls = CallConfig(compression="zstd")
    with pytest.raises(ConfigurationError, match="zstd"):
        wire.Server([], config=ServerConfig(calls=calls))
    with pytest.raises(ConfigurationError, match="zstd"):
        wire.Channel("127.0.0.1:1", config=ChannelConfig(calls=calls))


def test_every_knob_says_what_it_is_for() -> None:
    tree = ast.parse(inspect.getsource(config))
    undocumented = []
    for cls in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        for knob, following in zip(cls.body, [*cls.body[1:], None], strict=True):
            if isinstance(knob, ast.AnnAssign) and not isinstance(following, ast.Expr):
                undocumented.append(ast.unparse(knob))
    # Parts of a whole, and members of a group that its first member explains.
    assert [each for each in undocumented if "Config" not in each and "backoff" not in each] == []


def test_the_config_of_the_other_side_is_refused_in_one_sentence() -> None:
    config: Any = wire.ServerConfig()
    with pytest.raises(wire.ConfigurationError, match="a channel's config is a ChannelConfig, and not a ServerConfig"):
        wire.Channel("127.0.0.1:1", config=config)
    config = wire.ChannelConfig()
    with pytest.raises(wire.ConfigurationError, match="a server's config is a ServerConfig, and not a ChannelConfig"):
        wire.Server([], config=config)
