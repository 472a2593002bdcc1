"""Records → JSON: one object for each, for a file of lines.

Bytes are in base64. A message's fields are an object by name, or by number where its type is not known; what occurs
several times is an array. Imports `records` and `secrets`.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

from wire.inspect.records import CallEnded, ConnectionLost, ConnectionMade, Frame, Message, RawBytes, Record, Value
from wire.inspect.secrets import mask


def line(record: Record, process: str = "") -> str:
    """The record as a line of JSON, its newline included."""
    plain = as_object(record)
    if process:
        plain = {"process": process, **plain}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"


def as_object(record: Record) -> dict[str, Any]:
    """The record as plain objects. What is empty or not known is left out."""
    plain: dict[str, Any] = {"kind": record.kind, "connection": record.connection, "at_s": _seconds(record.at_s)}
    match record:
        case Frame():
            plain |= _frame(record)
        case CallEnded():
            plain |= {
                "stream": record.stream,
                "method": record.method,
                "status": record.status,
                "status_message": record.status_message or None,
                "how": record.how or None,
                "requests": record.requests,
                "request_bytes": record.request_bytes,
                "responses": record.responses,
                "response_bytes": record.response_bytes,
                "first_response_s": _seconds(record.first_response_s),
                "took_s": _seconds(record.took_s),
            }
        case ConnectionMade():
            plain |= {"event": "made", "client": record.client, "server": record.server, "tls": record.tls or None}
        case ConnectionLost():
            plain |= {"event": "lost", "reason": record.reason or None}
        case RawBytes():
            content = None if record.content is None else base64.b64encode(record.content).decode()
            plain |= {
                "to": record.to.value,
                "size_bytes": record.size_bytes,
                "problem": record.problem or None,
                "content": content,
            }
    return {key: value for key, value in plain.items() if value is not None}


def _frame(record: Frame) -> dict[str, Any]:
    progress = record.message_progress
    return {
        "to": record.to.value,
        "flags": list(record.flags) or None,
        "stream": record.stream,
        "size_bytes": record.size_bytes,
        "padding_bytes": record.padding_bytes or None,
        "method": record.method or None,
        "since_s": _seconds(record.since_s),
        "details": dict(record.details) or None,
        "fields": [list(pair) for pair in record.fields] or None,
        "messages": [_message(each) for each in record.messages] or None,
        "message_progress": None if progress is None else {"bytes": progress[0], "of_bytes": progress[1]},
        "stream_window_bytes": record.stream_window_bytes,
        "connection_window_bytes": record.connection_window_bytes,
        "problems": list(record.problems) or None,
    }


def _message(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"index": message.index, "size_bytes": message.size_bytes}
    if message.type_name:
        plain["type"] = message.type_name
    if message.compressed:
        plain |= {"compressed": True, "plain_bytes": message.plain_bytes}
    if message.fields is not None:
        plain["content"] = _fields(message.fields)
    if message.problem:
        plain["problem"] = message.problem
    return plain


def _fields(values: tuple[Value, ...]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    several: set[str] = set()
    for value in values:
        name = value.name or str(value.number)
        content = _content(value)
        if name not in plain:
            plain[name] = content
        elif name in several:
            plain[name].append(content)
        else:
            several.add(name)
            plain[name] = [plain[name], content]
    return plain


def _content(value: Value) -> Any:
    content = value.content
    if value.kind == "masked":
        return mask(int(content))  # type: ignore[arg-type]
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    if isinstance(content, tuple):
        return _fields(content)
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)  # JSON has no such numbers
    return content


def _seconds(seconds: float | None) -> float | None:
    """To the microsecond: what is beyond that is noise."""
    return None if seconds is None else round(seconds, 6)
