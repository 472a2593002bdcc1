"""Every public name of grpc, grpc.aio and grpc.experimental: what it is, what it takes, and what its methods take."""

import enum
import inspect

import grpc
import grpc.experimental
import grpc.experimental.aio
import grpc.experimental.gevent
import grpc.experimental.session_cache


def parameters(function):
    """Names, kinds and defaults; types are for others to check."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "?"
    return ", ".join(str(each.replace(annotation=inspect.Parameter.empty)) for each in found)


def tell_methods(value):
    for member in sorted(dir(value)):
        if not member.startswith("_") and callable(getattr(value, member)):
            print("  ", member, parameters(getattr(value, member)))


def tell(where, module):
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if not isinstance(value, type):
            print(where, name, parameters(value) if callable(value) else type(value).__name__)
            continue
        bases = [each.__name__ for each in value.__mro__[1:] if each.__module__.startswith("grpc")]
        print(where, name, "class", sorted({each for each in bases if not each.startswith("_")}))
        if issubclass(value, enum.Enum):
            print("  ", [(each.name, each.value) for each in value])
        if not name.endswith(("Credentials", "Configuration")):  # which have no methods that are anybody's
            tell_methods(value)


tell("grpc", grpc)
tell("grpc.aio", grpc.aio)
tell("grpc.experimental", grpc.experimental)


class Interceptor(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def intercept(self, continuation, client_call_details, request):
        return continuation(client_call_details, request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = intercept


with grpc.insecure_channel("localhost:1") as plain:
    for channel in (plain, grpc.intercept_channel(plain, Interceptor())):
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            method = getattr(channel, kind)("/a/b")
            print(kind, parameters(type(method).__call__))
            for name in ("future", "with_call"):
                print("  ", parameters(getattr(method, name, None)))
print(grpc.experimental.aio.Channel is grpc.aio.Channel, callable(grpc.experimental.gevent.init_gevent))
print(parameters(grpc.experimental.session_cache.ssl_session_cache_lru))
