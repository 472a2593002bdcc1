"""Programs in the style of grpcio's sync clients: each says what it saw. Run as `aio_client.py`."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import echo_pb2
import echo_pb2_grpc
import grpc
from common import RUN, metadata, pem, plain, quiet, report, run_sync_programs, shown, sync_outcome

PROGRAMS: dict[str, Any] = {}


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


class Server:
    """The server under test, as the programs call it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.ports = arguments
        self.certificates = arguments["certificates"]

    def channel(self, port: str = "plain", **options: Any) -> Any:
        return grpc.insecure_channel(f"127.0.0.1:{self.ports[port]}", **options)

    def notes(self, say: Any, name: str, count: int) -> None:
        """Say what the server's handlers noted."""
        with self.channel() as channel:
            lines = channel.unary_unary("/behave/take_notes")(f"{name}{RUN} {count}".encode()).decode()
            for line in lines.split("\n"):
                say("server: ", plain(line))


def named(name: str, *pairs: tuple[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    return (("program", name), ("run", RUN), *pairs)


def ended(say: Any, call: Any) -> None:
    """Say all that a call knows when it is over."""
    say(call.code(), call.details(), call.done())
    say(metadata(call.initial_metadata()), metadata(call.trailing_metadata()))
    say(call)


@program
def generated_stub(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        say(stub.Unary(echo_pb2.EchoRequest(payload=b"hello")).payload)
        say([response.payload for response in stub.ServerStream(echo_pb2.EchoRequest(payload=b"n", count=3))])
        requests = [echo_pb2.EchoRequest(payload=b"%d" % number) for number in range(4)]
        say(stub.ClientStream(iter(requests)).payload)
        say([response.payload for response in stub.Bidi(iter(requests))])
        say(sync_outcome(stub.Unary, 5))


@program
def unary(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        echo = channel.unary_unary("/behave/uu_echo")
        say(echo(b"x"), echo(b"y", timeout=30), echo(b"z", 30, (("k", "v"),)))
        response, call = echo.with_call(b"x", timeout=30)
        say(response, type(call).__name__, call.done())
        ended(say, call)


@program
def futures(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        future = channel.unary_unary("/behave/uu_echo").future(b"x", timeout=30)
        say(future.result(), future.done(), future.cancelled(), future.running())
        say(future.exception(), future.traceback())
        ended(say, future)
        called = threading.Event()
        future.add_done_callback(lambda of: called.set())
        say(called.is_set(), future.cancel(), isinstance(future, grpc.Future), isinstance(future, grpc.Call))
        failed = channel.unary_unary("/behave/uu_raise").future(b"x")
        say(sync_outcome(failed.result), failed.exception() is failed, failed.traceback() is not None)
        ended(say, failed)
        waiting = channel.unary_unary("/behave/uu_wait").future(b"x", metadata=named("none"))
        say(sync_outcome(waiting.result, timeout=0.1), waiting.running(), waiting.done())
        told: list[Any] = []
        done = threading.Event()
        waiting.add_done_callback(lambda of: (told.append((of is waiting, of.cancelled())), done.set()))
        say(waiting.cancel(), done.wait(30), told)
        say(sync_outcome(waiting.result), sync_outcome(waiting.exception))
        ended(say, waiting)


@program
def many_at_once(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel, ThreadPoolExecutor(8) as pool:
        echo = channel.unary_unary("/behave/uu_echo")
        say(list(pool.map(echo, [b"%d" % number for number in range(100)])))
        started = [echo.future(b"%d" % number) for number in range(100)]
        say([future.result() for future in started])


@program
def what_the_handler_sees(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        pairs = named(name, ("key", "value"), ("key", "again"), ("bytes-bin", b"\x00\xfe\xff"))
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=pairs, timeout=30))
        server.notes(say, name, 7)
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name)))
    server.notes(say, name, 7)


@program
def metadata_both_ways(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        response, call = channel.unary_unary("/behave/uu_metadata").with_call(b"x", metadata=named(name))
        say(response, call.initial_metadata(), call.trailing_metadata())
        say([type(pair).__name__ for pair in call.trailing_metadata()])
    server.notes(say, name, 2)


@program
def bad_metadata(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        method = channel.unary_unary("/behave/uu_echo")
        for given in (
            (("Upper", "case"),),
            (("sp ace", "v"),),
            (("k", "\xe4"),),
            (("k", "line\nbreak"),),
            (("k-bin", "text"),),
            (("k", 5),),
            (("a", "b", "c"),),
        ):
            # Python 3.14 says how many values it got; grpcio, which is compiled, does not.
            say(given, re.split("'|, got|\\)$", sync_outcome(method, b"", metadata=given))[0])
        future = method.future(b"", metadata=(("Upper", "case"),))
        ended(say, future)
        say(sync_outcome(list, channel.stream_stream("/behave/ss_echo")(iter([b"1"]), metadata=(("Upper", "case"),))))
        say(method(b"still works"))


@program
def statuses(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        for method, count in (
            ("uu_raise", 0),
            ("uu_raise_with_code", 0),
            ("uu_abort", 2),
            ("uu_abort_ok", 0),
            ("uu_abort_suppressed", 0),
            ("uu_abort_with_status", 0),
            ("uu_set_code", 0),
            ("uu_set_code_and_nothing", 0),
            ("uu_none", 0),
            ("uu_bad_deserializer", 0),
            ("uu_bad_serializer", 0),
            ("no_such_method", 0),
        ):
            callable_ = channel.unary_unary(f"/behave/{method}")
            try:
                callable_(b"x", metadata=named(name))
                say("it went well")
            except grpc.RpcError as error:
                say(method, error, type(error).__name__)
                ended(say, error)
                say(error.cancelled(), error.done(), error.running(), error.debug_error_string())
            if count:
                server.notes(say, name, count)


@program
def unknown_service(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        say(sync_outcome(channel.unary_unary("/nowhere/method"), b""))
        say(sync_outcome(list, channel.unary_stream("/nowhere/method")(b"")))


@program
def generic_handlers(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        say(channel.unary_unary("/dynamic/uu_one")(b"", metadata=named(name)))
        say(list(channel.stream_stream("/dynamic/ss")(iter([b"1", b"2"]))))
        say(sync_outcome(channel.unary_unary("/dynamic/other"), b""))


@program
def deadline(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        grpc.channel_ready_future(channel).result(30)
        say(sync_outcome(channel.unary_unary("/behave/uu_wait"), b"", timeout=0.6, metadata=named(name)))
        server.notes(say, name, 3)
        call = channel.unary_stream("/behave/us_wait")(b"", timeout=1.0, metadata=named("none"))
        say(next(call), 0 < call.time_remaining() <= 1)
        say(sync_outcome(next, call) != "", call.code())


@program
def responses_iterated(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        for method in ("us_count", "us_list"):
            call = channel.unary_stream(f"/behave/{method}")(b"3")
            say(iter(call) is call, list(call), list(call))
            ended(say, call)
        say(list(channel.unary_stream("/behave/us_count")(b"0")))
        call = channel.unary_stream("/behave/us_metadata")(b"")
        say(metadata(call.initial_metadata()), next(call), sync_outcome(next, call))
        ended(say, call)
        say(len(list(channel.unary_stream("/behave/us_count")(b"2000"))))


@program
def stream_statuses(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        for method in ("us_abort", "us_raise", "us_set_code", "no_such", "us_bad_serializer"):
            call = channel.unary_stream(f"/behave/{method}")(b"1")
            try:
                for each in call:
                    say(each)
            except grpc.RpcError as error:
                say(error is call, type(error).__name__)
            ended(say, call)
            say(sync_outcome(next, call), call.exception() is call)


@program
def stream_cancelled(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        call = channel.unary_stream("/behave/us_wait")(b"", metadata=named(name))
        done = threading.Event()
        say(next(call), call.add_callback(done.set), call.is_active())
        server.notes(say, name, 1)
        say(call.cancel(), call.cancel(), done.wait(30), call.add_callback(done.set))
        say(sync_outcome(next, call), sync_outcome(call.result))
        ended(say, call)
        server.notes(say, name, 1)


@program
def unary_cancelled(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_wait").future(b"", metadata=named(name))
        server.notes(say, name, 1)
        say(call.cancel())
        ended(say, call)
        server.notes(say, name, 2)


@program
def callbacks(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        say(channel.unary_unary("/behave/uu_callback")(b"", metadata=named(name)))
        server.notes(say, name, 2)


@program
def server_cancels(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        say(sync_outcome(channel.unary_unary("/behave/uu_cancel"), b"").split("details")[0])


@program
def requests_from_iterators(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        join = channel.stream_unary("/behave/su_join")
        say(join(iter([b"a", b"b"])), join(b"%d" % number for number in range(3)), join(iter(())))
        response, call = join.with_call(iter([b"x"]))
        say(response)
        ended(say, call)
        future = join.future(iter([b"y"]))
        say(future.result(30))
        ended(say, future)
        say(sync_outcome(join, 5), sync_outcome(join, [b"a list"]))


@program
def request_iterator_fails(say: Any, name: str, server: Server) -> None:
    def generator() -> Any:
        yield b"1"
        raise ValueError("mine")

    with server.channel() as channel:
        say(sync_outcome(channel.stream_unary("/behave/su_join"), generator()))
        call = channel.stream_stream("/behave/ss_echo")(generator())
        say(call.code(), call.details())


@program
def early_status(say: Any, name: str, server: Server) -> None:
    sent = threading.Event()

    def generator() -> Any:
        yield b"1"
        sent.wait(30)
        yield b"2"

    with server.channel() as channel:
        say(channel.stream_unary("/behave/su_first")(generator()))
        say(sync_outcome(channel.stream_unary("/behave/su_abort"), generator()))
        say(list(channel.stream_stream("/behave/ss_early_ok")(generator())))
        sent.set()


@program
def ping_pong(say: Any, name: str, server: Server) -> None:
    import queue

    with server.channel() as channel:
        requests: Any = queue.Queue()
        call = channel.stream_stream("/behave/ss_echo")(iter(requests.get, None))
        for number in range(3):
            requests.put(b"%d" % number)
            say(next(call))
        requests.put(None)
        say(sync_outcome(next, call))
        ended(say, call)
        say(len(list(channel.stream_stream("/behave/ss_echo")(b"%d" % number for number in range(2000)))))


@program
def bidi_cancelled(say: Any, name: str, server: Server) -> None:
    blocked = threading.Event()

    def generator() -> Any:
        yield b"1"
        blocked.wait(30)

    with server.channel() as channel:
        call = channel.stream_stream("/behave/ss_cancelled")(generator(), metadata=named(name))
        say(next(call), call.cancel(), sync_outcome(next, call))
        server.notes(say, name, 1)
        blocked.set()


@program
def serializers(say: Any, name: str, server: Server) -> None:
    def fail(data: Any) -> Any:
        raise ValueError("never")

    with server.channel() as channel:
        path = "/behave/uu_echo"
        say(channel.unary_unary(path, str.encode, bytes.decode)("text"))
        say(sync_outcome(channel.unary_unary(path, request_serializer=fail), b"x"))
        say(sync_outcome(channel.unary_unary(path, response_deserializer=fail), b"x"))
        call = channel.unary_stream("/behave/us_count", response_deserializer=fail)(b"2")
        say(sync_outcome(list, call), call.code(), call.details())
        say(sync_outcome(channel.unary_stream("/behave/us_count", request_serializer=fail), b"2"))
        say(sync_outcome(channel.stream_unary("/behave/su_join", request_serializer=fail), iter([b"1"])))


class Spy(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Says what passes, and adds to the metadata."""

    def __init__(self, say: Any, label: str) -> None:
        self.say = say
        self.label = label

    def _intercept(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        self.say(self.label, details.method, details.timeout, metadata(details.metadata), details.compression)
        changed = details._replace(metadata=(*(details.metadata or ()), (self.label, "was here")))
        call = continuation(changed, request)
        self.say(self.label, "got", type(call).__name__)
        return call

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _intercept


@program
def client_interceptors(say: Any, name: str, server: Server) -> None:
    with server.channel() as channel:
        intercepted = grpc.intercept_channel(channel, Spy(say, "one"), Spy(say, "two"))
        say(intercepted.unary_unary("/behave/uu_context")(b"x", metadata=named(name), timeout=30))
        server.notes(say, name, 7)
        response, call = intercepted.unary_unary("/behave/uu_echo").with_call(b"x")
        say(response, call.code(), call.done())
        say(intercepted.unary_unary("/behave/uu_echo").future(b"x").result())
        say(list(intercepted.unary_stream("/behave/us_count")(b"2")))
        say(intercepted.stream_unary("/behave/su_join")(iter([b"1", b"2"])))
        say(list(intercepted.stream_stream("/behave/ss_echo")(iter([b"1", b"2"]))))
        say(sync_outcome(intercepted.unary_unary("/behave/uu_raise"), b"x"))
        say(sync_outcome(list, intercepted.unary_stream("/behave/us_abort")(b"x")))


@program
def interceptor_answers(say: Any, name: str, server: Server) -> None:
    class Answer(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            if request == b"raise":
                raise ValueError("from the interceptor")
            if request == b"twice":
                continuation(client_call_details, b"first").result()
                return continuation(client_call_details, b"second")
            return continuation(client_call_details, request)

    with server.channel() as channel:
        intercepted = grpc.intercept_channel(channel, Answer())
        for request in (b"twice", b"raise"):
            say(sync_outcome(intercepted.unary_unary("/behave/uu_echo"), request))
            future = intercepted.unary_unary("/behave/uu_echo").future(request)
            say(sync_outcome(future.result), future.code(), future.details())
        say(sync_outcome(grpc.intercept_channel, channel, object()).split(":")[0])


@program
def server_interceptors(say: Any, name: str, server: Server) -> None:
    with server.channel("intercepted") as channel:
        say(channel.unary_unary("/behave/uu_contextvar")(b""), channel.unary_unary("/behave/uu_contextvar")(b""))
        say(channel.unary_unary("/dynamic/uu_one")(b"", metadata=named(name)))
        say(list(channel.unary_stream("/behave/us_count")(b"3")))
        say(channel.stream_unary("/behave/su_join")(iter([b"1", b"2"])))
        say(list(channel.stream_stream("/behave/ss_echo")(iter([b"1", b"2"]))))
        for pairs in ((("refuse", "one"),), (("refuse", "two"),), (("raise", "two"),), (("nothing", "one"),)):
            say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"", metadata=pairs))
            say(sync_outcome(list, channel.unary_stream("/behave/us_count")(b"3", metadata=pairs)))
            say(sync_outcome(channel.stream_unary("/behave/su_join"), iter([b"1"]), metadata=pairs))
            say(sync_outcome(list, channel.stream_stream("/behave/ss_echo")(iter([b"1"]), metadata=pairs)))
        say(sync_outcome(channel.unary_unary("/behave/nowhere"), b""))


@program
def limits(say: Any, name: str, server: Server) -> None:
    with server.channel("limited") as channel:
        echo = channel.unary_unary("/behave/uu_echo")
        say(echo(b"x" * 900), echo(b"y" * 900, compression=grpc.Compression.Deflate))
        say(sync_outcome(echo, b"x" * 2000).split("details")[0])
    with server.channel("single") as channel:
        call = channel.unary_unary("/behave/uu_wait").future(b"", metadata=named(name))
        server.notes(say, name, 1)
        say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x"))
        call.cancel()
    with server.channel(options=[("grpc.max_receive_message_length", 10)]) as channel:
        say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x" * 11).split("details")[0])
    with server.channel(options=[("grpc.no_such_option", 10), ("other", "x")]) as channel:
        say(channel.unary_unary("/behave/uu_echo")(b"unknown options"))
    with server.channel(compression=grpc.Compression.Gzip) as channel:
        say(channel.unary_unary("/behave/uu_echo")(b"compressed"))


@program
def no_server(say: Any, name: str, server: Server) -> None:
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        method = channel.unary_unary("/behave/uu_echo")
        say(sync_outcome(method, b"").split("last error")[0])
        say(sync_outcome(method, b"", wait_for_ready=True, timeout=0.2))
        say(sync_outcome(list, channel.unary_stream("/behave/us_count")(b"1")).split("last error")[0])
        ready = grpc.channel_ready_future(channel)
        say(sync_outcome(ready.result, timeout=0.2), ready.done(), ready.cancel(), ready.cancelled())
        say(sync_outcome(ready.result))


@program
def connectivity(say: Any, name: str, server: Server) -> None:
    channel = server.channel()
    seen: list[Any] = []
    ready = threading.Event()

    def told(state: Any) -> None:
        seen.append(state)
        if state is grpc.ChannelConnectivity.READY:
            ready.set()

    channel.subscribe(told, try_to_connect=True)
    say(ready.wait(30))
    say([state for state in seen if state not in (grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.IDLE)])
    channel.unsubscribe(told)
    future = grpc.channel_ready_future(channel)
    done = threading.Event()
    future.add_done_callback(lambda of: done.set())
    say(future.result(30), done.wait(30), future.done(), future.cancelled(), future.running(), future.cancel())
    channel.close()


@program
def channel_closed(say: Any, name: str, server: Server) -> None:
    channel = server.channel()
    grpc.channel_ready_future(channel).result(30)
    unary_call = channel.unary_unary("/behave/uu_wait").future(b"", metadata=named(name))
    stream_call = channel.unary_stream("/behave/us_wait")(b"", metadata=named(name))
    say(next(stream_call))
    channel.close()
    channel.close()
    for call in (unary_call, stream_call):
        say(call.code(), "Channel closed!" in call.details(), call.done(), call.cancelled())
    say("raised" in sync_outcome(unary_call.result), "raised" in sync_outcome(next, stream_call))
    say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x"))
    say(sync_outcome(channel.unary_unary("/behave/uu_echo").future, b"x"))
    say(sync_outcome(channel.unary_stream("/behave/us_count"), b"x"))
    say(sync_outcome(channel.stream_stream("/behave/ss_echo"), iter([b"x"])))


@program
def tls(say: Any, name: str, server: Server) -> None:
    ca = pem(server.certificates, "ca.pem")
    target = f"localhost:{server.ports['tls']}"
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(ca)) as channel:
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name), timeout=30))
        server.notes(say, name, 7)
    stranger = grpc.ssl_channel_credentials(pem(server.certificates, "stranger-ca.pem"))
    with grpc.secure_channel(target, stranger) as channel:
        say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x").split("details")[0])
    ca, key, chain = (pem(server.certificates, file) for file in ("ca.pem", "client.key", "client.pem"))
    target = f"localhost:{server.ports['mtls']}"
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, chain)) as channel:
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name)))
    server.notes(say, name, 7)


@program
def call_credentials(say: Any, name: str, server: Server) -> None:
    class Plugin(grpc.AuthMetadataPlugin):
        def __init__(self, error: Exception | None = None) -> None:
            self.error = error

        def __call__(self, context: Any, callback: Any) -> None:
            say(plain(context.service_url), context.method_name)
            callback((("authorization", "from a plugin"),), self.error)

    ca = grpc.ssl_channel_credentials(pem(server.certificates, "ca.pem"))
    target = f"localhost:{server.ports['tls']}"
    token = grpc.access_token_call_credentials("token")
    with grpc.secure_channel(target, grpc.composite_channel_credentials(ca, token)) as channel:
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name)))
        server.notes(say, name, 7)
        plugin = grpc.metadata_call_credentials(Plugin(), "named")
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name), credentials=plugin))
        server.notes(say, name, 7)
    with grpc.secure_channel(target, ca) as channel:
        both = grpc.composite_call_credentials(token, grpc.metadata_call_credentials(Plugin()))
        say(channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name), credentials=both))
        server.notes(say, name, 7)
        failing = grpc.metadata_call_credentials(Plugin(ValueError("no token")))
        say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x", credentials=failing))
    with server.channel() as channel:
        say(sync_outcome(channel.unary_unary("/behave/uu_echo"), b"x", credentials=token).split("debug")[0])


@program
def wrong_objects(say: Any, name: str, server: Server) -> None:
    for wrong in (None, "text", object()):
        say(sync_outcome(grpc.secure_channel, "localhost:1", wrong).split(":")[0])
        say(sync_outcome(grpc.server(ThreadPoolExecutor(1)).add_secure_port, "localhost:0", wrong).split(":")[0])
    say(sync_outcome(grpc.server(ThreadPoolExecutor(1)).add_insecure_port, "no.such.host.invalid:1").split(":")[0])
    say(sync_outcome(grpc.server(ThreadPoolExecutor(1)).add_generic_rpc_handlers, (object(),)).split(":")[0])


@program
def own_server(say: Any, name: str, server: Server) -> None:
    def slow(request: bytes, context: Any) -> bytes:
        begun.set()
        go_on.wait(30)
        return request

    begun, go_on = threading.Event(), threading.Event()
    handler = grpc.method_handlers_generic_handler("own", {"slow": grpc.unary_unary_rpc_method_handler(slow)})
    made = grpc.server(ThreadPoolExecutor(2), handlers=(handler,))
    say(made.stop(None).is_set())
    path = f"{os.getpid()}.sock"
    say(made.add_insecure_port(f"unix:{path}"))
    port = made.add_insecure_port("localhost:0")
    say(port > 1, made.start(), sync_outcome(made.start), made.wait_for_termination(0.05))
    with grpc.insecure_channel(f"unix:{path}") as channel:
        call = channel.unary_unary("/own/slow").future(b"over UNIX")
        begun.wait(30)
        stopping = made.stop(5)
        say(stopping.is_set())
        go_on.set()
        say(call.result(30), stopping.wait(30), made.wait_for_termination(), made.stop(None).is_set())
        say(sync_outcome(channel.unary_unary("/own/slow"), b"x").split("details")[0])


@program
def server_stopped_without_grace(say: Any, name: str, server: Server) -> None:
    begun, gone = threading.Event(), threading.Event()

    def slow(request: bytes, context: Any) -> bytes:
        context.add_callback(gone.set)
        begun.set()
        gone.wait(30)
        return request

    handler = grpc.method_handlers_generic_handler("own", {"slow": grpc.unary_unary_rpc_method_handler(slow)})
    made = grpc.server(ThreadPoolExecutor(2), handlers=(handler,))
    port = made.add_insecure_port("localhost:0")
    made.start()
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        call = channel.unary_unary("/own/slow").future(b"x")
        begun.wait(30)
        say(made.stop(None).is_set(), call.code())


def main(arguments: dict[str, Any]) -> None:
    quiet()
    report(run_sync_programs(PROGRAMS, Server(arguments)))
    shown(None)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
