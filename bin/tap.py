"""`python -m bin.tap`: stands between any client and any server, and shows what passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wire.programs import cli, tap
from wire.service import Service

PROG: Final = "bin.tap"


def main(arguments: list[str] | None = None) -> int:
    return tap.main(arguments, prog=PROG, services=_services)


def _services() -> Iterator[Service]:
    from proto.crypto.v1.crypto_wire import CryptoServiceStub
    from proto.echo.v1.echo_wire import EchoServiceStub

    yield EchoServiceStub.service
    yield CryptoServiceStub.service


if __name__ == "__main__":
    cli.run_main(main, PROG)
