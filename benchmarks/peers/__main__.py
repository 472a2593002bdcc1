"""The command line of one peer; see the package."""

from __future__ import annotations

import argparse

from benchmarks.peers.clients import CLIENTS
from benchmarks.peers.servers import SERVERS
from wire.process import tune_process


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers")
    role = parser.add_subparsers(dest="role", required=True)
    serve = role.add_parser("serve", help="serve until SIGTERM")
    serve.add_argument("name", choices=SERVERS)
    serve.add_argument("--listen", default="127.0.0.1:0")
    call = role.add_parser("call", help="take a sample for each JSON line on stdin")
    call.add_argument("name", choices=CLIENTS)
    call.add_argument("--target", required=True)
    args = parser.parse_args()
    tune_process()  # for all of them alike
    try:
        if args.role == "serve":
            SERVERS[args.name](args.listen)
        else:
            CLIENTS[args.name](args.target)
    except KeyboardInterrupt:
        pass


main()
