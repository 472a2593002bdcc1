"""A server in the style of grpcio's sync API, with a method for whatever the client's programs want to see.

`python sync_server.py CERTIFICATES`: prints its ports as JSON, and serves until its standard input is closed.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import echo_pb2
import echo_pb2_grpc
import grpc
from common import Notes, metadata, pem, quiet, report, security

notes = Notes()
from_interceptor: contextvars.ContextVar[str] = contextvars.ContextVar("from_interceptor", default="unset")


class Echo(echo_pb2_grpc.EchoServicer):
    """The generated service."""

    def Unary(self, request: Any, context: Any) -> Any:
        return echo_pb2.EchoResponse(payload=request.payload)

    def ServerStream(self, request: Any, context: Any) -> Any:
        for number in range(request.count):
            yield echo_pb2.EchoResponse(payload=request.payload + b"%d" % number)

    def ClientStream(self, request_iterator: Any, context: Any) -> Any:
        return echo_pb2.EchoResponse(payload=b"".join(request.payload for request in request_iterator))

    def Bidi(self, request_iterator: Any, context: Any) -> Any:
        for request in request_iterator:
            yield echo_pb2.EchoResponse(payload=request.payload)


class Behaviours:
    """Methods of bytes, each for something that a handler may do."""

    def uu_echo(self, request: bytes, context: Any) -> bytes:
        return request

    def uu_context(self, request: bytes, context: Any) -> bytes:
        notes.add(context, "metadata", metadata(context.invocation_metadata()))
        notes.add(context, "pairs", [type(pair).__name__ for pair in context.invocation_metadata()])
        notes.add(context, "peer", context.peer())
        notes.add(context, "auth", security(context), context.peer_identities(), context.peer_identity_key())
        notes.add(context, "time", 0 < context.time_remaining() < 60, context.time_remaining() > 1e9)
        notes.add(context, "status", context.code(), context.details(), context.trailing_metadata())
        notes.add(context, "state", context.is_active())
        return request

    def uu_metadata(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\x00\xff")))
        try:
            context.send_initial_metadata((("initial", "2"),))
        except Exception as error:
            notes.add(context, error)
        context.set_trailing_metadata((("trailing", "a"), ("trailing", "b"), ("trailing-bin", b"\x01")))
        notes.add(context, context.trailing_metadata())
        return request

    def uu_raise(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("why", "raised"),))
        raise ValueError("no such thing: ü")

    def uu_raise_with_code(self, request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("chosen before")
        raise ValueError("lost")

    def uu_abort(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("before", "abort"),))
        try:
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing here: ü%")
        except Exception as error:
            notes.add(context, "abort raised", type(error).__name__, str(error))
            notes.add(context, context.code(), context.details(), context.is_active())
            raise
        return request

    def uu_abort_ok(self, request: bytes, context: Any) -> None:
        context.abort(grpc.StatusCode.OK, "not an error")

    def uu_abort_suppressed(self, request: bytes, context: Any) -> bytes:
        try:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "first")
        except Exception:
            pass
        return b"must not arrive"

    def uu_abort_with_status(self, request: bytes, context: Any) -> None:
        class Status(grpc.Status):
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            details = "rich"
            trailing_metadata = (("grpc-status-details-bin", b"\x08\x08"),)

        context.abort_with_status(Status())

    def uu_set_code(self, request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        context.set_details("there is one")
        return b"must not arrive"

    def uu_set_code_and_nothing(self, request: bytes, context: Any) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("none")

    def uu_none(self, request: bytes, context: Any) -> Any:
        return None

    def uu_wait(self, request: bytes, context: Any) -> bytes:
        gone = threading.Event()
        context.add_callback(lambda: (notes.add(context, "callback", context.is_active()), gone.set()))
        notes.add(context, "waits", context.is_active())
        gone.wait(30)
        notes.add(context, "goes on", context.is_active(), context.add_callback(lambda: None))
        return request

    def uu_callback(self, request: bytes, context: Any) -> bytes:
        notes.add(context, context.add_callback(lambda: notes.add(context, "callback", context.is_active())))
        return request

    def uu_contextvar(self, request: bytes, context: Any) -> bytes:
        return from_interceptor.get().encode()

    def uu_cancel(self, request: bytes, context: Any) -> bytes:
        context.cancel()
        return request

    def us_count(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield b"%d" % number

    def us_list(self, request: bytes, context: Any) -> Any:
        return iter([b"%d" % number for number in range(int(request))])

    def us_metadata(self, request: bytes, context: Any) -> Any:
        context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("trailing", "1"),))
        yield b"1"

    def us_abort(self, request: bytes, context: Any) -> Any:
        yield b"1"
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "after one")

    def us_raise(self, request: bytes, context: Any) -> Any:
        yield b"1"
        raise KeyError("key")

    def us_set_code(self, request: bytes, context: Any) -> Any:
        yield b"1"
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("half")

    def us_wait(self, request: bytes, context: Any) -> Any:
        gone = threading.Event()
        context.add_callback(gone.set)
        yield b"1"
        notes.add(context, "waits")
        gone.wait(30)
        notes.add(context, "gone", context.is_active())

    def su_join(self, request_iterator: Any, context: Any) -> bytes:
        return b"".join(request_iterator)

    def su_first(self, request_iterator: Any, context: Any) -> bytes:
        for request in request_iterator:
            return request  # type: ignore[no-any-return]
        return b"none"

    def su_abort(self, request_iterator: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "before anything")

    def ss_echo(self, request_iterator: Any, context: Any) -> Any:
        yield from request_iterator

    def ss_early_ok(self, request_iterator: Any, context: Any) -> Any:
        for request in request_iterator:
            yield request
            return

    def ss_cancelled(self, request_iterator: Any, context: Any) -> Any:
        for request in request_iterator:
            notes.add(context, "request", request)
            yield request


_HANDLERS = {
    "uu": grpc.unary_unary_rpc_method_handler,
    "us": grpc.unary_stream_rpc_method_handler,
    "su": grpc.stream_unary_rpc_method_handler,
    "ss": grpc.stream_stream_rpc_method_handler,
}


def handlers() -> dict[str, Any]:
    behaviours = Behaviours()
    found = {}
    for name in dir(behaviours):
        if name[:2] in _HANDLERS and name[2:3] == "_":
            found[name] = _HANDLERS[name[:2]](getattr(behaviours, name))

    def take_notes(request: bytes, context: Any) -> bytes:
        program, count = request.decode().split()
        return "\n".join(notes.take_now(program, int(count))).encode()

    def fail(data: Any) -> Any:
        raise ValueError("this (de)serializer always fails")

    def never(request: bytes, context: Any) -> bytes:
        return b""

    found["take_notes"] = grpc.unary_unary_rpc_method_handler(take_notes)
    found["uu_bad_deserializer"] = grpc.unary_unary_rpc_method_handler(never, request_deserializer=fail)
    found["uu_bad_serializer"] = grpc.unary_unary_rpc_method_handler(never, response_serializer=fail)
    found["us_bad_serializer"] = grpc.unary_stream_rpc_method_handler(behaviours.us_count, response_serializer=fail)
    return found


class Dynamic(grpc.GenericRpcHandler):
    """Finds handlers when calls come."""

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method.startswith("/dynamic/uu_"):
            pairs = dict(handler_call_details.invocation_metadata)

            def behave(request: bytes, context: Any) -> bytes:
                return f"{handler_call_details.method} {pairs.get('program')}".encode()

            return grpc.unary_unary_rpc_method_handler(behave)
        if handler_call_details.method == "/dynamic/ss":
            return grpc.stream_stream_rpc_method_handler(Behaviours().ss_echo)
        return None


class Interceptor(grpc.ServerInterceptor):
    """Sets a context variable, and refuses what is asked to be refused."""

    def __init__(self, name: str) -> None:
        self.name = name

        def refuse(request: Any, context: Any) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"refused by {name}")

        self.refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        pairs = dict(handler_call_details.invocation_metadata)
        from_interceptor.set(f"{from_interceptor.get()},{self.name}")
        if pairs.get("refuse") == self.name:
            return self.refusal
        if pairs.get("raise") == self.name:
            raise RuntimeError(f"{self.name} raises")
        if pairs.get("nothing") == self.name:
            return None
        return continuation(handler_call_details)


def main(directory: str) -> None:
    quiet()
    pool = ThreadPoolExecutor(8)
    generic = grpc.method_handlers_generic_handler("behave", handlers())
    ports = {}

    server = grpc.server(pool)
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    server.add_generic_rpc_handlers((generic, Dynamic()))
    ports["plain"] = server.add_insecure_port("127.0.0.1:0")
    pair = [(pem(directory, "server.key"), pem(directory, "server.pem"))]
    ports["tls"] = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    mutual = grpc.ssl_server_credentials(pair, pem(directory, "ca.pem"), require_client_auth=True)
    ports["mtls"] = server.add_secure_port("127.0.0.1:0", mutual)
    server.start()

    intercepted = grpc.server(pool, interceptors=(Interceptor("one"), Interceptor("two")))
    intercepted.add_generic_rpc_handlers((generic, Dynamic()))
    ports["intercepted"] = intercepted.add_insecure_port("127.0.0.1:0")
    intercepted.start()

    single = grpc.server(pool, maximum_concurrent_rpcs=1)
    single.add_generic_rpc_handlers((generic,))
    ports["single"] = single.add_insecure_port("127.0.0.1:0")
    single.start()

    limited = grpc.server(
        pool,
        compression=grpc.Compression.Gzip,
        options=(("grpc.max_receive_message_length", 1000), ("grpc.max_send_message_length", 1000)),
    )
    limited.add_generic_rpc_handlers((generic,))
    ports["limited"] = limited.add_insecure_port("127.0.0.1:0")
    limited.start()

    report(ports)
    sys.stdin.read()
    for each in (server, intercepted, single, limited):
        each.stop(None)
    pool.shutdown(wait=False)


if __name__ == "__main__":
    main(sys.argv[1])
