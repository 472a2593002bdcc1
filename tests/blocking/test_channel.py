"""A blocking channel: connecting, healing, being closed, being shared, forked and interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

import wire
from tests.blocking.support import raw_tied, serving, status_of, threads, tied
from tests.http2 import frames
from tests.leftovers import COUNTED, gone, uncollected
from tests.peers import RawPeer, reply
from tests.support import TIMEOUT_S, Probe, ProbeStub
from wire import StatusCode
from wire.client.connectivity import ConnectivityState
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.standard import Health

QUICK = wire.ChannelConfig(backoff_initial_s=0.01, backoff_max_s=0.02)


def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


# Connecting.


@pytest.mark.parametrize("transport", ["unix", "unix-abstract"])
def test_over_unix_sockets(transport: str, tmp_path: Path) -> None:
    address = f"unix:{os.path.relpath(tmp_path)}/s" if transport == "unix" else f"unix-abstract:wire-{os.getpid()}"
    with tied(address=address) as pair:
        assert pair.stub.unary(b"x") == b"x"


def test_over_a_hybrid_vsock(tmp_path: Path) -> None:
    """A socket that answers as a VMM's, and connects whoever asks to the server."""
    path = f"{tmp_path}/v.sock"
    with (
        serving(address=f"unix:{tmp_path}/server"),
        socket.socket(socket.AF_UNIX) as listener,
        threads() as vmm,
    ):
        listener.bind(path)
        listener.listen()

        def pump(source: socket.socket, sink: socket.socket) -> None:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            client, _ = listener.accept()
            guest = socket.socket(socket.AF_UNIX)
            with client, guest:
                assert client.recv(100) == b"CONNECT 50051\n"
                guest.connect(f"{tmp_path}/server")
                client.sendall(b"OK 1073741824\n")
                back = vmm.start(pump, guest, client)
                pump(client, guest)
                back.join()

        vmm.start(serve)
        with wire.blocking.Channel(f"hvsock://{path}:50051") as channel:
            assert ProbeStub(channel).unary(b"x", timeout=TIMEOUT_S) == b"x"


def test_a_name_is_looked_up() -> None:
    with serving() as served:
        port = served.address.rpartition(":")[2]
        with wire.blocking.Channel(f"localhost:{port}") as channel:
            assert ProbeStub(channel).unary(b"x") == b"x"


def test_nobody_listens() -> None:
    address = unused_address()
    with wire.blocking.Channel(address) as channel:
        code, text = status_of(ProbeStub(channel).unary, b"x")
        assert code is StatusCode.UNAVAILABLE
        assert "nothing listens there" in text
        assert status_of(ProbeStub(channel).unary, b"x")[0] is StatusCode.UNAVAILABLE  # within the back-off


def test_a_call_may_wait_for_the_server() -> None:
    address = unused_address()
    with wire.blocking.Channel(address, config=QUICK) as channel, threads() as others:
        stub = ProbeStub(channel)
        assert status_of(stub.unary, b"x", wait_for_ready=True, timeout=0.05)[0] is StatusCode.DEADLINE_EXCEEDED
        begun = threading.Event()
        served = threading.Event()

        def call() -> None:
            begun.set()
            assert stub.unary(b"x", wait_for_ready=True, timeout=TIMEOUT_S) == b"x"
            served.set()

        others.start(call)
        begun.wait(TIMEOUT_S)
        with serving(address=address):
            assert served.wait(TIMEOUT_S)


def test_a_server_that_came_back_is_found_at_once() -> None:
    """The end of the old connection is noticed before the next call is made on it."""
    with serving() as first:
        address = first.address
        channel = wire.blocking.Channel(address, config=QUICK)
        stub = ProbeStub(channel)
        assert stub.unary(b"x") == b"x"
    with channel, serving(address=address):
        assert stub.unary(b"y") == b"y"


def test_requests_that_the_server_did_not_see_are_sent_again() -> None:
    with raw_tied() as tie, threads() as others:

        async def serve() -> None:
            peer = await tie.server.accept()
            await peer.until(FrameType.DATA, 1)
            await peer.send(frames.goaway(0, ErrorCode.NO_ERROR))
            await peer.closed()
            peer = await tie.server.accept()
            await peer.until(FrameType.DATA, 1)
            await reply(peer, 1, b"seen")

        others.start(tie.call, serve)
        assert tie.stub.unary(b"x", timeout=TIMEOUT_S) == b"seen"


def test_calls_over_the_limit_of_streams_wait() -> None:
    with raw_tied() as tie, threads() as others:

        async def serve() -> None:
            peer = await tie.server.accept({Setting.MAX_CONCURRENT_STREAMS: 1})
            for number in range(4):
                await peer.answer(2 * number + 1)
                await peer.barrier()
                assert 2 * number + 3 not in peer.answers
                await reply(peer, 2 * number + 1, b"")

        others.start(tie.call, serve)
        for _ in range(4):
            others.start(tie.stub.unary, b"x")


def test_ready_and_the_states_on_the_way() -> None:
    address = unused_address()
    with wire.blocking.Channel(address, config=QUICK) as channel, threads() as others:
        assert channel.state is ConnectivityState.IDLE
        assert channel.state_changed(ConnectivityState.IDLE, timeout=0.01) is ConnectivityState.IDLE
        with pytest.raises(wire.ConnectError, match="nothing listens"):
            channel.ready(timeout=0.1)
    with serving() as served, wire.blocking.Channel(served.address) as channel, threads() as others:
        states = []

        def watch() -> None:
            state = ConnectivityState.IDLE
            while state not in (ConnectivityState.READY, ConnectivityState.SHUTDOWN):
                state = channel.state_changed(state, TIMEOUT_S)
                states.append(state)

        others.start(watch)
        channel.connect()
        others.join()
        assert states[-1] is ConnectivityState.READY
        channel.ready(TIMEOUT_S)
        assert ProbeStub(channel).unary(b"x") == b"x"
        channel.close()
        assert str(channel.state) == "SHUTDOWN"
        with pytest.raises(wire.UsageError):
            channel.ready()


def healthy() -> Health:
    health = Health()
    health.set_serving("probe", True)
    return health


def test_round_robin_and_health_checking() -> None:
    config = replace(QUICK, load_balancing="round_robin", health_check_service="probe")
    with (
        serving(Probe(), healthy()) as first,
        serving(Probe(), healthy()) as second,
        wire.blocking.Channel(f"ipv4:{first.address[5:]},{second.address[5:]}", config=config) as channel,
    ):
        stub = ProbeStub(channel)
        channel.ready(TIMEOUT_S)
        for _ in range(10):
            assert stub.unary(b"x", timeout=TIMEOUT_S) == b"x"


# What nobody waits for.


def test_pings_are_answered_while_no_call_is_open() -> None:
    with raw_tied() as tie, threads() as others:

        async def serve() -> RawPeer:
            peer = await tie.server.accept()
            await peer.answer(1)
            await reply(peer, 1, b"")
            return peer

        peers: list[RawPeer] = []
        others.start(lambda: peers.append(tie.call(serve)))
        tie.stub.unary(b"x")
        others.join()
        for _ in range(2):
            tie.call(peers[0].barrier)


def test_the_end_of_an_idle_connection_is_noticed() -> None:
    with raw_tied() as tie, threads() as others:

        async def serve() -> None:
            peer = await tie.server.accept()
            await peer.answer(1)
            await reply(peer, 1, b"")
            await peer.send(frames.goaway(1, ErrorCode.NO_ERROR))
            await peer.closed()

        others.start(tie.call, serve)
        tie.stub.unary(b"x")


# Sharing.


def test_many_threads_share_a_channel() -> None:
    count, rounds = 16, 50
    with tied() as pair, threads() as others:

        def call(number: int) -> None:
            for turn in range(rounds):
                request = b"%d of %d" % (turn, number)
                assert pair.stub.unary(request, timeout=TIMEOUT_S) == request

        def converse(number: int) -> None:
            with pair.stub.bidi() as conversation:
                for turn in range(rounds):
                    request = b"%d of %d" % (turn, number)
                    conversation.send(request)
                    assert conversation.recv() == request
                conversation.end()
                assert conversation.recv() is None

        for number in range(count // 2):
            others.start(call, number)
            others.start(converse, number)


def test_the_thread_that_leads_hands_over() -> None:
    """One thread's long call does not depend on another's short ones, nor they on it."""
    release = threading.Event()

    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"wait":
            await anyio.to_thread.run_sync(release.wait)
        return request

    with tied(Probe(Unary=slow)) as pair, threads() as others:
        for _ in range(3):
            others.start(lambda: pair.stub.unary(b"wait", timeout=TIMEOUT_S))
        for _ in range(20):
            assert pair.stub.unary(b"x", timeout=TIMEOUT_S) == b"x"
        release.set()


def test_a_thread_may_send_while_another_one_receives() -> None:
    with tied() as pair, pair.stub.bidi() as call, threads() as others:

        def send() -> None:
            for number in range(200):
                call.send(b"%d" % number * 1000)
            call.end()

        others.start(send)
        assert list(call) == [b"%d" % number * 1000 for number in range(200)]


# Ending.


def test_closing_ends_what_waits() -> None:
    begun = threading.Semaphore(0)

    async def hang(request: bytes, context: wire.ServerContext) -> bytes:
        begun.release()
        await anyio.sleep_forever()
        raise AssertionError

    with tied(Probe(Unary=hang)) as pair, threads() as others:
        ends: list[wire.StatusCode] = []
        for _ in range(3):
            others.start(lambda: ends.append(status_of(pair.stub.unary, b"x")[0]))
        for _ in range(3):
            assert begun.acquire(timeout=TIMEOUT_S)
        pair.channel.close()
        others.join()
        assert ends == [StatusCode.CANCELLED] * 3
        pair.channel.close()  # no effect
        with pytest.raises(wire.UsageError, match="closed"):
            pair.stub.unary(b"x")
        with pytest.raises(wire.UsageError, match="closed"):
            pair.stub.unary.start(b"x")


def test_a_closed_channel_leaves_no_descriptor_and_no_thread_behind() -> None:
    with serving() as served:
        with gone():
            pass  # what earlier tests have left
        before = set(os.listdir("/proc/self/fd")), threading.active_count()
        for _ in range(3):
            with wire.blocking.Channel(served.address) as channel:
                assert ProbeStub(channel).unary(b"x") == b"x"
        channel.attendant.join(TIMEOUT_S)
        with gone():
            del channel
        assert (set(os.listdir("/proc/self/fd")), threading.active_count()) == before


@COUNTED
def test_a_channel_that_was_let_go_of_is_closed() -> None:
    with serving() as served:
        channel = wire.blocking.Channel(served.address)
        assert ProbeStub(channel).unary(b"x") == b"x"
        attendant = channel.attendant
        del channel
        attendant.join(TIMEOUT_S)


@COUNTED
def test_nothing_is_left_for_the_collector() -> None:
    with tied() as pair:
        pair.stub.unary(b"x")
        with uncollected() as found:
            for _ in range(3):
                pair.stub.unary(b"x", timeout=1.0)
                pair.stub.unary.with_call(b"x")
                list(pair.stub.bidi([b"x"]))
        assert not found


# Interruptions.


class InterruptionError(Exception):
    pass


@pytest.fixture
def interrupt() -> Any:
    """Raises `InterruptionError` in the main thread, wherever it is."""

    def handle(number: int, frame: object) -> None:
        raise InterruptionError

    before = signal.signal(signal.SIGUSR1, handle)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("leads", [True, False])
def test_a_signal_cancels_the_call_that_it_interrupts(interrupt: Callable[[], None], leads: bool) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def slow(request: bytes, context: wire.ServerContext) -> bytes:
        if request == b"x":
            return request
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async def listen(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        yield b"begun"
        await anyio.sleep_forever()

    with tied(Probe(Unary=slow, ServerStream=listen)) as pair, threads() as others:
        stream = pair.stub.server_stream(b"x")
        assert next(stream) == b"begun"
        if not leads:
            waiting = others.start(status_of, next, stream)
            while pair.channel.threads.leader is None:
                pass

        def strike() -> None:
            assert begun.wait(TIMEOUT_S)
            interrupt()

        others.start(strike)
        with pytest.raises(InterruptionError):
            pair.stub.unary(b"wait")
        assert ended.wait(TIMEOUT_S)  # the server was told
        assert pair.stub.unary(b"x") == b"x"
        stream.cancel()
        if not leads:
            waiting.join(TIMEOUT_S)


@pytest.mark.parametrize("what", ["cancel", "close", "call"])
def test_what_a_signals_handler_may_do(what: str) -> None:
    """It may strike at any point of a call, which another thread of the test cannot choose: so this is done often."""
    begun = threading.Semaphore(0)
    codes: set[wire.StatusCode] = set()
    refusals: list[str] = []

    async def hang(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        begun.release()
        await anyio.sleep_forever()
        yield b""

    def handle(number: int, frame: object) -> None:
        if what == "call":
            try:
                pair.stub.unary(b"within")
            except wire.UsageError as error:
                refusals.append(str(error))
        if what == "close":
            channel.close()
        else:
            call.cancel()

    def strike() -> None:
        assert begun.acquire(timeout=TIMEOUT_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with tied(Probe(ServerStream=hang)) as pair, threads() as others:
            for _ in range(20):
                channel = wire.blocking.Channel(pair.served.address) if what == "close" else pair.channel
                call = ProbeStub(channel).server_stream(b"x", timeout=TIMEOUT_S)
                striking = others.start(strike)
                codes.add(status_of(next, call)[0])
                striking.join(TIMEOUT_S)
            assert pair.stub.unary(b"x") == b"x"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert codes == {StatusCode.CANCELLED}
    if what == "call":
        assert "a signal's handler" in refusals[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_connections_of_its_own() -> None:
    program = """
import os, sys, wire
from tests.support import ProbeStub
with wire.blocking.Channel(sys.argv[1]) as channel:
    stub = ProbeStub(channel)
    call = stub.bidi()
    call.send(b"1")
    assert call.recv() == b"1"
    child = os.fork()
    if child == 0:
        assert stub.unary(b"child") == b"child"
        try:
            call.send(b"2")
        except wire.UsageError as error:
            print(error, flush=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    call.send(b"2")
    assert call.recv() == b"2"
    assert stub.unary(b"parent") == b"parent"
    call.end()
"""
    with serving() as served:
        command = [sys.executable, "-W", "ignore", "-c", program, served.address]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "process that forked" in done.stdout
