"""The guest's side: `python agent.py vsock:any:5000`, as the service manager of the virtual machine starts it.

Over vsock only the host can reach it, and over TCP anybody can: whoever may call it may do all that its user may.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream
from pb.agent.v1 import FileChunk, GetFileRequest, PutFileResponse, RunEvent, RunRequest
from pb.agent.v1.agent_wire import AgentBase

import wire
from wire.standard import Health, reflection

CHUNK_BYTES = 64 * 1024


class Agent(AgentBase):
    async def run(self, request: RunRequest, context: wire.ServerContext) -> list[RunEvent]:
        """What it returns comes behind what it has sent."""
        if not request.command:
            raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, "the request has no command")
        try:
            process = await anyio.open_process(
                request.command,
                stdin=subprocess.PIPE,
                cwd=request.directory or None,
                env={**os.environ, **request.environment},
                start_new_session=True,  # so that what it starts can be killed with it
            )
        except OSError as error:
            text = f"cannot run {request.command[0]!r}: {error.strerror}"
            raise wire.RpcError(wire.StatusCode.FAILED_PRECONDITION, text) from None

        async def forward(output: ByteReceiveStream | None, event: Callable[[bytes], RunEvent]) -> None:
            assert output is not None
            async for data in output:
                await context.send(event(data))  # waits while the host does not read

        async def feed() -> None:
            assert process.stdin is not None
            try:
                await process.stdin.send(request.input)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # it ended, or closed its input, before it had read all
            await process.stdin.aclose()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed)
                tasks.start_soon(forward, process.stdout, lambda data: RunEvent(output=data))
                tasks.start_soon(forward, process.stderr, lambda data: RunEvent(error_output=data))
            status = await process.wait()
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            with anyio.CancelScope(shield=True):
                await process.aclose()
        return [RunEvent(exit_status=status if status >= 0 else 128 - status)]

    async def put_file(self, requests: AsyncIterator[FileChunk], context: wire.ServerContext) -> PutFileResponse:
        first = await anext(requests, None)
        if first is None or not first.path:
            raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, "the first message must have a path")
        path = Path(first.path)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise _status(error, path) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                size_bytes = file.write(first.data)
                async for chunk in requests:
                    size_bytes += file.write(chunk.data)
                os.fchmod(file.fileno(), first.mode or 0o644)
            os.replace(temporary, path)
        except OSError as error:
            raise _status(error, path) from None
        finally:
            Path(temporary).unlink(missing_ok=True)
        return PutFileResponse(size_bytes=size_bytes)

    async def get_file(self, request: GetFileRequest, context: wire.ServerContext) -> AsyncIterator[FileChunk]:
        path = Path(request.path)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o7777
                yield FileChunk(path=request.path, mode=mode)
                while data := file.read(CHUNK_BYTES):
                    yield FileChunk(data=data)
        except OSError as error:
            raise _status(error, path) from None


def _status(error: OSError, path: Path) -> wire.RpcError:
    codes = {
        FileNotFoundError: wire.StatusCode.NOT_FOUND,
        PermissionError: wire.StatusCode.PERMISSION_DENIED,
    }
    return wire.RpcError(codes.get(type(error), wire.StatusCode.FAILED_PRECONDITION), f"{path}: {error.strerror}")


def make_server() -> wire.Server:
    return wire.Server([Agent(), Health(), *reflection()])


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "vsock:any:5000"
    sys.exit(wire.serve(make_server, address, started=lambda bound: print("the agent listens on", *bound)))
