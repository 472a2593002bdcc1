"""Runs in a guest that is the host (CID 2) of a second one (CID 42): AF_VSOCK at both ends, between two machines.

The inner guest runs `bin.server` on its vsock port 5000, and with `bin.client` it calls port 6000 of its host. It is
some forty times slower than the machine underneath, so little is done there.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

import wire
from bin import client
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceStub
from services.echo import EchoServicer
from tests.vsock import guest
from tests.vsock.probe import LOOPS, Stack, outlive

CID = 42
TARGET = f"vsock:{CID}:5000"
BOOT_LIMIT_S = max(150.0, 10 * time.monotonic())
"""Three times what it takes. The clock began when this machine booted, so a slow machine has more patience."""
SERVE = ["--listen", "vsock:any:5000", "--rsa-bits", "none", "--loop", "asyncio", "--log-level", "debug"]
CALL = ["--target", "vsock:host:6000", "--timeout", "60", "--loop", "asyncio", "--json", "echo", "from the guest"]
BOTH = f"""
import os, sys
from bin import client, server
if os.fork():
    server.main({SERVE})
else:
    client.main({CALL})
    print("client ended", file=sys.stderr)
"""
"""The two programs in one interpreter, which imports what they need once."""


def boot(command: str) -> guest.Guest:
    return guest.start(lambda: guest.Guest(guest.inner(CID), command), "listening on", BOOT_LIMIT_S)


class Host(EchoServicer):
    """Remembers who called."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[int | None] = []

    def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        self.callers.append(context.peer.cid)
        return super().echo(request, context)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A server on this machine's vsock port 6000."""
    host = Host()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Stack().serve(host, listen="vsock:any:6000")),
    ):
        yield host


@pytest.fixture(scope="module")
def machine(host: Host) -> Iterator[guest.Guest]:
    with boot(f"{guest.python('-c', BOTH)} >/share/reply") as machine:
        yield machine


@pytest.mark.parametrize("stack", LOOPS, ids=str)
def test_the_guest_answers_its_host_and_sees_that_it_is_cid_2(machine: guest.Guest, stack: Stack) -> None:
    async def test() -> None:
        async with stack.channel(TARGET) as channel:
            stub = EchoServiceStub(channel)
            requests = [EchoRequest(payload=bytes(100_000)) for _ in range(3)]
            replies = [reply.payload async for reply in stub.echo_stream(requests, timeout=60)]
            assert replies == [request.payload for request in requests]
        assert " vsock:host:" in machine.wait_for_line("connected", 60)

    stack.run(test)


@pytest.mark.parametrize("key", ["p256", "ed25519"])
def test_the_guest_signs_for_its_host(machine: guest.Guest, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    client.main(["--target", TARGET, "--timeout", "60", "sign", "--key", key, "--verify", "contract"])
    assert capsys.readouterr().err.startswith("verified with key ")


def test_the_host_answers_its_guest_and_sees_its_cid(machine: guest.Guest, host: Host) -> None:
    machine.wait_for_line("client ended", BOOT_LIMIT_S)
    reply = json.loads((machine.share / "reply").read_text())
    assert base64.b64decode(reply["payload"]) == b"from the guest"
    assert host.callers == [CID]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (f"vsock:{CID}:5999", f"nothing listens on vsock port 5999 of CID {CID}"),
        ("vsock:43:5000", "no VM with CID 43 is running"),
    ],
)
def test_what_cannot_be_reached_is_named(machine: guest.Guest, target: str, sentence: str) -> None:
    async def test() -> None:
        async with Stack().channel(target) as channel:
            with pytest.raises(wire.RpcError, match=sentence) as refused:
                await EchoServiceStub(channel).echo(EchoRequest(), timeout=30)
            assert refused.value.code is wire.StatusCode.UNAVAILABLE

    Stack().run(test)


def test_a_channel_outlives_its_guest(machine: guest.Guest) -> None:
    """The last test of `machine`."""
    Stack().run(
        outlive,
        TARGET,
        machine,
        lambda: boot(guest.python("-m", "bin.server", *SERVE)),
        f"no VM with CID {CID} is running",
    )
