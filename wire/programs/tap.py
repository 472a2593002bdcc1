"""`wire-tap`: stands between any client and any server, and shows what passes."""

from __future__ import annotations

import argparse
import logging
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import anyio

import wire
from wire.errors import ConfigurationError
from wire.inspect import Disturbance, Tap, Trace, read_capture
from wire.programs import cli
from wire.programs.logs import set_up_logging
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wire.service import Service

PROG: Final = "wire-tap"

_DESCRIPTION = """\
Stand between any gRPC client and any gRPC server, show what passes, and change no byte of it. Between families of
addresses, too, so that it is also a bridge between TCP and VSOCK.
"""
_EPILOG = f"""\
addresses:  host:port   unix:/path   unix-abstract:name   vsock:CID:PORT (CID may be any)   hvsock:///path/v.sock:PORT
{FILTER_HELP}
examples:
  %(prog)s --listen 127.0.0.1:8080 --target 127.0.0.1:50051
  %(prog)s --listen 127.0.0.1:8080 --target unix:/run/app.sock --trace frame=CALL
  %(prog)s --listen vsock:any:5000 --target 127.0.0.1:50051 --quiet
  %(prog)s --listen 127.0.0.1:8080 --target 127.0.0.1:50051 --delay 0.05 --throttle 100KiB
  tcpdump -i lo -w - tcp port 50051 | %(prog)s --pcapng -

The trace goes to standard output. SIGTERM and SIGINT (Ctrl-C) end it with status 0.
"""

_FLAGS: Final = {
    "ClientTls.server_name": "--target-tls-server-name",
    "ClientTls.root_ca": "--target-tls-ca",
    "ClientTls.certificate": "--target-tls-cert",
}
"""Where an error advises a parameter, the user of this program has a flag."""

_log = logging.getLogger("wire.inspect")

_SIZE = re.compile(r"(\d+)(|K|KiB|M|MiB|G|GiB)")
_UNITS: Final = {"": 1, "K": 1 << 10, "KiB": 1 << 10, "M": 1 << 20, "MiB": 1 << 20, "G": 1 << 30, "GiB": 1 << 30}


def main(
    arguments: list[str] | None = None, *, prog: str = PROG, services: Callable[[], Iterable[Service]] = tuple
) -> int:
    """`services`: those whose messages are shown by name without --descriptors."""
    parser = _parser(prog)
    args = parser.parse_args(arguments_of(arguments))
    _check(parser, args)
    set_up_logging(args.log_level, args.log_format)
    flags = None if args.quiet else trace_flags(args)
    trace = None if flags is None else flags.trace(services(), file=sys.stdout)
    if trace is not None and args.descriptors is not None:
        _add_descriptors(trace, args.descriptors)
    if args.pcapng is not None:
        return _read(args.pcapng, trace)
    wire.run(_pass_on, args, trace, loop=args.loop)
    return 0


def _read(path: str, trace: Trace | None) -> int:
    """Show a capture, and say on stderr what was in it."""
    assert trace is not None

    def end(error: Exception) -> None:
        raise _UnwritableError(error)

    trace.on_output_lost = end
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            found = read_capture(file, trace)
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot read {'standard input' if path == '-' else path}: {error}") from None
    except _UnwritableError as unwritable:
        raise unwritable.error from None
    text = f"packets: {found.packets}, connections of HTTP/2 in the clear: {found.connections}"
    text += f", other TCP connections: {found.others}" if found.others else ""
    text += f", packets that cannot be read: {found.unreadable}" if found.unreadable else ""
    print(text + ("; the capture is cut short" if found.cut_short else ""), file=sys.stderr)
    return 0


class _UnwritableError(BaseException):  # not an Exception: those of an output do not reach whoever reads
    """The trace cannot be written any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


async def _pass_on(args: argparse.Namespace, trace: Trace | None) -> None:
    disturbance = Disturbance(delay_s=args.delay, bytes_per_s=args.throttle, cut_after_bytes=args.cut_after)
    tls = wire.ServerTls(args.tls_cert, args.tls_key, args.tls_client_ca) if args.tls_cert else None
    target_tls = None
    if args.target_tls or args.target_tls_ca or args.target_tls_cert or args.target_tls_server_name:
        target_tls = wire.ClientTls(
            args.target_tls_ca, args.target_tls_cert, args.target_tls_key, args.target_tls_server_name
        )
    unreadable: list[Exception] = []
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals, anyio.CancelScope() as scope:
        if trace is not None:  # whoever read it went away, or the disk is full: there is nothing left to do

            def end(error: Exception) -> None:
                unreadable.append(error)
                scope.cancel()

            trace.on_output_lost = end
        async with Tap(args.target, trace=trace, tls=tls, target_tls=target_tls, disturbance=disturbance) as tap:
            tap.on_unreachable = _say_unreachable
            for address in args.listen:
                print(f"listening on {await tap.listen(address)}", file=sys.stderr, flush=True)
            await anext(signals)
    if unreadable:
        raise unreadable[0]


def _say_unreachable(error: wire.TransportError) -> None:
    text = error.message
    for knob, flag in _FLAGS.items():
        text = text.replace(knob, flag)
    _log.error("%s", text)


def _add_descriptors(trace: Trace, path: Path) -> None:
    try:
        trace.schemas.add_file_set(path.read_bytes())
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot use {path}: {error}") from None


def size(text: str) -> int:
    """A number of bytes, such as 1000 or 64KiB."""
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 1000 or 64KiB")
    return int(found[1]) * _UNITS[found[2]]


def _capture_file(text: str) -> str:
    return text if text == "-" else str(cli.readable_file(text))


def _check(parser: cli.Parser, args: argparse.Namespace) -> None:
    if args.pcapng is not None:
        if args.listen or args.target or args.quiet:
            parser.error("--pcapng goes with neither --listen, --target nor --quiet")
    elif not args.listen or args.target is None:
        parser.error("--listen and --target are needed, or --pcapng")
    for prefix in ("tls", "target_tls"):
        if (getattr(args, f"{prefix}_cert") is None) != (getattr(args, f"{prefix}_key") is None):
            flag = prefix.replace("_", "-")
            parser.error(f"--{flag}-cert and --{flag}-key go together")
    if args.tls_client_ca and not args.tls_cert:
        parser.error("--tls-client-ca needs --tls-cert and --tls-key")


def _parser(prog: str) -> cli.Parser:
    parser = cli.Parser(prog, description=_DESCRIPTION, epilog=_EPILOG)
    cli.add_version_flag(parser)
    parser.add_argument("--listen", action="append", type=cli.address, metavar="ADDR", help="may be repeated")
    parser.add_argument("--target", type=cli.address, metavar="ADDR", help="where each connection is passed on to")
    parser.add_argument(
        "--pcapng", type=_capture_file, metavar="FILE", help='read a capture in place of both; "-" is standard input'
    )
    parser.add_argument("--quiet", action="store_true", help="show nothing: pass bytes on")
    parser.add_argument(
        "--descriptors",
        type=cli.readable_file,
        metavar="FILE",
        help="show messages by these, as `protoc --include_imports -o FILE` writes them",
    )
    cli.add_loop_flag(parser)
    cli.add_log_flags(parser)
    add_trace_flags(parser.add_argument_group("trace").add_argument, always=True)
    disturb = parser.add_argument_group("disturbances, of each connection")
    disturb.add_argument(
        "--delay",
        type=cli.number(0, 3600, unit=" of seconds"),
        default=0.0,
        metavar="S",
        help="hold bytes so long, in each direction",
    )
    disturb.add_argument("--throttle", type=size, metavar="BYTES", help="pass so many a second, in each direction")
    disturb.add_argument(
        "--cut-after", type=size, metavar="BYTES", help="break it off after so many, of both directions together"
    )
    tls = parser.add_argument_group("TLS: ended here, begun anew to the target")
    tls.add_argument("--tls-cert", type=cli.readable_file, metavar="FILE", help="certificate chain for clients, PEM")
    tls.add_argument("--tls-key", type=cli.readable_file, metavar="FILE", help="its private key, PEM")
    tls.add_argument(
        "--tls-client-ca", type=cli.readable_file, metavar="FILE", help="take only clients with a certificate of it"
    )
    tls.add_argument("--target-tls", action="store_true", help="speak TLS to the target, trusting the system's CAs")
    tls.add_argument("--target-tls-ca", type=cli.readable_file, metavar="FILE", help="the same, trusting this CA")
    tls.add_argument("--target-tls-cert", type=cli.readable_file, metavar="FILE", help="certificate for the target")
    tls.add_argument("--target-tls-key", type=cli.readable_file, metavar="FILE", help="its private key, PEM")
    tls.add_argument("--target-tls-server-name", metavar="NAME", help="the name that the target's must have")
    return parser


def run() -> NoReturn:
    """The command `wire-tap`."""
    cli.run_main(main, PROG)


if __name__ == "__main__":
    run()
