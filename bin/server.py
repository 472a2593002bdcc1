"""`python -m bin.server`: serves Echo and Crypto, as `wire-server` serves any service."""

from __future__ import annotations

import argparse
import ctypes
import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar, Final

import wire
from services.crypto import CryptoServicer
from services.echo import EchoServicer
from services.keys import RSA_BITS, KeyRing
from services.threads import available_cores
from wire.programs import cli, server
from wire.programs.server import OpenServicers, ServerProgram
from wire.standard import Channelz, Health, reflection

PROG: Final = "bin.server"

_log = logging.getLogger(PROG)


class EchoAndCrypto(ServerProgram):
    prog: ClassVar[str] = PROG
    description: ClassVar[str] = "Serve echo.v1.EchoService and crypto.v1.CryptoService."
    epilog: ClassVar[str] = server.NOTES

    def add_flags(self, parser: cli.Parser) -> None:
        keys = parser.add_argument_group("keys")
        keys.add_argument(
            "--keys", type=Path, metavar="DIR", help="keep the keys there; without it they are new each time"
        )
        keys.add_argument(
            "--rsa-bits",
            action="append",
            type=_rsa_bits,
            metavar="{2048,3072,4096,none}",
            help="RSA key; may be repeated, calls that name no size get the first (2048)",
        )

    def check(self, parser: cli.Parser, args: argparse.Namespace) -> None:
        """Whatever there is goes with the rest."""

    def servicers(self, args: argparse.Namespace) -> OpenServicers:
        _keep_out_of_core_dumps()
        rsa_bits = [bits for bits in args.rsa_bits or [2048] if bits]
        keys = KeyRing.load(args.keys, rsa_bits) if args.keys else KeyRing.generate(rsa_bits)
        for key in keys:
            _log.info("key %s is %s", key.name, key.key_id)
        threads = max(1, available_cores() // args.workers)

        async def opened(stack: AsyncExitStack) -> list[wire.Servicer]:
            return [EchoServicer(), CryptoServicer(keys, threads=threads), Health(), Channelz(), *reflection()]

        return opened


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


main: Final = EchoAndCrypto().main

if __name__ == "__main__":
    cli.run_main(main, PROG)
