"""Seeing what is on the wire, in words.

    records, secrets        what is told, as plain data; what of it is masked
    message_types, protobuf, descriptors, schemas
                            messages by field: their bytes, and where their types come from
    frames, streams, messages
                            frames and what they say; a stream's windows and messages; a message decompressed
    reader                  one connection's bytes → records; needs no engine
    filters                 which records are shown
    as_text, as_json        records → lines, for people and for programs
    layer                   stands between the sockets and the connections of a server or channel
    trace                   puts these together: what programs and embedders make one of
    passage, tap            connections passed on between any client and any server
    reassembly, capture     packets of a capture in place of live bytes

docs/tracing.md says how it is used. Each imports those above it.
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
