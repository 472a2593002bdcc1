"""The contract of `wire/transport/transport.py`, held by every loop, transport and TLS setting alike."""

from __future__ import annotations

import os
import random
import socket
import sys
from itertools import pairwise
from operator import methodcaller

from tests.transport.conftest import RunTransports
from tests.transport.harness import Recorder, Transports, dial, receive
from wire.errors import TransportError
from wire.transport.contract import Transport


def test_link_made_is_the_first_call_on_both_sides_and_names_the_peer(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair()
        assert client.calls == server.calls == ["made"]
        if transports.kind.transport == "tcp":
            assert client.transport.peer.address.startswith("ipv4:127.0.0.1:")
            assert server.transport.peer.address.startswith("ipv4:127.0.0.1:")
        elif transports.kind.transport == "memory":
            assert client.transport.peer.address.startswith("memory:")
            assert server.transport.peer.address == "memory:"
        else:
            assert client.transport.peer.address.startswith("unix:/")
            assert server.transport.peer.address == "unix:"
            assert (server.transport.peer.uid, server.transport.peer.gid) == (os.getuid(), os.getgid())
            assert server.transport.peer.pid == os.getpid()
        assert (
            client.transport.peer.tls_version
            == server.transport.peer.tls_version
            == ("TLSv1.3" if transports.kind.tls else None)
        )
        assert (client.transport.peer.certificate is not None) == transports.kind.tls
        assert server.transport.peer.certificate is None

    on_transports(test)


def test_bytes_arrive_whole_and_in_order_whatever_the_chunks(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(echo=True)
        dice = random.Random(7)
        sent = b""
        for size in [1, 2, 9, 100, 16_384, 16_385, 70_000, 300_000, *(dice.randrange(1, 5000) for _ in range(50))]:
            chunk = dice.randbytes(size)
            if size % 2:
                client.transport.write(chunk)
            else:
                half = size // 2
                client.transport.writelines([chunk[:1], bytearray(chunk[1:half]), memoryview(chunk)[max(half, 1) :]])
            sent += chunk
        await client.until(lambda recorder: len(recorder.data) >= len(sent))
        assert bytes(server.data) == sent
        assert bytes(client.data) == sent

    on_transports(test)


def test_the_system_counts_the_bytes_of_tcp(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(echo=True)
        client.transport.write(b"x" * 5000)
        await client.until(lambda recorder: len(recorder.data) == 5000)
        counters = server.transport.counters()
        if transports.kind.transport != "tcp" or sys.platform != "linux":
            assert counters is None
            return
        assert counters is not None
        assert 5000 <= counters.bytes_received < 20_000
        assert 0 < counters.round_trip_s < 10
        mirrored = client.transport.counters()
        assert mirrored is not None
        assert mirrored.bytes_received >= 5000
        client.transport.abort()
        await client.until(lambda recorder: "lost" in recorder.calls)
        assert client.transport.counters() is None

    on_transports(test)


def test_a_small_write_is_one_read(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(echo=True)
        for count in range(1, 4):
            client.transport.write(b"x" * 1000)
            await client.until(lambda recorder, count=count: len(recorder.data) == 1000 * count)  # type: ignore[misc]
            assert client.chunks == server.chunks == count

    on_transports(test)


def test_a_slow_peer_pauses_the_writer_and_resumes_it_in_turn(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(paused=True, write_buffer_bytes=4096)
        chunk = b"y" * 65_536
        written = 0
        while "pause" not in client.calls:
            client.transport.write(chunk)
            written += len(chunk)
        assert "resume" not in client.calls
        assert not server.data
        server.transport.resume_reading()
        await server.until(lambda recorder: len(recorder.data) == written)
        await client.until(lambda recorder: "resume" in recorder.calls)
        calls = [call for call in client.calls if call in {"pause", "resume"}]
        assert calls[0] == "pause"
        assert all(one != other for one, other in pairwise(calls))

    on_transports(test)


def test_a_paused_reader_receives_nothing_until_it_resumes(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(paused=True)
        client.transport.write(b"early")
        other, _ = await transports.pair(echo=True)  # gives the loop every occasion to deliver it
        for _ in range(10):
            other.data.clear()
            other.transport.write(b"z")
            await other.until(lambda recorder: recorder.data)
        assert server.calls == ["made"]
        server.transport.resume_reading()
        await server.until(lambda recorder: recorder.data == b"early")
        server.transport.pause_reading()
        server.transport.resume_reading()
        client.transport.write(b" late")
        await server.until(lambda recorder: recorder.data == b"early late")

    on_transports(test)


def test_close_writes_what_is_queued_first(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(paused=True)
        client.transport.write(b"q" * 3_000_000)
        client.transport.close()
        server.transport.resume_reading()
        await server.until(lambda recorder: "eof" in recorder.calls)
        assert server.data == b"q" * 3_000_000
        await client.lost()
        assert client.error is None
        server.transport.close()
        await server.lost()
        assert server.error is None
        assert server.calls == ["made", "data", "eof", "lost"]

    on_transports(test)


def test_abort_drops_what_is_queued(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(paused=True)
        client.transport.write(b"q" * 30_000_000)
        client.transport.abort()
        await client.lost()
        assert client.error is None
        server.transport.resume_reading()
        await server.until(lambda recorder: {"eof", "lost"} & set(recorder.calls))
        assert len(server.data) < 30_000_000
        server.transport.abort()
        await server.lost()

    on_transports(test)


def test_link_lost_comes_once_is_the_last_call_and_never_within_a_method_of_the_transport(
    on_transports: RunTransports,
) -> None:
    async def test(transports: Transports) -> None:
        for end in (methodcaller("close"), methodcaller("abort")):
            client, server = await transports.pair(echo=True)
            client.transport.write(b"1")
            await client.until(lambda recorder: recorder.data)
            end(client.transport)
            assert "lost" not in client.calls
            client.transport.abort()
            client.transport.close()
            assert "lost" not in client.calls
            await client.lost()
            for _ in range(20):
                client.transport.write(b"2")
                client.transport.writelines([b"2", b"3"])
                client.transport.pause_reading()
                client.transport.resume_reading()
                client.transport.close()
                client.transport.abort()
            await server.until(lambda recorder: {"eof", "lost"} & set(recorder.calls))
            server.transport.close()
            await server.lost()
            assert client.calls == ["made", "data", "lost"]
            assert server.calls.count("lost") == 1
            assert server.data == b"1"

    on_transports(test)


def test_a_transport_may_be_closed_while_it_is_being_made(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        def greet_and_close(transport: Transport) -> None:
            transport.write(b"go away")
            transport.close()

        client, server = await transports.pair(on_made=greet_and_close)
        await client.until(lambda recorder: "eof" in recorder.calls)
        assert client.data == b"go away"
        await server.lost()
        assert server.calls == ["made", "lost"]

    on_transports(test)


def test_a_peer_that_closed_its_side_still_gets_all_that_is_written_to_it(on_transports: RunTransports) -> None:
    async def test(transports: Transports) -> None:
        if transports.kind.tls or transports.kind.transport == "memory":
            return  # the same of TLS: test_tls_transport; of memory: test_memory
        server = Recorder(transports.runtime)
        address, listener = transports.listen(lambda: server, write_buffer_bytes=4096)
        with dial(address) as client:
            client.send(b"question")
            client.shutdown(socket.SHUT_WR)
            await server.until(lambda recorder: "eof" in recorder.calls)
            server.transport.write(b"a" * 1_000_000)
            server.transport.writelines([b"b" * 2_000_000, b"b" * 3_000_000])
            assert server.calls == ["made", "data", "eof", "pause"]
            server.transport.close()
            answer = bytearray()
            while chunk := await receive(client):
                answer += chunk
        assert answer == b"a" * 1_000_000 + b"b" * 5_000_000
        await server.lost()
        assert server.calls == ["made", "data", "eof", "pause", "lost"]
        assert server.error is None
        listener.close()

    on_transports(test)


def test_a_write_to_a_peer_that_vanished_ends_in_transport_lost_with_an_error_of_one_sentence(
    on_transports: RunTransports,
) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(paused=True)
        client.transport.write(b"unread")
        other, _ = await transports.pair(echo=True)
        other.transport.write(b"z")
        await other.until(lambda recorder: recorder.data)
        server.transport.abort()  # with bytes unread, so that the kernel resets the connection
        await server.lost()
        while "lost" not in client.calls:
            client.transport.write(b"x" * 1000)
            client.transport.writelines([b"x"] * 1000)
            await transports.runtime.sleep(0)
        assert isinstance(client.error, TransportError)
        assert client.error.errno is not None
        assert str(client.error).startswith(f"lost {client.transport.peer.address}: the peer ")

    on_transports(test)


def test_leaving_the_runtime_loses_the_links_that_are_open(on_transports: RunTransports) -> None:
    left: list[Recorder] = []

    async def test(transports: Transports) -> None:
        left.extend(await transports.pair())

    on_transports(test)
    assert [recorder.calls for recorder in left] == [["made", "lost"]] * 2
