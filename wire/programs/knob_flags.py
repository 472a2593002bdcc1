"""--set, --config and --list-knobs, for every program that makes a server or a channel."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import wire
from wire.programs import cli
from wire.programs.knobs import (
    KnobError,
    assignment,
    configured,
    find_knob,
    knobs_as_json,
    knobs_as_text,
    knobs_of,
    settings_in,
)

C = TypeVar("C", wire.ServerConfig, wire.ChannelConfig)

SIDES = {"server": wire.ServerConfig, "client": wire.ChannelConfig}
"""What may stand before a knob's name, for files and programs that configure both."""


def add_knob_flags(add: Callable[..., Any]) -> None:
    """By `add_argument` of a parser or a group."""
    add("--set", default=[], action="append", type=_pair, metavar="NAME=VALUE", help="set a knob; may be repeated")
    add("--config", default=None, type=cli.readable_file, metavar="FILE", help="set knobs by a TOML file")
    add("--list-knobs", default=False, action="store_true", help="print every knob: value, range, default, reason")


def _pair(text: str) -> tuple[str, str]:
    try:
        return assignment(text)
    except KnobError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def settings_of(args: argparse.Namespace, side: str, *, both: bool = False) -> dict[str, Any]:
    """What --config and then --set say of one side, "server" or "client": name → value. Raises `KnobError`.

    A name may begin with "server." or "client."; what a file says of the other side is left out. `both`: the program
    has the other side, too, so that --set may name it, and a knob that only the other has is left out, not refused.
    """
    knobs = knobs_of(SIDES[side])
    [other] = SIDES.keys() - {side}
    others = knobs_of(SIDES[other])
    in_file = [*settings_in(args.config).items()] if args.config else []
    found = {}
    for index, (name, text) in enumerate([*in_file, *args.set]):
        bare = name.removeprefix(f"{side}.")
        if name.startswith(f"{other}."):
            if index >= len(in_file) and not both:
                raise KnobError(f"{name} cannot be set: this program has no {other}")
            find_knob(others, name.removeprefix(f"{other}.")).read(text)
        elif bare in knobs or not (both and bare in others):
            found[bare] = find_knob(knobs, bare).read(text)
    return found


def checked_settings(
    parser: argparse.ArgumentParser, args: argparse.Namespace, side: str, *, both: bool = False
) -> dict[str, Any]:
    """`settings_of`; what is wrong with them ends the program as other wrong flags do."""
    try:
        settings = settings_of(args, side, both=both)
        configured(SIDES[side](), settings)
    except KnobError as error:
        parser.error(str(error))
    return settings


def shown_settings(side: str, settings: Mapping[str, Any]) -> list[str]:
    """Each as `name=value`, which --set reads."""
    knobs = knobs_of(SIDES[side])
    return [f"{name}={knobs[name].show(value)}" for name, value in settings.items()]


def config_of(config: C, settings: Mapping[str, Any], **flags: Any) -> C:
    """`config` with settings, and over them the flags of a knob's own, where they are given (not None)."""
    return configured(config, {**settings, **{name: value for name, value in flags.items() if value is not None}})


def print_knobs(side: str, settings: Mapping[str, Any], *, as_json: bool = False) -> None:
    """What --list-knobs shows of one side."""
    knobs = knobs_of(SIDES[side]).values()
    print(json.dumps(knobs_as_json(knobs, settings), indent=1) if as_json else knobs_as_text(knobs, settings))
