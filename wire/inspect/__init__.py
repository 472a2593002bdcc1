"""Seeing what is on the wire, in words.

    reader      one connection's bytes → records: frames, fields, windows, messages, calls; needs no engine
    trace       which records are shown, and where: text for people, JSON lines for programs
    layer       puts a trace between the sockets and the connections of a server or channel
    tap         stands between any client and any server, and passes bytes on unchanged
    capture     reads a capture file of the network in place of live bytes

Underneath: `frames`, `streams`, `messages`, `protobuf` read; `schemas`, `descriptors`, `message_types` know messages'
types; `secrets` masks; `filters` choose; `as_text`, `as_json` write; `records` are what all of them talk of.
"""

from wire.inspect.as_json import as_object
from wire.inspect.capture import Capture, read_capture
from wire.inspect.filters import parse_filter
from wire.inspect.passage import Disturbance
from wire.inspect.reader import ConnectionReader
from wire.inspect.records import CallEnded, ConnectionLost, ConnectionMade, Frame, Message, RawBytes, Record, To, Value
from wire.inspect.secrets import Secrets
from wire.inspect.tap import Tap
from wire.inspect.trace import JsonLines, Output, Trace, text_output

__all__ = [
    "CallEnded",
    "Capture",
    "ConnectionLost",
    "ConnectionMade",
    "ConnectionReader",
    "Disturbance",
    "Frame",
    "JsonLines",
    "Message",
    "Output",
    "RawBytes",
    "Record",
    "Secrets",
    "Tap",
    "To",
    "Trace",
    "Value",
    "as_object",
    "parse_filter",
    "read_capture",
    "text_output",
]
