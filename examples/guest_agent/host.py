"""The host's side: runs commands in a guest, and puts and gets files.

python host.py vsock:3:5000 run -- uname -a
python host.py vsock:3:5000 put local.txt /tmp/remote.txt
python host.py unix:/run/firecracker/v.sock:5000 get /etc/os-release os-release   # hybrid vsock
python host.py vsock:3:5000 health
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pb.agent.v1 import FileChunk, GetFileRequest, RunRequest
from pb.agent.v1.agent_wire import AgentStub

import wire
from wire.standard.generated.grpc.health.v1 import HealthCheckRequest
from wire.standard.generated.grpc.health.v1.health_wire import HealthStub

CHUNK_BYTES = 64 * 1024


async def run(agent: AgentStub, command: list[str]) -> int:
    """The command's exit status. Its output goes where ours goes."""
    data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    async for event in agent.run(RunRequest(command=command, input=data)):
        if event.output is not None:
            sys.stdout.buffer.write(event.output)
            sys.stdout.buffer.flush()
        elif event.error_output is not None:
            sys.stderr.buffer.write(event.error_output)
            sys.stderr.buffer.flush()
        elif event.exit_status is not None:
            return event.exit_status
    return 1


async def put(agent: AgentStub, local: str, remote: str) -> int:
    def chunks() -> Iterator[FileChunk]:
        with Path(local).open("rb") as file:
            yield FileChunk(path=remote, mode=os.fstat(file.fileno()).st_mode & 0o7777)
            while data := file.read(CHUNK_BYTES):
                yield FileChunk(data=data)

    print(f"{(await agent.put_file(chunks())).size_bytes} bytes")
    return 0


async def get(agent: AgentStub, remote: str, local: str) -> int:
    with Path(local).open("wb") as file:
        async for chunk in agent.get_file(GetFileRequest(path=remote)):
            file.write(chunk.data)
    return 0


async def main(options: argparse.Namespace) -> int:
    async with wire.Channel(options.target) as channel:
        agent = AgentStub(channel)
        match options.what:
            case "run":
                return await run(agent, options.command)
            case "put":
                return await put(agent, options.source, options.destination)
            case "get":
                return await get(agent, options.source, options.destination)
        print((await HealthStub(channel).check(HealthCheckRequest(), timeout=5.0)).status)
        return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run commands in a guest, and put and get files.")
    parser.add_argument("target", help='such as "vsock:3:5000", or "unix:/run/v.sock:5000" for hybrid vsock')
    kinds = parser.add_subparsers(dest="what", required=True)
    kinds.add_parser("run", help="run a command").add_argument("command", nargs="+")
    for name in ("put", "get"):
        kind = kinds.add_parser(name, help=f"{name} a file")
        kind.add_argument("source")
        kind.add_argument("destination")
    kinds.add_parser("health", help="ask whether the agent takes calls")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(wire.run(partial(main, arguments())))
    except KeyboardInterrupt:
        sys.exit(130)
    except (wire.WireError, OSError) as error:
        sys.exit(str(error))
