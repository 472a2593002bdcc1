"""`python -m bin.server`: serves Echo and Crypto."""

from __future__ import annotations

import argparse
import ctypes
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import wire
from services.crypto import CryptoServicer
from services.echo import EchoServicer
from services.keys import RSA_BITS, KeyRing
from services.threads import available_cores
from wire.programs import cli
from wire.programs.costs import HELP as COSTS_HELP
from wire.programs.costs import SIGNALS as COSTS_SIGNALS
from wire.programs.costs import add_costs_flag, measure_on_signal
from wire.programs.knob_flags import add_knob_flags, checked_settings, config_of, print_knobs
from wire.programs.logs import set_up_logging
from wire.programs.tracing import FILTER_HELP, add_trace_flags, arguments_of, trace_flags
from wire.server.serving import SYSTEMD
from wire.standard import Channelz, Health, reflection

PROG: Final = "bin.server"
DEFAULT_ADDRESS: Final = "127.0.0.1:50051"

_DESCRIPTION = "Serve echo.v1.EchoService and crypto.v1.CryptoService."
_EPILOG = f"""\
addresses:  host:port   unix:/path   unix-abstract:name   vsock:CID:PORT (CID may be any)   hvsock:///path/v.sock:PORT
            systemd: (the sockets that systemd hands over)
{FILTER_HELP}
SIGTERM and SIGINT (Ctrl-C) let open calls end and then exit with status 0; a second one exits at once. Handlers that
do not end within 5 s of being cancelled are left behind, with status 1.

{COSTS_HELP}"""

_log = logging.getLogger(PROG)


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments_of(arguments))
    if (args.tls_cert is None) != (args.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if args.tls_client_ca and not args.tls_cert:
        parser.error("--tls-client-ca needs --tls-cert and --tls-key")
    if args.workers > 1 and SYSTEMD in (args.listen or []):
        parser.error(f"--listen {SYSTEMD} is for one worker")
    settings = checked_settings(parser, args, "server")
    if args.list_knobs:
        print_knobs("server", settings)
        return 0
    set_up_logging(args.log_level, args.log_format)
    _keep_out_of_core_dumps()
    addresses = args.listen or [DEFAULT_ADDRESS]
    rsa_bits = [bits for bits in args.rsa_bits or [2048] if bits]
    tls = wire.ServerTls(args.tls_cert, args.tls_key, args.tls_client_ca) if args.tls_cert else None
    cids = frozenset(args.vsock_allow_cid) if args.vsock_allow_cid else None
    flags_of_knobs = {"engine": args.engine, "grace_s": args.grace, "transport.vsock_allow_cids": cids}
    config = config_of(wire.ServerConfig(), settings, **flags_of_knobs)
    keys = KeyRing.load(args.keys, rsa_bits) if args.keys else KeyRing.generate(rsa_bits)
    for key in keys:
        _log.info("key %s is %s", key.name, key.key_id)

    threads = max(1, available_cores() // args.workers)
    flags = trace_flags(args)

    def make_server() -> wire.Server:  # in each worker
        measure_on_signal(args.costs_file, args.log_format)
        servicers = [EchoServicer(), CryptoServicer(keys, threads=threads), Health(), Channelz(), *reflection()]
        trace = None if flags is None else flags.trace(several=args.workers > 1)
        return wire.Server(servicers, config=config, tls=tls, trace=trace)

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
        pass_on=COSTS_SIGNALS,
    )


def _address(text: str) -> str:
    return text if text == SYSTEMD else cli.address(text)


def _keep_out_of_core_dumps() -> None:
    """The process holds private keys: no core dump of it is written, and no other process of the user may trace it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>


def _rsa_bits(text: str) -> int:
    if text == "none":
        return 0
    if text not in map(str, RSA_BITS):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of 2048, 3072, 4096 and none")
    return int(text)


def _cids(text: str) -> list[int]:
    return [cli.integer(0, 2**32 - 2)(each) for each in text.split(",")]


def _parser() -> cli.Parser:
    parser = cli.Parser(PROG, description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--listen", action="append", type=_address, metavar="ADDR", help=f"may be repeated ({DEFAULT_ADDRESS})"
    )
    parser.add_argument(
        "--workers", type=cli.integer(1, 1024), default=1, metavar="N", help="processes behind the addresses (1)"
    )
    cli.add_engine_flag(parser.add_argument)
    cli.add_loop_flag(parser)
    cli.add_log_flags(parser)
    add_trace_flags(parser.add_argument_group("trace").add_argument)
    add_knob_flags(parser.add_argument_group("knobs").add_argument)
    add_costs_flag(parser.add_argument)
    parser.add_argument(
        "--grace",
        type=cli.number(0, 86_400, unit=" of seconds"),
        metavar="S",
        help=f"how long open calls may go on when stopping ({wire.ServerConfig().grace_s:g} s)",
    )
    keys = parser.add_argument_group("keys")
    keys.add_argument("--keys", type=Path, metavar="DIR", help="keep the keys there; without it they are new each time")
    keys.add_argument(
        "--rsa-bits",
        action="append",
        type=_rsa_bits,
        metavar="{2048,3072,4096,none}",
        help="RSA key; may be repeated, calls that name no size get the first (2048)",
    )
    tls = parser.add_argument_group("TLS and peers")
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate chain, PEM")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    tls.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE", help="take only clients with a certificate of this CA"
    )
    tls.add_argument(
        "--vsock-allow-cid", action="extend", type=_cids, metavar="CID,...", help="take only these peers over vsock"
    )
    return parser


if __name__ == "__main__":
    cli.run_main(main, PROG)
