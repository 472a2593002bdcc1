"""Stacks are put down to the layer whose file they are in, and lines that ask the kernel to the kernel."""

from __future__ import annotations

import asyncio.base_events
import asyncio.runners
import asyncio.selector_events
import inspect
import json
import selectors
from types import ModuleType

import h2.connection
import hpack
import pytest

import wire.codec.codec
import wire.connection
import wire.http2.h2.engine
import wire.http2.h2.sender
import wire.http2.tuned.decoder
import wire.http2.tuned.engine
import wire.http2.tuned.sender
import wire.http2.validation
import wire.inspect.sampling
import wire.programs.load
import wire.rpc.compression
import wire.server.call
import wire.server.request_calls
import wire.transport.socket_transport
import wire.transport.tls_transport
from wire.inspect.layers import Idle, Layer, layer_of
from wire.inspect.sampling import StackFrame


def at(module: ModuleType, function: str, line: str = "") -> StackFrame:
    """A frame of a module's file, at the first line that has this in it."""
    lines = inspect.getsource(module).splitlines()
    number = next((n for n, each in enumerate(lines, 1) if line and line in each), 1)
    return StackFrame(module.__file__ or "", number, function)


LOOP = (
    at(asyncio.base_events, "_run_once"),
    at(asyncio.base_events, "run_forever"),
    at(asyncio.runners, "run", "run_until_complete("),
)
RECEIVED = (
    at(wire.http2.tuned.engine, "receive"),
    at(wire.connection, "data_received"),
    at(asyncio.selector_events, "_read_ready__data_received"),
    *LOOP,
)
JSON = StackFrame(json.__file__, 1, "loads")
USER = StackFrame("/srv/shop/service.py", 1, "get")
THIRD_PARTY = StackFrame("/usr/lib/python3/dist-packages/sqlalchemy/engine.py", 1, "execute")
CODEC = StackFrame("<wire.codec shop.Item>", 1, "decode")

STACKS: dict[Layer | Idle, list[tuple[StackFrame, ...]]] = {
    Layer.KERNEL_READ: [
        (at(asyncio.selector_events, "_read_ready__data_received", "self._sock.recv("), *LOOP),
        (at(wire.transport.socket_transport, "_read_ready", "self._sock.recv("), *LOOP),
    ],
    Layer.KERNEL_WRITE: [
        (at(asyncio.selector_events, "write", "self._sock.send("), *LOOP),
        (at(wire.transport.socket_transport, "_write_ready", "self._sock.sendmsg("), *LOOP),
    ],
    Idle.POLL: [(at(selectors, "select", "self._selector.poll("), *LOOP)],
    Idle.LOOP_IN_C: [(LOOP[-1],)],
    Layer.EVENT_LOOP: [LOOP, (at(wire.connection, "_write", "transport.write("), *LOOP)],
    Layer.TLS: [(at(wire.transport.tls_transport, "data_received"), *LOOP)],
    Layer.HTTP2_IN: [
        RECEIVED,
        (at(wire.http2.validation, "check_request"), *RECEIVED),
        (at(h2.connection, "receive_data"), at(wire.http2.h2.engine, "receive"), *RECEIVED[1:]),
    ],
    Layer.HTTP2_OUT: [
        (at(wire.http2.tuned.sender, "send_reply"), at(wire.server.call, "_send"), *RECEIVED),
        (at(h2.connection, "send_headers"), at(wire.http2.h2.sender, "send_reply"), *LOOP),
    ],
    Layer.HEADER_COMPRESSION: [
        (at(wire.http2.tuned.decoder, "decode"), *RECEIVED),
        (at(hpack, "decode"), at(h2.connection, "receive_data"), *RECEIVED),
        (at(wire.http2.validation, "check_field"), at(wire.http2.tuned.decoder, "decode"), *RECEIVED),
    ],
    Layer.CALL_STATE: [
        (at(wire.server.call, "_start"), *RECEIVED),
        (JSON, at(wire.server.call, "_start"), *RECEIVED),
        (at(wire.inspect.sampling, "_on_signal"), at(wire.server.call, "_start"), *RECEIVED),
    ],
    Layer.MESSAGE_COMPRESSION: [(at(wire.rpc.compression, "compress"), *RECEIVED)],
    Layer.CODEC_IN: [
        (CODEC, *RECEIVED),
        (CODEC, at(wire.codec.codec, "bounded"), *RECEIVED),
        (at(wire.server.request_calls, "_handle", "self.route.decode("), *RECEIVED),
    ],
    Layer.CODEC_OUT: [
        (CODEC._replace(function="encode"), *RECEIVED),
        (at(wire.server.call, "_encode", "self.route.encode("), *RECEIVED),
    ],
    Layer.HANDLER: [
        (USER, at(wire.server.call, "_start"), *RECEIVED),
        (JSON, USER, at(wire.server.call, "_start"), *RECEIVED),
        (THIRD_PARTY, USER, *LOOP),
        (at(wire.programs.load, "_call_closed"), *LOOP),
        (JSON,),
    ],
}


@pytest.mark.parametrize("layer", STACKS, ids=str)
def test_stack_is_put_down_to_its_layer(layer: Layer | Idle) -> None:
    assert [layer_of(stack) for stack in STACKS[layer]] == [layer] * len(STACKS[layer])
