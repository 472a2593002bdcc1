"""A server of grpc.testing.TestService: `python -m tests.interop.server [--engine NAME] [--certificate PEM --key PEM]`.

Prints its port (of a UNIX socket: 1) and serves until its standard input ends, so that it cannot outlive who started
it.
"""

from __future__ import annotations

import argparse
import logging
import sys

import anyio

import wire
from tests.interop.grpc_testing import GrpcTestingServicer


async def serve(address: str, config: wire.ServerConfig, tls: wire.ServerTls | None) -> None:
    async with wire.Server([GrpcTestingServicer()], config=config, tls=tls) as server:
        port = (await server.listen(address)).rpartition(":")[2]
        print(port if port.isdigit() else 1, flush=True)
        # A thread that is left behind when the server ends first does not keep the process.
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.interop.server", description="serve grpc.testing.TestService")
    parser.add_argument("--engine", choices=["tuned", "h2"], default="tuned")
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--compression", choices=["gzip", "deflate"])
    parser.add_argument("--max-message-bytes", type=int, default=1 << 22)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    calls = wire.CallConfig(compression=options.compression, max_receive_message_bytes=options.max_message_bytes)
    tls = wire.ServerTls(options.certificate, options.key) if options.certificate else None
    wire.run(lambda: serve(options.address, wire.ServerConfig(engine=options.engine, calls=calls), tls))


if __name__ == "__main__":
    main()
