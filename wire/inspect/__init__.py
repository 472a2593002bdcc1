"""Seeing what is on the wire, in words, and what each layer costs.

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

    sampling                what the main thread does, so many times a second
    layers                  a stack → the layer that it was in
    costs                   samples → CPU time by layer
    costs_text, flamegraph  layer costs → a table, a picture
    costs_on_signal         layer costs of a server that runs

docs/tracing.md and docs/layer-costs.md say how they are used. Each imports those above it.
"""

from wire.inspect.as_json import as_object
from wire.inspect.capture import Capture, read_capture
from wire.inspect.costs import LayerCosts, add_up, layer_costs
from wire.inspect.costs_on_signal import costs_on_signal
from wire.inspect.costs_text import as_text as costs_as_text
from wire.inspect.filters import parse_filter
from wire.inspect.flamegraph import flame_graph, folded_lines
from wire.inspect.layers import Layer
from wire.inspect.passage import Disturbance
from wire.inspect.reader import ConnectionReader
from wire.inspect.records import CallEnded, ConnectionLost, ConnectionMade, Frame, Message, RawBytes, Record, To, Value
from wire.inspect.sampling import Sampler, Samples
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
    "Layer",
    "LayerCosts",
    "Message",
    "Output",
    "RawBytes",
    "Record",
    "Sampler",
    "Samples",
    "Secrets",
    "Tap",
    "To",
    "Trace",
    "Value",
    "add_up",
    "as_object",
    "costs_as_text",
    "costs_on_signal",
    "flame_graph",
    "folded_lines",
    "layer_costs",
    "parse_filter",
    "read_capture",
    "text_output",
]
