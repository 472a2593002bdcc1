"""Addresses that stand for several sockets: `localhost` in both families, and ports that several sockets share."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

import wire
from tests.support import Probe, ProbeStub, run
from wire.transport import sockets
from wire.transport.address import Address, parse_address
from wire.transport.listening import bind_all

pytestmark = pytest.mark.skipif(not sockets.has_loopback(socket.AF_INET6), reason="this machine has no ::1")


def _refuse_ipv6(monkeypatch: pytest.MonkeyPatch, *errnos: int) -> None:
    """Have the first binds of IPv6 addresses fail with these."""
    bind = sockets.bind
    left = list(errnos)

    def fail(address: Address, **options: Any) -> sockets.BoundSocket:
        if str(address).startswith("ipv6") and left:
            raise sockets.listen_error(address, OSError(left.pop(0), "no"))
        return bind(address, **options)

    monkeypatch.setattr(sockets, "bind", fail)


def test_a_server_on_localhost_is_reached_by_either_family_and_by_name() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            bound = await server.listen("localhost:0")
            host, _, port = bound.rpartition(":")
            assert host == "dns:///localhost"
            for target in (f"127.0.0.1:{port}", f"[::1]:{port}", bound):
                async with wire.Channel(target) as channel:
                    assert await ProbeStub(channel).unary(b"x") == b"x"

    run(main)


@pytest.mark.parametrize("listening", ["127.0.0.1:0", "[::1]:0"])
def test_a_channel_to_localhost_finds_a_server_of_either_family(listening: str) -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            port = (await server.listen(listening)).rpartition(":")[2]
            async with wire.Channel(f"localhost:{port}") as channel:
                assert await ProbeStub(channel).unary(b"x") == b"x"

    run(main)


def test_localhost_is_one_family_where_the_machine_has_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse_ipv6(monkeypatch, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    for _ in range(2):
        (sock,) = bind_all(parse_address("localhost:0"))
        with sock:
            assert sock.family == socket.AF_INET


def test_a_port_that_is_taken_in_one_family_is_not_had_and_another_one_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with sockets.bind(parse_address("[::1]:0")) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(wire.ListenError, match=rf"ipv6:\[::1\]:{port}: port {port} is taken"):
            bind_all(parse_address(f"localhost:{port}"))
    _refuse_ipv6(monkeypatch, errno.EADDRINUSE)
    one, other = bind_all(parse_address("localhost:0"))
    with one, other:
        assert one.getsockname()[1] == other.getsockname()[1]


def test_servers_share_a_port_when_both_ask_for_it() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as one, wire.Server([Probe()]) as other:
            address = await one.listen("localhost:0", reuse_port=True)
            assert await other.listen(address, reuse_port=True) == address
            with pytest.raises(wire.ListenError, match="is taken by another program"):
                await other.listen(address)
            for unshared in ("memory:", "unix-abstract:shared"):
                with pytest.raises(wire.ListenError, match="only TCP ports can be shared"):
                    await other.listen(unshared, reuse_port=True)

    run(main)
