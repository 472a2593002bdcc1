"""Runs on this machine: hybrid vsock at this end, through vhost-device-vsock, to a guest that uses AF_VSOCK.

The guest runs `bin.server` on its vsock port 5000 and, with `bin.client`, calls port 6000 of its host.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.echo import EchoServicer
from tests.vsock import guest
from tests.vsock.probe import LOOPS, Stack, outlive

BOOT_LIMIT_S = 180.0
"""Seven times what it takes, for a busy machine."""
SERVER = guest.python("-m", "bin.server", "--listen", "vsock:any:5000", "--log-level", "debug")
CLIENT = guest.python("-m", "bin.client", "--target", "vsock:host:6000", "--timeout", "60", "--json", "echo")


@dataclass(frozen=True, slots=True)
class Vmm:
    """Where the sockets of the virtual machine are, on this machine."""

    folder: Path

    def boot(self, command: str) -> guest.Guest:
        return guest.start(lambda: guest.HybridGuest(self.folder, command), "listening on", BOOT_LIMIT_S)

    def address(self, port: int = 5000) -> str:
        return f"hvsock://{self.folder}/v.sock:{port}"


@pytest.fixture(scope="module")
def vmm(tmp_path_factory: pytest.TempPathFactory) -> Vmm:
    return Vmm(tmp_path_factory.mktemp("vmm"))


@pytest.fixture(scope="module")
def machine(vmm: Vmm) -> Iterator[guest.Guest]:
    """The guest, and a server of this machine that it calls."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Stack().serve(EchoServicer(), listen=vmm.address(6000))),
        vmm.boot(f"{SERVER} & {CLIENT} 'from the guest' >/share/reply; echo client ended; wait") as machine,
    ):
        yield machine


@pytest.fixture(params=LOOPS, ids=str)
def stack(request: pytest.FixtureRequest) -> Stack:
    assert isinstance(request.param, Stack)
    return request.param


def test_the_guest_answers_its_host_and_sees_that_it_is_cid_2(machine: guest.Guest, vmm: Vmm, stack: Stack) -> None:
    payload = os.urandom(1 << 20)

    async def test() -> None:
        async with stack.channel(vmm.address()) as channel:
            stub = EchoServiceStub(channel)
            assert (await stub.echo(EchoRequest(payload=payload), timeout=30)).payload == payload
            requests = [EchoRequest(payload=b"%d" % number) for number in range(20)]
            replies = [reply.payload async for reply in stub.echo_stream(requests, timeout=30)]
            assert replies == [request.payload for request in requests]
        assert " vsock:host:" in machine.wait_for_line("connected", 30)

    stack.run(test)


@pytest.mark.parametrize("key", ["rsa", "p256", "ed25519"])
def test_the_guest_signs_for_its_host(machine: guest.Guest, vmm: Vmm, key: str) -> None:
    command = ["--target", vmm.address(), "sign", "--key", key, "--verify", "contract"]
    done = subprocess.run(
        [sys.executable, "-m", "bin.client", *command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("verified with key ")


def test_the_host_answers_its_guest(machine: guest.Guest) -> None:
    machine.wait_for_line("client ended", BOOT_LIMIT_S)
    reply = json.loads((machine.share / "reply").read_text())
    assert base64.b64decode(reply["payload"]) == b"from the guest"


def test_a_host_is_told_that_its_guest_does_not_listen(machine: guest.Guest, vmm: Vmm, stack: Stack) -> None:
    async def test() -> None:
        async with stack.channel(vmm.address(5999)) as channel:
            with pytest.raises(wire.RpcError, match="nothing listens on port 5999 in the guest") as refused:
                await EchoServiceStub(channel).echo(EchoRequest(), timeout=30)
            assert refused.value.code is wire.StatusCode.UNAVAILABLE

    stack.run(test)


def test_a_channel_outlives_its_guest(machine: guest.Guest, vmm: Vmm) -> None:
    """The last test of `machine`."""
    server = f"{SERVER} --rsa-bits none"
    Stack().run(outlive, vmm.address(), machine, lambda: vmm.boot(server), "is the VM running")
