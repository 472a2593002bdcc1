"""Options and credentials, in one process: retries by service config, who one says one is, certificates that change.

`python options.py CERTIFICATES`
"""

import asyncio
import json
import logging
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import grpc.experimental
import grpc.experimental.session_cache

CERTIFICATES = Path(sys.argv[1])
RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config(**method):
    return json.dumps({"methodConfig": [{"name": [{"service": "test.Flaky"}], **method}]})


CHANNELS = {
    "as it is": (),
    "retries": [("grpc.service_config", service_config(retryPolicy=RETRY))],
    "retries as bytes": [("grpc.service_config", service_config(retryPolicy=RETRY).encode())],
    "retries forbidden": [("grpc.service_config", service_config(retryPolicy=RETRY)), ("grpc.enable_retries", 0)],
    "no JSON": [("grpc.service_config", "{")],
    "no policy": [("grpc.service_config", service_config(retryPolicy={"maxAttempts": 1}))],
    "round robin": [("grpc.lb_policy_name", "round_robin")],
    "no such policy": [("grpc.lb_policy_name", "nonsense")],
    "unknown": [("grpc.no_such_option", 1), ("another", object)],
}


class Flaky:
    """Every third call succeeds."""

    def __init__(self):
        self.calls = 0

    def say(self, request, context):
        self.calls += 1
        if self.calls % 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "flaky")
        return request

    def stream(self, request, context):
        yield self.say(request, context)

    def agent(self, request, context):
        agent = dict(context.invocation_metadata())["user-agent"].split(" ")
        return f"{agent[0]} {agent[-1] if agent[-1] == 'after' else '-'}".encode()


def handlers(flaky):
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(flaky.say),
        "Stream": grpc.unary_stream_rpc_method_handler(flaky.stream),
        "Agent": grpc.unary_unary_rpc_method_handler(flaky.agent),
    }
    return grpc.method_handlers_generic_handler("test.Flaky", methods)


def outcome(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except grpc.RpcError as error:
        return error.code().name, error.details().partition(":")[0]
    except Exception as error:
        return type(error).__name__


def calls(flaky, port):
    for name, options in CHANNELS.items():
        for kind in ("Say", "Stream"):
            flaky.calls = 0
            try:
                channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
            except Exception as error:
                print(name, type(error).__name__)
                continue
            with channel:
                if kind == "Say":
                    answer = outcome(channel.unary_unary("/test.Flaky/Say"), b"x", timeout=10)
                else:
                    answer = outcome(lambda channel=channel: list(channel.unary_stream("/test.Flaky/Stream")(b"x")))
            print(name, kind, answer[0] if isinstance(answer, tuple) else answer, flaky.calls)
    agents = [("grpc.primary_user_agent", "before"), ("grpc.secondary_user_agent", "after")]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=agents) as channel:
        print(channel.unary_unary("/test.Flaky/Agent")(b""))


async def calls_asyncio(flaky, port):
    for name in ("retries", "retries forbidden", "no JSON"):
        flaky.calls = 0
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNELS[name]) as channel:
            try:
                print(name, await channel.unary_unary("/test.Flaky/Say")(b"x"), flaky.calls)
            except grpc.aio.AioRpcError as error:
                print(name, error.code(), flaky.calls)


class Names(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == "/test/Generic":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"generic")
        return None


def late():
    """What is added to a server that has started."""
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    server.add_registered_method_handlers("test", {"Late": grpc.unary_unary_rpc_method_handler(lambda r, c: b"late")})
    server.add_generic_rpc_handlers((Names(),))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(outcome(channel.unary_unary("/test/Late"), b""), outcome(channel.unary_unary("/test/Generic"), b""))
    server.stop(None)


def pem(name):
    return (CERTIFICATES / name).read_bytes()


def certificates_that_change():
    known = {
        "client": grpc.ssl_server_certificate_configuration([(pem("client.key"), pem("client.pem"))]),
        "server": grpc.ssl_server_certificate_configuration([(pem("server.key"), pem("server.pem"))], pem("ca.pem")),
    }
    asked = []

    def fetch():
        asked.append(1)
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    answer = [None]
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handlers(Flaky())])
    for wrong in ((None, fetch), (known["server"], None), (known["server"], 7)):
        print(outcome(grpc.dynamic_ssl_server_credentials, *wrong))
    port = server.add_secure_port("localhost:0", grpc.dynamic_ssl_server_credentials(known["server"], fetch))
    strict = server.add_secure_port("localhost:0", grpc.dynamic_ssl_server_credentials(known["server"], fetch, True))
    server.start()
    ca = grpc.ssl_channel_credentials(pem("ca.pem"))
    ours = grpc.ssl_channel_credentials(pem("ca.pem"), pem("client.key"), pem("client.pem"))

    def call(to, credentials=ca):
        with grpc.secure_channel(f"localhost:{to}", credentials) as channel:
            return outcome(channel.unary_unary("/test.Flaky/Agent"), b"")

    for each in (None, known["client"], known["server"], "nonsense", ValueError("no file"), None):
        answer[0] = each
        del asked[:]
        answered = call(port)
        print(answered if isinstance(answered, bytes) else answered[0], len(asked) > 0)
    print(call(strict, ours), call(strict)[0])
    server.stop(None)


def credentials():
    tls = grpc.ssl_channel_credentials(pem("ca.pem"))
    token = grpc.access_token_call_credentials("token")
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handlers(Flaky())])
    secure = grpc.ssl_server_credentials([(pem("server.key"), pem("server.pem"))])
    port = server.add_secure_port("localhost:0", grpc.xds_server_credentials(secure))
    clear = server.add_secure_port("localhost:0", grpc.xds_server_credentials(grpc.insecure_server_credentials()))
    server.start()
    for to, given in (
        (port, grpc.xds_channel_credentials(tls)),
        (port, grpc.composite_channel_credentials(tls, token, grpc.composite_call_credentials(token, token))),
        (clear, grpc.xds_channel_credentials()),  # TLS
        (clear, grpc.xds_channel_credentials(grpc.local_channel_credentials())),
    ):
        with grpc.secure_channel(f"localhost:{to}", given) as channel:
            print(outcome(channel.unary_unary("/test.Flaky/Agent"), b""))
    server.stop(None)
    grpc.secure_channel("localhost:1", grpc.compute_engine_channel_credentials(token)).close()
    for wrong in (
        lambda: grpc.composite_channel_credentials(None, token),
        lambda: grpc.composite_channel_credentials(tls, "token"),
        lambda: grpc.composite_call_credentials("token", token),
        lambda: grpc.compute_engine_channel_credentials(None),
        lambda: grpc.ssl_channel_credentials("text"),
        lambda: grpc.ssl_server_credentials([("text", "text")]),
        lambda: grpc.ssl_server_credentials([]),
        lambda: grpc.local_channel_credentials("tcp"),
        lambda: grpc.local_server_credentials("tcp"),
    ):
        print(outcome(wrong) if isinstance(outcome(wrong), str) else "taken")


def sessions():
    """TLS sessions, where a cache is given."""
    server = grpc.server(ThreadPoolExecutor(2))
    reused = grpc.unary_unary_rpc_method_handler(lambda r, context: context.auth_context()["ssl_session_reused"][0])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Tls", {"Reused": reused}),))
    tls = grpc.ssl_server_credentials([(pem("server.key"), pem("server.pem"))])
    port = server.add_secure_port("localhost:0", tls)
    server.start()
    ca = grpc.ssl_channel_credentials(pem("ca.pem"))
    cache = grpc.experimental.session_cache.ssl_session_cache_lru(1)
    for options in ((), [("grpc.ssl_session_cache", cache)], [("grpc.ssl_session_cache", cache)]):
        with grpc.secure_channel(f"localhost:{port}", ca, options=options) as channel:
            print(channel.unary_unary("/test.Tls/Reused")(b""))
    server.stop(None)


def experimental(port):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            target = f"127.0.0.1:{port}"
            print(grpc.experimental.unary_unary(b"", target, "/test.Flaky/Agent", insecure=True, timeout=10))
    print([(each.category.__name__, str(each.message), each.filename == __file__) for each in caught])


def main():
    logging.disable(logging.CRITICAL)
    flaky = Flaky()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handlers(flaky)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    calls(flaky, port)
    experimental(port)
    asyncio.run(calls_asyncio(flaky, port))
    server.stop(None)
    late()
    certificates_that_change()
    credentials()
    sessions()


main()
