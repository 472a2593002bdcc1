"""Which layer a stack was in: that of the function that ran, by the file it is in.

In: stacks. Out: a `Layer`. Functions of the standard library and of message classes work for whoever called them, so
their caller's layer counts; lines that receive from, send to or wait for sockets are the kernel's. Imports `sampling`.
"""

from __future__ import annotations

import linecache
import re
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from wire.inspect.sampling import Stack, StackFrame


class Layer(StrEnum):
    """In the order in which bytes pass them."""

    KERNEL_READ = "kernel read"
    KERNEL_WRITE = "kernel write"
    KERNEL_POLL = "kernel poll"
    KERNEL = "kernel"
    """Where an event loop in C does all three, and they cannot be told apart."""
    EVENT_LOOP = "event loop"
    TLS = "TLS"
    HTTP2_IN = "HTTP/2 in"
    HTTP2_OUT = "HTTP/2 out"
    HEADER_COMPRESSION = "header compression"
    CALL_STATE = "call state"
    MESSAGE_COMPRESSION = "message compression"
    CODEC_IN = "codec in"
    CODEC_OUT = "codec out"
    HANDLER = "handler"
    """The program's own code: handlers on a server, callers on a client."""
    INSPECTION = "inspection"
    """A trace, where there is one."""


class Idle(StrEnum):
    """Where a thread waits for its sockets, asleep or about to be."""

    POLL = "poll"
    LOOP_IN_C = "loop in C"
    """uvloop: a thread that is there may also read, write, or do what the loop has to."""


_WIRE: Final = f"{Path(__file__).parents[1]}/"
_STANDARD_LIBRARY: Final = f"{Path(linecache.__file__).parent}/"
_INSTALLED: Final = re.compile(r"/(?:site|dist)-packages/([^/.]+)")

_EVENT_LOOPS: Final = frozenset({"asyncio", "selectors", "uvloop", "trio", "anyio", "outcome", "sniffio"})
_WORK_FOR_CALLER: Final = frozenset({"betterproto2", "google"})

_IN: Final = frozenset({"receive", "consumed", "expect"})
"""Methods of an engine that deal with what came; the others with what is sent."""

_READS: Final = re.compile(r"\.recv\w*\(")
_WRITES: Final = re.compile(r"\.send\w*\(")
_POLLS: Final = re.compile(r"\.(poll|select|control)\(")
_RUNS_LOOP: Final = re.compile(r"\.run_(until_complete|forever)\(")
_DECODES: Final = re.compile(r"\bdecode\w*\((?![\"')])|FromString\(")
_ENCODES: Final = re.compile(r"\bencode\w*\((?!\))|SerializeToString\(")

# Parts of paths in wire/, the first that fits counts. None: as the caller.
_FILES: Final[tuple[tuple[str, Layer | None], ...]] = (
    ("transport/tls", Layer.TLS),
    ("transport/", Layer.EVENT_LOOP),
    ("blocking/poller", Layer.EVENT_LOOP),
    ("blocking/runtime", Layer.EVENT_LOOP),
    ("blocking/socket_transport", Layer.EVENT_LOOP),
    ("http2/tuned/decoder", Layer.HEADER_COMPRESSION),
    ("http2/tuned/encoder", Layer.HEADER_COMPRESSION),
    ("http2/tuned/fields", Layer.HEADER_COMPRESSION),
    ("http2/tuned/huffman", Layer.HEADER_COMPRESSION),
    ("http2/h2/field_decoder", Layer.HEADER_COMPRESSION),
    ("http2/validation", None),
    ("http2/", Layer.HTTP2_OUT),
    ("codec/", Layer.CODEC_OUT),
    ("rpc/compression", Layer.MESSAGE_COMPRESSION),
    ("inspect/sampling", None),
    ("inspect/costs_on_signal", None),
    ("inspect/", Layer.INSPECTION),
    ("interceptors/", Layer.HANDLER),
    ("standard/", Layer.HANDLER),
    ("programs/", Layer.HANDLER),
    ("", Layer.CALL_STATE),
)


def layer_of(stack: Stack) -> Layer | Idle:
    """That of the innermost function that has one; of the program's own code where none has."""
    for place, frame in enumerate(stack):
        layer = _layer_of_file(frame.file)
        if layer is None:
            continue
        if place == 0 and (special := _of_line(frame, layer)):
            return special
        if layer in (Layer.HTTP2_IN, Layer.HTTP2_OUT):
            return Layer.HTTP2_IN if _entered(stack, place, _is_http2) in _IN else Layer.HTTP2_OUT
        if layer is Layer.CODEC_OUT:
            entered = _entered(stack, place, _is_codec)
            return Layer.CODEC_OUT if "encode" in entered or entered == "checked" else Layer.CODEC_IN
        return layer
    return Layer.HANDLER


def _of_line(frame: StackFrame, layer: Layer) -> Layer | Idle | None:
    """What the innermost function was calling, where that is in C and belongs elsewhere."""
    if layer not in (Layer.EVENT_LOOP, Layer.CALL_STATE):
        return None
    line = linecache.getline(frame.file, frame.line)
    if layer is Layer.EVENT_LOOP:
        if _READS.search(line):
            return Layer.KERNEL_READ
        if _WRITES.search(line):
            return Layer.KERNEL_WRITE
        if _POLLS.search(line):
            return Idle.POLL
        return Idle.LOOP_IN_C if _RUNS_LOOP.search(line) else None
    if _DECODES.search(line):
        return Layer.CODEC_IN
    if _ENCODES.search(line):
        return Layer.CODEC_OUT
    return Layer.EVENT_LOOP if "transport.write(" in line else None


@cache
def _layer_of_file(file: str) -> Layer | None:
    """None: it works for its caller. Of an engine and a codec, whichever direction."""
    if file.startswith(_WIRE):
        inner = file.removeprefix(_WIRE)
        return next(layer for part, layer in _FILES if inner.startswith(part))
    if file.startswith("<"):
        return Layer.CODEC_OUT if file.startswith("<wire.codec ") else None
    if installed := _INSTALLED.search(file):
        return _layer_of_package(installed[1])
    if file.startswith(_STANDARD_LIBRARY):
        name = file.removeprefix(_STANDARD_LIBRARY).partition("/")[0].removesuffix(".py")
        return Layer.EVENT_LOOP if name in _EVENT_LOOPS else None
    return Layer.HANDLER


def _layer_of_package(name: str) -> Layer | None:
    if name in _EVENT_LOOPS:
        return Layer.EVENT_LOOP
    if name == "hpack":
        return Layer.HEADER_COMPRESSION
    if name in ("h2", "hyperframe"):
        return Layer.HTTP2_OUT
    return None if name in _WORK_FOR_CALLER else Layer.HANDLER


def _entered(stack: Stack, place: int, inside: frozenset[Layer | None]) -> str:
    """The function through which this run of frames of a layer was entered."""
    entered = stack[place].function
    for frame in stack[place:]:
        layer = _layer_of_file(frame.file)
        if layer not in inside:
            break
        if layer is not None:
            entered = frame.function
    return entered


_is_http2: Final[frozenset[Layer | None]] = frozenset({None, Layer.HTTP2_OUT, Layer.HEADER_COMPRESSION})
_is_codec: Final[frozenset[Layer | None]] = frozenset({None, Layer.CODEC_OUT})
