"""`wire-server`: serves servicers of anyone's modules, over any addresses, with all of wire's knobs.

`bin.server` is the same with Echo and Crypto.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

import wire
from wire.errors import ConfigurationError
from wire.programs import cli
from wire.programs.costs import HELP as COSTS_HELP
from wire.programs.costs import SIGNALS as COSTS_SIGNALS
from wire.programs.costs import add_costs_flag, measure_on_signal
from wire.programs.knob_flags import add_knob_flags, checked_settings, config_of, print_knobs
from wire.programs.logs import set_up_logging
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags
from wire.standard import Channelz, Health, reflection
from wire.standard.symbols import nearest

PROG: Final = "wire-server"
DEFAULT_ADDRESS: Final = "127.0.0.1:50051"

_SYSTEMD: Final = "systemd:"
"""As `wire.serve` takes it, in place of an address."""

_DESCRIPTION: Final = "Serve gRPC services of Python modules, with health checking and reflection."
NOTES: Final = f"""\
addresses:  host:port   unix:/path   unix-abstract:name   vsock:CID:PORT (CID may be any)   hvsock:///path/v.sock:PORT
            systemd: (the sockets that systemd hands over)
{FILTER_HELP}
SIGTERM and SIGINT (Ctrl-C) let open calls end and then exit with status 0; a second one exits at once. Handlers that
do not end within 5 s of being cancelled are left behind, with status 1.

{COSTS_HELP}"""
"""Of the help, for whatever is served."""

_EPILOG: Final = f"""\
SERVICE is MODULE:NAME, looked for in this folder, too: a servicer, its class, or a function that returns a servicer
or several, at once, as a coroutine or as an async context manager. What can be called is, without arguments, in each
worker.

{NOTES}
examples:
  %(prog)s shop.service:Shop
  %(prog)s shop.service:Shop --listen unix:/run/shop.sock --listen vsock:any:5000 --workers 4
  %(prog)s shop.service:make_services --tls-cert shop.pem --tls-key shop.key --channelz --trace frame=CALL
"""

OpenServicers = Callable[[AsyncExitStack], Awaitable[list[wire.Servicer]]]
"""Called in each worker, within its event loop. What has to be open while they serve is entered into the stack."""


class ServerProgram:
    """The program. Whoever has services of its own to serve derives from it."""

    prog: ClassVar[str] = PROG
    description: ClassVar[str] = _DESCRIPTION
    epilog: ClassVar[str] = _EPILOG

    def main(self, arguments: list[str] | None = None) -> int:
        parser = self._parser()
        args = parser.parse_args(arguments_of(arguments))
        if (args.tls_cert is None) != (args.tls_key is None):
            parser.error("--tls-cert and --tls-key go together")
        if args.tls_client_ca and not args.tls_cert:
            parser.error("--tls-client-ca needs --tls-cert and --tls-key")
        if args.workers > 1 and _SYSTEMD in (args.listen or []):
            parser.error(f"--listen {_SYSTEMD} is for one worker")
        settings = checked_settings(parser, args, "server")
        if args.list_knobs:
            print_knobs("server", settings)
            return 0
        self.check(parser, args)
        set_up_logging(args.log_level, args.log_format)
        cids = frozenset(args.vsock_allow_cid) if args.vsock_allow_cid else None
        flags_of_knobs = {"engine": args.engine, "grace_s": args.grace, "transport.vsock_allow_cids": cids}
        config = config_of(wire.ServerConfig(), settings, **flags_of_knobs)
        tls = wire.ServerTls(args.tls_cert, args.tls_key, args.tls_client_ca) if args.tls_cert else None
        addresses = args.listen or [DEFAULT_ADDRESS]
        if not args.reuse_port:  # else the kernel would send it connections
            _check_free(addresses)
        open_servicers = self.servicers(args)
        flags = trace_flags(args)

        @asynccontextmanager
        async def make_server() -> AsyncIterator[wire.Server]:  # in each worker
            measure_on_signal(args.costs_file, args.log_format)
            trace = None if flags is None else flags.trace(several=args.workers > 1)
            async with AsyncExitStack() as stack:
                servicers = await open_servicers(stack)
                async with wire.Server(servicers, config=config, tls=tls, trace=trace) as server:
                    yield server

        def say_listening(bound: Iterable[str]) -> None:
            for address in bound:
                print(f"listening on {address}", file=sys.stderr, flush=True)

        return wire.serve(
            make_server,
            addresses,
            workers=args.workers,
            loop=args.loop,
            started=say_listening,
            grace_s=config.grace_s,
            backlog=config.transport.backlog,
            hang_timeout_s=config.hang_timeout_s,
            reuse_port=args.reuse_port,
            pass_on=COSTS_SIGNALS,
        )

    # What a derived program changes.

    def add_flags(self, parser: cli.Parser) -> None:
        """Flags that say what is served."""
        parser.add_argument("services", nargs="*", type=_reference, metavar="SERVICE", help="MODULE:NAME (see below)")
        parser.add_argument("--no-reflection", action="store_true", help="do not tell clients what is served")
        parser.add_argument(
            "--channelz", action="store_true", help="tell clients of connections and peers, as for `wire-client top`"
        )

    def check(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """Refuse what does not go together."""
        if not args.services:
            parser.error("SERVICE is needed")

    def servicers(self, args: argparse.Namespace) -> OpenServicers:
        """What is served. Called once, before there are workers. Raises `ConfigurationError`."""
        sys.path.insert(0, str(Path.cwd()))
        found = [(text, _named(text)) for text in args.services]

        async def opened(stack: AsyncExitStack) -> list[wire.Servicer]:
            servicers = [each for text, value in found for each in await _servicers_of(text, value, stack)]
            servicers += [Health(), *([Channelz()] if args.channelz else [])]
            return [*servicers, *([] if args.no_reflection else reflection())]

        return opened

    def _parser(self) -> cli.Parser:
        parser = cli.Parser(self.prog, description=self.description, epilog=self.epilog)
        cli.add_version_flag(parser)
        add = parser.add_argument
        add("--listen", action="append", type=_address, metavar="ADDR", help=f"may be repeated ({DEFAULT_ADDRESS})")
        workers = "processes behind the addresses (1)"
        add("--workers", type=cli.integer(1, 1024), default=1, metavar="N", help=workers)
        add("--reuse-port", action="store_true", help="let other programs listen on the same TCP ports, too")
        self.add_flags(parser)
        cli.add_engine_flag(add)
        cli.add_loop_flag(parser)
        cli.add_log_flags(parser)
        add_trace_flags(parser.add_argument_group("trace").add_argument)
        add_knob_flags(parser.add_argument_group("knobs").add_argument)
        add_costs_flag(add)
        grace = f"how long open calls may go on when stopping ({wire.ServerConfig().grace_s:g} s)"
        add("--grace", type=cli.number(0, 86_400, unit=" of seconds"), metavar="S", help=grace)
        add = parser.add_argument_group("TLS and peers").add_argument
        add("--tls-cert", type=Path, metavar="FILE", help="the server's certificate chain, PEM")
        add("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
        client_ca = "take only clients with a certificate of this CA"
        add("--tls-client-ca", type=Path, metavar="FILE", help=client_ca)
        peers = "take only these peers over vsock"
        add("--vsock-allow-cid", action="extend", type=_cids, metavar="CID,...", help=peers)
        return parser


def _check_free(addresses: list[str]) -> None:
    """Find what is taken before servicers are made, which may take long. Raises `ListenError`."""
    for address in addresses:
        if address != _SYSTEMD:
            for sock in wire.bind_all(address):
                sock.close()


def _reference(text: str) -> str:
    module_name, _, name = text.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODULE:NAME, such as shop.service:Shop")
    return text


def _named(text: str) -> Any:
    """What MODULE:NAME stands for."""
    module_name, _, name = text.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigurationError(f"there is no module {module_name} (looked for in {Path.cwd()}, too)") from None
        raise ConfigurationError(f"{module_name} needs the module {error.name}, which is not there") from error
    except Exception as error:
        raise ConfigurationError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(value, part):
            public = [each for each in dir(value) if not each.startswith("_")]
            raise ConfigurationError(f"{module_name} has no {name}{nearest(name, public)}")
        value = getattr(value, part)
    return value


async def _servicers_of(text: str, value: Any, stack: AsyncExitStack) -> list[wire.Servicer]:
    if callable(value) and not isinstance(value, wire.Servicer):
        try:
            value = value()
            if isawaitable(value):
                value = await value
            if isinstance(value, AbstractAsyncContextManager):
                value = await stack.enter_async_context(value)
        except Exception as error:
            raise ConfigurationError(f"{text}() failed: {type(error).__name__}: {error}") from error
    servicers = [value] if isinstance(value, wire.Servicer) else value
    if not isinstance(servicers, Iterable):
        raise ConfigurationError(f"{text} is no servicer, nor a function that returns servicers")
    found = list(servicers)
    for each in found:
        if not isinstance(each, wire.Servicer):
            raise ConfigurationError(f"{text} gives a {type(each).__name__}, which is no wire.Servicer")
    return found


def _address(text: str) -> str:
    return text if text == _SYSTEMD else cli.address(text)


def _cids(text: str) -> list[int]:
    return [cli.integer(0, 2**32 - 2)(each) for each in text.split(",")]


def run() -> NoReturn:
    """The command `wire-server`."""
    cli.run_main(ServerProgram().main, PROG)


if __name__ == "__main__":
    run()
