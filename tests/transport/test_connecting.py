"""Connecting: what addresses stand for, time, and hybrid vsock against a model of the VMM that misbehaves."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.transport.harness import receive, run_loop
from wire.errors import ConnectError
from wire.transport import connecting, sockets
from wire.transport.address import parse_address
from wire.transport.contract import Runtime


async def connect(text: str, timeout_s: float = 5.0) -> socket.socket:
    candidates = await connecting.resolve(parse_address(text), timeout_s, anyio)
    return await connecting.connect(candidates[0], timeout_s, anyio)


async def refusal(text: str, timeout_s: float = 5.0) -> str:
    with pytest.raises(ConnectError) as caught:
        await connect(text, timeout_s)
    return str(caught.value)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on, kept from others."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_a_connected_socket_does_not_block_and_sends_at_once(loop: str) -> None:
    async def test(_: Runtime) -> None:
        server = sockets.bind(parse_address("127.0.0.1:0"))
        with server, await connect(f"localhost:{server.getsockname()[1]}") as sock:
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run_loop(loop, test)


def test_a_refused_connection_names_the_address_and_keeps_the_errno(loop: str, unused_port: int) -> None:
    async def test(_: Runtime) -> None:
        with pytest.raises(ConnectError) as caught:
            await connect(f"127.0.0.1:{unused_port}")
        assert caught.value.errno == errno.ECONNREFUSED
        assert str(caught.value) == (
            f"cannot connect to ipv4:127.0.0.1:{unused_port}: nothing listens there (connection refused)"
        )

    run_loop(loop, test)


def test_each_of_several_literal_addresses_is_a_candidate_of_its_own(loop: str) -> None:
    async def test(_: Runtime) -> None:
        found = await connecting.resolve(parse_address("ipv4:127.0.0.1:1,127.0.0.2:2"), 5, anyio)
        assert [each.sockaddr for each in found] == [("127.0.0.1", 1), ("127.0.0.2", 2)]
        assert [str(each.address) for each in found] == ["ipv4:127.0.0.1:1", "ipv4:127.0.0.2:2"]

    run_loop(loop, test)


def test_an_address_that_does_not_answer_is_given_up_in_time(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect_socket(sock: socket.socket, sockaddr: Any, waits: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(connecting, "_connect_socket", connect_socket)

    async def test(_: Runtime) -> None:
        assert "no answer (connection timed out)" in await refusal("192.0.2.1:1", timeout_s=0.01)  # RFC 5737

    run_loop(loop, test)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (socket.EAI_NONAME, 'the name "nowhere.invalid" is not known'),
        (socket.EAI_AGAIN, "the DNS server did not answer"),
    ],
)
def test_a_name_that_cannot_be_looked_up_is_told(
    loop: str, number: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(number, "whatever the resolver says")

    monkeypatch.setattr(anyio, "getaddrinfo", fail)

    async def test(_: Runtime) -> None:
        assert await refusal("nowhere.invalid:1") == f"cannot connect to dns:///nowhere.invalid:1: {sentence}"

    run_loop(loop, test)


def test_a_name_that_cannot_be_a_name_is_told(loop: str) -> None:
    async def test(_: Runtime) -> None:
        assert await refusal(f"{'x' * 64}.invalid:1") == (
            f"cannot connect to dns:///{'x' * 64}.invalid:1: its host is not a valid name"
        )

    run_loop(loop, test)


def test_a_name_look_up_that_hangs_is_given_up(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(anyio, "getaddrinfo", hang)

    async def test(_: Runtime) -> None:
        assert "the DNS server did not answer" in await refusal("nowhere.invalid:1", timeout_s=0.01)

    run_loop(loop, test)


def test_a_unix_socket_that_is_not_there_or_dead_is_told(loop: str, short_path: Path) -> None:
    async def test(_: Runtime) -> None:
        assert "no such socket; is the server running?" in await refusal(f"unix:{short_path}/s")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"{short_path}/s")
        assert "nothing listens there (connection refused)" in await refusal(f"unix:{short_path}/s")

    run_loop(loop, test)


def test_a_unix_socket_with_a_full_queue_is_waited_for(loop: str, short_path: Path) -> None:
    async def test(runtime: Runtime) -> None:
        with sockets.bind(parse_address(f"unix:{short_path}/s"), backlog=1) as server:
            waiting = []
            for _ in range(2):  # listen(2): one more than the backlog
                waiting.append(await connect(f"unix:{short_path}/s"))
            assert "its queue of waiting connections stayed full" in await refusal(f"unix:{short_path}/s", 0.01)
            runtime.call_later(0.01, lambda: waiting.append(server.accept()[0]))
            waiting.append(await connect(f"unix:{short_path}/s"))
            for sock in waiting:
                sock.close()

    run_loop(loop, test)


def test_a_machine_without_vsock_says_so_in_one_sentence(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "AF_VSOCK", -1)

    async def test(_: Runtime) -> None:
        assert await refusal("vsock:3:5000") == (
            "cannot connect to vsock:3:5000: this machine has no vsock; it takes Linux with a vsock device (/dev/vsock)"
        )

    run_loop(loop, test)


def test_any_is_for_listening(loop: str) -> None:
    async def test(_: Runtime) -> None:
        for text in ("vsock:any:5000", "vsock:3:any"):
            assert "give a CID and a port" in await refusal(text)

    run_loop(loop, test)


# Hybrid vsock. `vmm` plays the VMM on its end of one connection.


def against_vmm(
    loop: str,
    directory: Path,
    vmm: Callable[[socket.socket], Awaitable[None]],
    test: Callable[[str], Awaitable[None]],
) -> None:
    async def main(_: Runtime) -> None:
        with sockets.bind(parse_address(f"unix:{directory}/v.sock")) as server:

            async def serve() -> None:
                await anyio.wait_readable(server)
                with server.accept()[0] as sock:
                    assert await receive(sock) == b"CONNECT 5000\n"
                    await vmm(sock)

            async with anyio.create_task_group() as group:
                group.start_soon(serve)
                await test(f"hvsock://{directory}/v.sock:5000")

    run_loop(loop, main)


def test_hybrid_vsock_connects_and_loses_no_byte_behind_the_answer(loop: str, short_path: Path) -> None:
    async def vmm(sock: socket.socket) -> None:
        sock.send(b"OK 1073741824\n\0\0\0\4first frame\nof the guest")

    async def test(name: str) -> None:
        with await connect(name) as sock:
            assert await receive(sock) == b"\0\0\0\4first frame\nof the guest"

    against_vmm(loop, short_path, vmm, test)


def test_hybrid_vsock_takes_an_answer_that_comes_late_and_in_pieces(loop: str, short_path: Path) -> None:
    async def vmm(sock: socket.socket) -> None:
        for byte in b"OK 52\nx":
            await anyio.sleep(0.001)
            sock.send(bytes([byte]))

    async def test(name: str) -> None:
        with await connect(name) as sock:
            assert await receive(sock) == b"x"

    against_vmm(loop, short_path, vmm, test)


@pytest.mark.parametrize("said", [b"", b"O", b"OK 52"])
def test_hybrid_vsock_tells_that_nothing_listens_when_the_vmm_hangs_up(
    loop: str, said: bytes, short_path: Path
) -> None:
    async def vmm(sock: socket.socket) -> None:
        sock.send(said)

    async def test(name: str) -> None:
        assert await refusal(name) == (
            f"cannot connect to {name}: nothing listens on port 5000 in the guest (the VMM closed the connection)"
        )

    against_vmm(loop, short_path, vmm, test)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"ERR no such port\n", '"ERR no such port"'),
        (b"OKAY\n", '"OKAY"'),
        (b"\x1b[31m\r\n", r'"\x1b[31m"'),
        (b"\n", '""'),
        (b"HTTP/1.1 400 Bad Request" * 9, '"HTTP/1.1 400 Bad Request'),
    ],
)
def test_hybrid_vsock_tells_a_wrong_answer_escaped_and_cut(
    loop: str, said: bytes, shown: str, short_path: Path
) -> None:
    async def vmm(sock: socket.socket) -> None:
        sock.send(said)
        await receive(sock)

    async def test(name: str) -> None:
        text = await refusal(name)
        assert f"answered {shown}" in text
        assert text.isprintable()
        assert len(text) < 300

    against_vmm(loop, short_path, vmm, test)


def test_hybrid_vsock_gives_up_on_a_vmm_that_does_not_answer(loop: str, short_path: Path) -> None:
    async def vmm(sock: socket.socket) -> None:
        assert await receive(sock) == b""

    async def test(name: str) -> None:
        assert await refusal(name, timeout_s=0.02) == f"cannot connect to {name}: no answer to CONNECT 5000"

    against_vmm(loop, short_path, vmm, test)


def test_hybrid_vsock_without_a_vmm_asks_whether_the_vm_runs(loop: str, short_path: Path) -> None:
    async def test(_: Runtime) -> None:
        assert "is the VM running, with a vsock device at that path?" in await refusal(f"hvsock://{short_path}/v:1")

    run_loop(loop, test)


def test_a_connect_that_is_cancelled_leaves_no_socket(loop: str, short_path: Path) -> None:
    async def vmm(sock: socket.socket) -> None:
        assert await receive(sock) == b""  # closed at the other end

    async def test(name: str) -> None:
        descriptors = len(os.listdir("/proc/self/fd"))
        with anyio.move_on_after(0.02):
            await connect(name)
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the model's own

    against_vmm(loop, short_path, vmm, test)
