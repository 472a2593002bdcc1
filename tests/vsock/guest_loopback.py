"""Runs inside a guest: both ends over VSOCK loopback (CID 1), on each event loop and engine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

import wire
from proto.crypto.v1 import GetPublicKeyRequest, SignRequest
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.algorithms import RULES, verify
from services.crypto import CryptoServicer
from services.echo import EchoServicer
from services.keys import KeyRing
from tests.bin.programs import ServerProcess
from tests.certificates import make_certificates
from tests.vsock.packages import BUSYBOX, MODULES
from tests.vsock.probe import FLOOD_MESSAGE, STACKS, Probe, ProbeStub, Stack

ANY = "vsock:any:any"
EIGHT_MIB = 8 << 20


def near(bound: str) -> str:
    """Where this guest reaches what it listens on."""
    return bound.replace("any", "local")


@pytest.fixture(params=STACKS, ids=str)
def stack(request: pytest.FixtureRequest) -> Stack:
    assert isinstance(request.param, Stack)
    return request.param


@pytest.fixture
def no_vsock() -> Iterator[None]:
    """A kernel without AF_VSOCK, until the end of the test. Only possible while no socket of the family lingers."""
    modules = ("vsock", "vmw_vsock_virtio_transport_common", "vsock_loopback")
    for name in reversed(modules):
        subprocess.run([BUSYBOX, "rmmod", name], check=True)
    yield
    for name in modules:
        subprocess.run([BUSYBOX, "insmod", MODULES / f"{name}.ko"], check=True)


@pytest.mark.usefixtures("no_vsock")
def test_a_machine_without_vsock_says_so() -> None:
    sentence = "this machine has no vsock; it takes Linux with a vsock device (/dev/vsock)"
    assert refusal("vsock:local:5999").endswith(sentence)
    assert listen_error("vsock:any:5000").endswith(sentence)


def test_echo_unary_and_streamed(stack: Stack) -> None:
    async def test() -> None:
        async with stack.serve(EchoServicer(), listen=ANY) as bound, stack.channel(near(bound)) as channel:
            stub = EchoServiceStub(channel)
            assert (await stub.echo(EchoRequest(payload=b"over vsock"), timeout=30)).payload == b"over vsock"
            requests = [EchoRequest(payload=b"%d" % number) for number in range(20)]
            replies = [reply.payload async for reply in stub.echo_stream(requests, timeout=30)]
            assert replies == [request.payload for request in requests]

    stack.run(test)


def test_tls_with_certificates_at_both_ends(stack: Stack, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = wire.ServerTls(made.server, made.server_key, made.ca)

    async def test() -> None:
        async with stack.serve(Probe(), listen=ANY, tls=server) as bound:
            async with stack.channel(near(bound), tls=wire.ClientTls(made.ca, made.client, made.client_key)) as channel:
                assert (await ProbeStub(channel).who(b"", timeout=30)).startswith(b"1 TLSv1.3 ")
            stranger = wire.ClientTls(made.ca, made.stranger, made.stranger_key)
            async with stack.channel(near(bound), tls=stranger) as channel:
                with pytest.raises(wire.RpcError) as refused:
                    await ProbeStub(channel).who(b"", timeout=30)
                assert refused.value.code is wire.StatusCode.UNAVAILABLE

    stack.run(test)


def test_deadline_ends_the_call_and_its_handler(stack: Stack) -> None:
    async def test() -> None:
        probe = Probe()
        async with stack.serve(probe, listen=ANY) as bound, stack.channel(near(bound)) as channel:
            stub = ProbeStub(channel)
            await stub.who(b"", timeout=30)
            with pytest.raises(wire.RpcError) as late:
                await stub.hang(b"", timeout=0.5)
            assert late.value.code is wire.StatusCode.DEADLINE_EXCEEDED
            with anyio.fail_after(30):
                await probe.let_go.wait()

    stack.run(test)


def test_cancelling_a_call_ends_its_handler(stack: Stack) -> None:
    async def test() -> None:
        probe = Probe()
        async with stack.serve(probe, listen=ANY) as bound, stack.channel(near(bound)) as channel:
            call = ProbeStub(channel).hang(b"", timeout=60)
            with anyio.fail_after(30):
                await probe.hanging.wait()
                call.cancel()
                await probe.let_go.wait()
            with pytest.raises(wire.RpcError) as cancelled:
                await call
            assert cancelled.value.code is wire.StatusCode.CANCELLED

    stack.run(test)


def test_a_message_of_8_mib_comes_back_whole(stack: Stack) -> None:
    message = os.urandom(EIGHT_MIB)
    calls = wire.CallConfig(max_receive_message_bytes=EIGHT_MIB)

    async def test() -> None:
        async with (
            stack.serve(Probe(), listen=ANY, calls=calls) as bound,
            stack.channel(near(bound), calls=calls) as channel,
        ):
            assert await ProbeStub(channel).bounce(message, timeout=60) == message

    stack.run(test)


def test_a_handler_waits_for_a_client_that_does_not_read(stack: Stack) -> None:
    messages = 80

    async def test() -> None:
        probe = Probe()
        async with stack.serve(probe, listen=ANY) as bound, stack.channel(near(bound)) as channel:
            replies = aiter(ProbeStub(channel).flood(b"%d" % messages, timeout=60))
            assert await anext(replies) == FLOOD_MESSAGE
            handed_over = -1
            while handed_over != probe.flooded:  # until it stands still
                handed_over = probe.flooded
                await anyio.sleep(0.3)
            # A stream's window, what one call may queue at each end, and the link's buffers.
            most = wire.Http2Config().stream_window_bytes + (1 << 20)
            assert handed_over * len(FLOOD_MESSAGE) < most < messages * len(FLOOD_MESSAGE)
            assert len([reply async for reply in replies]) == messages - 1

    stack.run(test)


def test_calls_go_round_four_connections(stack: Stack) -> None:
    async def test() -> None:
        async with stack.serve(Probe(), listen=ANY) as bound, stack.channel(near(bound), connections=4) as channel:
            stub = ProbeStub(channel)
            peers: set[bytes] = set()
            with anyio.fail_after(30):
                while len(peers) < 4:
                    peers.add(await stub.who(b"", timeout=30, wait_for_ready=True))
            assert all(peer.startswith(b"1 None vsock:local:") for peer in peers)

    stack.run(test)


def test_a_server_takes_only_the_cids_it_allows(stack: Stack) -> None:
    async def test() -> None:
        for allowed in (1, 3):
            only = wire.TransportConfig(vsock_allow_cids=frozenset({allowed}))
            async with stack.serve(Probe(), listen=ANY, transport=only) as bound, stack.channel(near(bound)) as channel:
                call = ProbeStub(channel).who(b"", timeout=30)
                if allowed == 1:
                    assert (await call).startswith(b"1 ")
                    continue
                with pytest.raises(wire.RpcError) as refused:
                    await call
                assert refused.value.code is wire.StatusCode.UNAVAILABLE

    stack.run(test)


def test_every_signing_algorithm() -> None:
    keys = KeyRing.generate([2048])

    async def test() -> None:
        async with Stack().serve(CryptoServicer(keys), listen=ANY) as bound, Stack().channel(near(bound)) as channel:
            stub = CryptoServiceStub(channel)
            for algorithm, rule in RULES.items():
                public = await stub.get_public_key(GetPublicKeyRequest(key_type=rule.key_type), timeout=30)
                request = SignRequest(key_type=rule.key_type, algorithm=algorithm, data=b"contract")
                reply = await stub.sign(request, timeout=30)
                assert reply.key_id == public.key_id
                assert verify(public.der, algorithm, b"contract", reply.signature), algorithm

    Stack().run(test)


def refusal(target: str) -> str:
    """What a call to a target that cannot be reached says."""
    sentences: list[str] = []

    async def test() -> None:
        async with Stack().channel(target) as channel:
            with pytest.raises(wire.RpcError) as refused:
                await ProbeStub(channel).who(b"", timeout=30)
            assert refused.value.code is wire.StatusCode.UNAVAILABLE
            sentences.append(refused.value.message)

    Stack().run(test)
    return sentences[0]


def listen_error(address: str) -> str:
    """What listening on an address that cannot be had says."""
    sentences: list[str] = []

    async def test() -> None:
        with pytest.raises(wire.ListenError) as refused:
            async with Stack().serve(Probe(), listen=address):
                pass
        sentences.append(str(refused.value))

    Stack().run(test)
    return sentences[0]


def test_a_cid_that_no_machine_has() -> None:
    assert "no VM with CID 7 is running" in refusal("vsock:7:5000")


def test_a_port_that_nothing_listens_on() -> None:
    assert "nothing listens on vsock port 5999 of CID 1" in refusal("vsock:local:5999")


def test_a_port_that_is_taken() -> None:
    with socket.socket(socket.AF_VSOCK) as taken:
        taken.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
        taken.listen()
        port = taken.getsockname()[1]
        assert listen_error(f"vsock:any:{port}").endswith(f"vsock port {port} is taken by another program")


def test_a_port_that_needs_privileges() -> None:
    with as_nobody():
        assert "port 80 is below 1024 and needs privileges" in listen_error("vsock:any:80")


def test_a_cid_that_is_not_this_machines() -> None:
    assert "CID 99 is not this machine's; listen on vsock:any:5000" in listen_error("vsock:99:5000")


def test_two_workers_survive_the_death_of_one_and_drain_on_sigterm() -> None:
    with ServerProcess("--workers", "2", "--rsa-bits", "none", "--listen", "vsock:any:5001") as server:
        assert server.addresses == ["vsock:any:5001"]
        first, second = workers(server)
        Stack().run(calls_while_a_worker_dies, first)
        assert second in workers(server)
        Stack().run(stream_while_the_server_stops, server)
        assert server.end() == 0
        assert f"(process {first}) was killed by SIGKILL; another takes its place" in server.stderr


def workers(server: ServerProcess) -> list[int]:
    """The process ids of its workers."""
    pid = server.process.pid
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def calls_while_a_worker_dies(victim: int) -> None:
    async with Stack().channel("vsock:local:5001", connections=4) as channel:
        stub = EchoServiceStub(channel)
        await stub.echo(EchoRequest(payload=b"before"), timeout=30)
        os.kill(victim, signal.SIGKILL)
        lost = done = 0
        while done < 20:
            try:
                await stub.echo(EchoRequest(payload=b"after"), timeout=30, wait_for_ready=True)
                done += 1
            except wire.RpcError:  # the one that was on its way to the victim
                lost += 1
            assert lost <= 1


async def stream_while_the_server_stops(server: ServerProcess) -> None:
    async with Stack().channel("vsock:local:5001") as channel:
        stub = EchoServiceStub(channel)
        call = stub.echo_stream(timeout=60)
        replies = aiter(call)
        await call.send(EchoRequest(payload=b"before"))
        assert (await anext(replies)).payload == b"before"
        server.process.send_signal(signal.SIGTERM)
        with suppress(wire.RpcError):  # until it takes no new calls
            while True:
                await stub.echo(EchoRequest(payload=b"more"), timeout=1)
        await call.send(EchoRequest(payload=b"while it drains"))
        assert (await anext(replies)).payload == b"while it drains"
        await call.end()
        assert [reply async for reply in replies] == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's privileges, for the length of the block."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
