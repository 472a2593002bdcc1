"""Channel arguments of grpc as wire's configuration: what a program cannot be seen to say, but by waiting."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import wire
from wire.grpcio import _options

INT_MAX = 2**31 - 1


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("grpc.max_connection_idle_ms", 1500, "keepalive.max_connection_idle_s", 1.5),
        ("grpc.max_connection_age_ms", 2000, "keepalive.max_connection_age_s", 2.0),
        ("grpc.max_connection_age_ms", INT_MAX, "keepalive.max_connection_age_s", None),
        ("grpc.max_connection_age_grace_ms", 3000, "keepalive.max_connection_age_grace_s", 3.0),
        ("grpc.keepalive_time_ms", 5000, "keepalive.time_s", 5.0),
        ("grpc.keepalive_permit_without_calls", 1, "keepalive.without_calls", True),
        ("grpc.http2.max_ping_strikes", 0, "keepalive.max_ping_strikes", 1 << 30),
        ("grpc.max_concurrent_streams", 7, "http2.max_concurrent_streams", 7),
        ("grpc.max_receive_message_length", -1, "calls.max_receive_message_bytes", 2**32 - 1),
        ("grpc.max_metadata_size", 16384, "http2.max_header_list_bytes", 16384),
        ("grpc.server_handshake_timeout_ms", 250, "transport.handshake_timeout_s", 0.25),
    ],
)
def test_options_of_servers(option: str, value: int, field: str, expected: Any) -> None:
    assert _found(_options.server_config({option: value}, None), field) == expected
    _options.channel_config({option: value}, None, "")  # of no effect there, or the same


@pytest.mark.parametrize(
    ("option", "value", "field", "expected"),
    [
        ("grpc.client_idle_timeout_ms", 2500, "idle_timeout_s", 2.5),
        ("grpc.client_idle_timeout_ms", INT_MAX, "idle_timeout_s", None),
        ("grpc.dns_min_time_between_resolutions_ms", 4000, "resolve_min_interval_s", 4.0),
        ("grpc.initial_reconnect_backoff_ms", 100, "backoff_initial_s", 0.1),
        ("grpc.max_reconnect_backoff_ms", INT_MAX, "backoff_max_s", 86_400.0),
        ("grpc.keepalive_time_ms", 5000, "keepalive.time_s", 10.0),
        ("grpc.lb_policy_name", "round_robin", "load_balancing", "round_robin"),
        ("grpc.default_authority", b"somewhere", "authority", "somewhere"),
        ("grpc.secondary_user_agent", "after", "user_agent_suffix", "after"),
    ],
)
def test_options_of_channels(option: str, value: Any, field: str, expected: Any) -> None:
    assert _found(_options.channel_config({option: value}, None, "agent"), field) == expected
    _options.server_config({option: value}, None)


def _found(config: Any, field: str) -> Any:
    for name in field.split("."):
        config = getattr(config, name)
    return config


def test_of_options_given_twice_the_first_counts() -> None:
    assert _options.read([("a", 1), (b"a", 2), ("b", 3)]) == {"a": 1, "b": 3}


def test_an_option_that_is_not_known_is_ignored_with_a_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="wire.grpcio._options"):
        assert _options.server_config({"grpc.nonsense": 1}, None) == _options.server_config({}, None)
    assert "grpc.nonsense" in caplog.text


def test_a_policy_that_is_not_there_leaves_the_default() -> None:
    config = _options.channel_config({"grpc.lb_policy_name": "nonsense"}, None, "")
    assert config.load_balancing == wire.ChannelConfig().load_balancing


@pytest.mark.parametrize(
    ("target", "options", "environment", "proxy"),
    [
        ("api.example:443", {}, {}, None),
        ("api.example:443", {}, {"http_proxy": "http://p:1"}, "http://p:1"),
        ("dns:///api.example:443", {}, {"http_proxy": "http://p:1", "https_proxy": "http://q:2"}, "http://q:2"),
        ("ipv4:10.0.0.1:443", {}, {"https_proxy": "http://q:2", "grpc_proxy": "http://r:3/"}, "http://r:3"),
        ("api.example:443", {}, {"grpc_proxy": "http://r:3", "no_proxy": "other, example"}, None),
        ("api.example:443", {}, {"grpc_proxy": "http://r:3", "no_proxy": "*", "no_grpc_proxy": "x"}, "http://r:3"),
        ("api.example:443", {"grpc.enable_http_proxy": 0}, {"grpc_proxy": "http://r:3"}, None),
        ("api.example:443", {"grpc.http_proxy": b"http://me:it@s:4"}, {"no_proxy": "*"}, "http://me:it@s:4"),
        ("api.example:443", {}, {"https_proxy": "https://q:2"}, None),
        ("localhost:443", {}, {"grpc_proxy": "http://r:3"}, None),
        ("[::1]:443", {}, {"grpc_proxy": "http://r:3"}, None),
        ("unix:/run/app", {}, {"grpc_proxy": "http://r:3"}, None),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", {}, {"grpc_proxy": "http://r:3"}, None),
    ],
)
def test_the_proxy_of_the_environment_is_taken_as_by_grpc(
    target: str,
    options: dict[str, Any],
    environment: dict[str, str],
    proxy: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = _options.made_channel(
        lambda target, *, config, **_: config, options, target, config=wire.ChannelConfig(), tls=None
    )
    assert made.http_proxy == proxy
