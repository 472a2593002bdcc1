"""Every field of wire.config is a knob with a name, a range and a reason; what cannot be set says what can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wire
from bin import client, server
from wire.programs.knob_flags import SIDES
from wire.programs.knobs import (
    KnobError,
    configured,
    find_knob,
    knobs_as_json,
    knobs_as_text,
    knobs_of,
    settings_in,
)

SERVER, CLIENT = knobs_of(wire.ServerConfig), knobs_of(wire.ChannelConfig)
ALL = [pytest.param(knob, id=f"{side}.{name}") for side, each in SIDES.items() for name, knob in knobs_of(each).items()]


@pytest.mark.parametrize("knob", ALL)
def test_every_knob_says_what_it_is_and_reads_what_it_shows(knob: Any) -> None:
    assert knob.reason
    assert knob.range
    assert knob.read(knob.show(knob.default)) == knob.default
    for bound in (knob.low, knob.high):
        if bound is not None:
            assert knob.read(knob.show(bound)) == bound
            assert knob.kind in (int, float)


@pytest.mark.parametrize(("side", "config"), SIDES.items())
def test_defaults_are_those_of_the_config(side: str, config: Any) -> None:
    knobs = {name: knob.default for name, knob in knobs_of(config).items() if not knob.off}
    assert configured(config(), knobs) == config()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("http2.stream_window_bytes", "1MiB", 1 << 20),
        ("http2.stream_window_bytes", "128K", 1 << 17),
        ("http2.stream_window_bytes", "100_000", 100_000),
        ("grace_s", "250ms", 0.25),
        ("grace_s", "2min", 120.0),
        ("grace_s", "3", 3.0),
        ("slow_handler_s", "none", None),
        ("http2.resets_per_s", "33.5", 33.5),
        ("keepalive.without_calls", "true", True),
        ("transport.vsock_allow_cids", "3,16", frozenset({3, 16})),
        ("calls.compression", "gzip", "gzip"),
        ("calls.compression", "None", None),
        ("engine", "h2", "h2"),
    ],
)
def test_values_are_read_with_their_units(name: str, text: str, value: Any) -> None:
    assert SERVER[name].read(text) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("http2.stream_window_bytes", "1", "it is 65,535 to 2,147,483,647 bytes, as 65536 or 64KiB"),
        ("http2.stream_window_bytes", "70000.5", "it is 65,535 to"),
        ("http2.stream_window_bytes", "1s", "it is 65,535 to"),
        ("grace_s", "soon", "it is 0 to 86,400 s, as 0.25 or 250ms"),
        ("grace_s", "nan", "it is 0 to 86,400 s"),
        ("grace_s", "none", "it is 0 to 86,400 s"),
        ("http2.resets_per_s", "1KiB", "it is 0 to 1,000,000,000 per s"),
        ("keepalive.without_calls", "1", "it is true, false"),
        ("transport.vsock_allow_cids", "3;4", "it is whole numbers"),
        ("engine", "h3", "it is one of h2, tuned"),
    ],
)
def test_what_a_knob_cannot_be_says_what_it_can(name: str, text: str, said: str) -> None:
    with pytest.raises(KnobError) as caught:
        SERVER[name].read(text)
    assert str(caught.value).startswith(f"{name} cannot be {text!r}: {said}")


def test_name_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(KnobError, match=r"no knob http2\.stream_window: did you mean http2\.stream_window_bytes"):
        find_knob(SERVER, "http2.stream_window")
    with pytest.raises(KnobError, match=r"no knob stream_window_bytes: did you mean http2\.stream_window_bytes"):
        find_knob(SERVER, "stream_window_bytes")


def test_values_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(KnobError, match="at least 10 s"):
        configured(wire.ChannelConfig(), {"keepalive.time_s": 1.0})


def test_a_group_that_is_off_is_made_by_its_first_knob() -> None:
    config = configured(wire.ChannelConfig(), {"outliers.ejection_s": 3.0})
    assert config.outliers is not None
    assert config.outliers.ejection_s == 3.0
    assert "outliers.ejection_s = 30   0.001 to 86,400 s   off until one of outliers" in knobs_as_text(
        CLIENT.values(), {}
    )


def test_text_and_json_show_what_is_set() -> None:
    settings = {"http2.stream_window_bytes": 1 << 20}
    text = knobs_as_text(SERVER.values(), settings)
    assert (
        "http2.stream_window_bytes = 1MiB   default 128KiB   65,535 to 2,147,483,647 bytes\n    Receive window" in text
    )
    [knob] = [each for each in knobs_as_json(SERVER.values(), settings) if each["name"] == "http2.stream_window_bytes"]
    assert (knob["value"], knob["default"], knob["unit"]) == (1 << 20, 1 << 17, "bytes")
    assert json.dumps(knobs_as_json(CLIENT.values(), {}))


def test_files_may_have_tables_and_dotted_keys(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    lines = ("grace_s = 3", "http2.reset_burst = 7", "[transport]", "vsock_allow_cids = [3, 4]")
    path.write_text("\n".join([*lines, "[server.calls]", 'compression = "gzip"']))
    assert settings_in(path) == {
        "grace_s": "3",
        "http2.reset_burst": "7",
        "transport.vsock_allow_cids": "3,4",
        "server.calls.compression": "gzip",
    }
    path.write_text("x = ")
    with pytest.raises(KnobError, match=r"f\.toml: "):
        settings_in(path)


def test_programs_list_and_check_their_knobs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text('[server]\ngrace_s = "9s"\n[client]\nconnections = 3\n')
    assert server.main(["--config", str(path), "--list-knobs"]) == 0
    assert "grace_s = 9   default 30" in capsys.readouterr().out
    assert client.main(["--config", str(path), "--set", "connections=5", "--list-knobs", "--json"]) == 0
    shown = {each["name"]: each["value"] for each in json.loads(capsys.readouterr().out)}
    assert shown["connections"] == 5
    for main, flags, said in (
        (server.main, ["--set", "grace=3"], "did you mean grace_s"),
        (server.main, ["--set", "client.connections=3"], "this program has no client"),
        (server.main, ["--set", "grace_s"], "is not of the form name=value"),
        (client.main, ["--set", "http2.stream_window_bytes=1", "list"], "it is 65,535 to"),
        (client.main, [], "COMMAND is needed"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(flags)
        assert caught.value.code == 2
        assert said in capsys.readouterr().err


def test_what_is_set_reaches_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Channel(wire.Channel):
        def __init__(self, target: str, *, config: Any, **kwargs: Any) -> None:
            seen.append(config)
            super().__init__(target, config=config, **kwargs)

    monkeypatch.setattr(wire, "Channel", Channel)
    flags = ["--target", "unix:/nonexistent", "--set", "http2.reset_burst=7", "--engine", "h2", "echo", "x"]
    with pytest.raises(wire.RpcError):
        client.main(flags)
    assert seen[0] == configured(wire.ChannelConfig(engine="h2"), {"http2.reset_burst": 7})
