"""`wire-client`: lists, describes and calls the methods of any gRPC server, by reflection or .proto files, and
shows what it is doing by channelz.

`bin.client` adds commands of its own, for Echo and Crypto.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import wire
from wire.programs import cli, top
from wire.programs.call_command import CallFailed, call
from wire.programs.channel_flags import (
    DEFAULT_TIMEOUT_S,
    add_metadata_flags,
    add_schema_flags,
    add_tls_flags,
    check_tls_flags,
    require_dynamic,
    schema_of,
    tls_of,
)
from wire.programs.knob_flags import add_knob_flags, checked_settings, config_of, print_knobs
from wire.programs.logs import printable
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags

if TYPE_CHECKING:
    from wire.service import Service
    from wire.standard.dynamic import Schema

PROG: Final = "wire-client"
DEFAULT_TARGET: Final = "127.0.0.1:50051"

_MORE: Final = "more_"
"""Before the name of a flag that may be repeated, where it stands behind the command."""

_STATUS: Final = """\
Results go to standard output. When a call fails, one line with the gRPC code goes to standard error, and the exit
status is 64 + the number of the code (NOT_FOUND: 69). Other errors end with status 1.
"""
_EXAMPLES: Final = """\
  %(prog)s list
  %(prog)s describe echo.v1.EchoService
  %(prog)s call echo.v1.EchoService/Echo '{"payload": "aGVsbG8="}'
  tail -f events.jsonl | %(prog)s --target vsock:3:5000 call shop.v1.Shop/Follow -
  %(prog)s -H 'authorization: Bearer x' --tls --target api.example.org:443 list
  %(prog)s --target vsock:3:5000 top
  %(prog)s --proto shop.proto -I protos call shop.v1.Shop/Get @request.json
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command beside list, describe and call. `run` gets the channel, the arguments, and `timeout` and `metadata` of
    calls. `config`: what --set and --config change."""

    name: str
    description: str
    add_flags: Callable[[cli.Parser], None]
    run: Callable[[wire.Channel, argparse.Namespace, dict[str, Any]], Awaitable[None]]
    config: wire.ChannelConfig = field(default_factory=wire.ChannelConfig)


_TOP: Final = Command(
    "top",
    "show what a server's connections are doing, by channelz",
    top.add_flags,
    top.top,
    wire.ChannelConfig(backoff_max_s=1.0),  # a server that was away is shown when it is back
)


def main(
    arguments: list[str] | None = None,
    *,
    prog: str = PROG,
    commands: Sequence[Command] = (),
    services: Iterable[Service] = (),
    examples: str = "",
) -> int:
    """`commands`: what the program can do beside; `services`: those that a trace shows by name; `examples`: of them."""
    parser = _parser(prog, commands, examples)
    args = parser.parse_args(arguments_of(arguments))
    for name, values in list(vars(args).items()):
        if name.startswith(_MORE):  # those behind the command, after those before it
            kept = name.removeprefix(_MORE)
            setattr(args, kept, [*getattr(args, kept), *values])
    args.knobs = checked_settings(parser, args, "client")
    if args.list_knobs:
        print_knobs("client", args.knobs, as_json=args.json)
        return 0
    if args.command is None:
        parser.error("COMMAND is needed")
    check_tls_flags(parser, args)
    own = {command.name: command for command in (_TOP, *commands)}
    return wire.run(_run, args, own.get(args.command), services, loop=args.loop)


async def _run(args: argparse.Namespace, command: Command | None, services: Iterable[Service]) -> int:
    flags = trace_flags(args)
    trace = None if flags is None else flags.trace(services)
    config = config_of(command.config if command else wire.ChannelConfig(), args.knobs, engine=args.engine)
    options: dict[str, Any] = {"timeout": args.timeout or DEFAULT_TIMEOUT_S, "metadata": args.metadata}
    async with wire.Channel(args.target, tls=tls_of(args), config=config, trace=trace) as channel:
        if command is not None:
            await command.run(channel, args, options)
            return 0
        schema = schema_of(args, channel, **options)
        try:
            await _GENERIC[args.command](channel, schema, args)
        except CallFailed as failed:
            await _tell(args, schema, failed.error)
            return cli.RPC_FAILED + failed.error.code
        except wire.RpcError as error:  # of a question by reflection
            if error.code is wire.StatusCode.UNIMPLEMENTED:
                raise wire.ConfigurationError(
                    f"{args.target} has no server reflection; name its .proto files with --proto, or --protoset"
                ) from None
            await _tell(args, schema, error)
            return cli.RPC_FAILED + error.code
    return 0


async def _tell(args: argparse.Namespace, schema: Schema, error: wire.RpcError) -> None:
    """An error on stderr: one line, then its details, a line each; with --json one object."""
    details: list[Any] = []
    try:
        details = await schema.error_details(error)
    except wire.WireError:  # whatever the server answers when it is asked for their types
        pass
    if args.json:
        message = cli.with_flags(error.message)
        shown = {"code": error.code.name, "number": int(error.code), "message": message, "details": details}
        print(json.dumps(shown), file=sys.stderr)
        return
    print(f"{args.prog}: {printable(cli.with_flags(str(error)))}", file=sys.stderr)
    for detail in details:
        print(f"  {json.dumps(detail)}", file=sys.stderr)


async def _list(channel: wire.Channel, schema: Schema, args: argparse.Namespace) -> None:
    if args.service is None:
        names = await schema.services()
    else:
        names = [method.path[1:] for method in await schema.methods(args.service)]
    if args.json:
        print(json.dumps(names))
    else:
        sys.stdout.writelines(f"{name}\n" for name in names)


async def _describe(channel: wire.Channel, schema: Schema, args: argparse.Namespace) -> None:
    if args.template:
        value = await _template(schema, args.symbol)
        print(json.dumps(value, indent=2))
    else:
        symbols = await schema.services() if args.symbol is None else [args.symbol]
        print("\n".join([await schema.describe(symbol) for symbol in symbols]), end="")
    if args.protoset_out:
        args.protoset_out.write_bytes(schema.file_set())


async def _template(schema: Schema, symbol: str) -> Any:
    """Of a message, or of a method's request."""
    from wire.standard.template import filled

    unknown: type[wire.WireError] = require_dynamic().UnknownSymbolError
    try:
        message = await schema.message(symbol)
    except unknown:
        message = (await schema.method(symbol)).request
    return await schema.to_json(filled(message), defaults=True)


_GENERIC: Final = {"list": _list, "describe": _describe, "call": call}


def _parser(prog: str, commands: Sequence[Command], examples: str) -> cli.Parser:
    notes = f"Flags may stand before or behind the command.\n{_STATUS}{FILTER_HELP}"
    parser = cli.Parser(
        prog,
        description="List, describe and call the methods of a gRPC server, and watch what it is doing.",
        epilog=f"{notes}\nexamples:\n{_EXAMPLES}{examples}",
    )
    parser.set_defaults(prog=prog)
    cli.add_version_flag(parser)
    _add_common_flags(parser)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add_command(name: str, description: str) -> cli.Parser:
        epilog = f"Flags of all commands: {prog} --help"
        sub: cli.Parser = subparsers.add_parser(name, help=description, description=description, epilog=epilog)
        _add_common_flags(sub, again=True)
        return sub

    listing = add_command("list", "list services, or the methods of one")
    listing.add_argument("service", nargs="?", metavar="SERVICE", help="list its methods")
    describe = add_command("describe", "show services, methods and messages as .proto source")
    describe.add_argument("symbol", nargs="?", metavar="SYMBOL", help="a full name; all services without one")
    describe.add_argument("--template", action="store_true", help="show JSON to fill in for SYMBOL instead")
    describe.add_argument("--protoset-out", type=cli.writable_file, metavar="F", help="write descriptors there, too")
    calling = add_command("call", "call a method with JSON, and print what comes back as JSON, a message a line")
    calling.add_argument("method", metavar="SERVICE/METHOD", help="such as echo.v1.EchoService/Echo")
    calling.add_argument(
        "data",
        nargs="?",
        metavar="JSON",
        help='the request, or several: JSON, "@file", or "-" for standard input (an empty one, or none)',
    )
    calling.add_argument("--pretty", action="store_true", help="print messages over several lines")
    calling.add_argument("--defaults", action="store_true", help="print fields that are not set, too")
    calling.add_argument("--ignore-unknown", action="store_true", help="fields that a message has not are no error")
    calling.add_argument("-v", "--verbose", action="store_true", help="show metadata and status on stderr")
    for command in (_TOP, *commands):
        command.add_flags(add_command(command.name, command.description))
    return parser


def _add_common_flags(parser: cli.Parser, *, again: bool = False) -> None:
    """`again`: for a command, whose parser must not put its defaults over what stood before the command."""

    def add(*flags: str, default: Any = None, **kwargs: Any) -> None:
        if again:
            kwargs |= {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
            if kwargs.get("action") == "append":
                name = kwargs.get("dest") or next(flag for flag in flags if flag.startswith("--"))
                kwargs["dest"] = _MORE + name.removeprefix("--").replace("-", "_")
        else:
            kwargs |= {"default": default}
        parser.add_argument(*flags, **kwargs)

    shown = f"deadline of each call, in seconds ({DEFAULT_TIMEOUT_S:g}; streams of call: none)"
    add(
        "--target",
        default=DEFAULT_TARGET,
        type=cli.address,
        metavar="ADDR",
        help="where the server listens (%(default)s)",
    )
    add("--timeout", type=cli.seconds, metavar="S", help=shown)
    add_metadata_flags(add)
    add("--json", default=False, action="store_true", help="print results and errors as JSON, bytes in base64")
    add_tls_flags(add)
    cli.add_engine_flag(add)
    add(
        "--loop",
        default="auto",
        type=cli.loop_name,
        metavar="NAME",
        help="event loop: auto, asyncio, uvloop, trio (%(default)s)",
    )
    add_schema_flags(add)
    add_trace_flags(add)
    add_knob_flags(add)


def run() -> NoReturn:
    """The command `wire-client`."""
    cli.run_main(main, PROG)


if __name__ == "__main__":
    run()
