"""Whether a field section is well-formed: the rules of RFC 9113 §8.2 and §8.3, the same for both engines.

In: a decoded section. Out: None, or what is wrong with it, in words that hold nothing the peer sent; such a section is
malformed, a stream error of type PROTOCOL_ERROR (§8.1.1). Imports nothing of wire but the contract's `Fields`.
"""

from __future__ import annotations

from typing import Final

from wire.http2.engine import Fields

# §8.2.1: visible ASCII but capitals; and no colon, as pseudo-fields are read apart.
_NAME_BYTES: Final = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x3A and not 0x41 <= byte <= 0x5A)
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path"))
_CONNECT_PSEUDO: Final = frozenset((b":method", b":authority"))
_PADDED_VALUES: Final = (b"\n ", b"\n\t", b" \n", b"\t\n")
_MAX_LENGTH_DIGITS: Final = 18


def request_problem(fields: Fields) -> str | None:
    """What is malformed in a request's field section, or None (§8.3.1; CONNECT: §8.5)."""
    pseudo = _pseudo(fields)
    if pseudo.keys() - {b":authority"} != _REQUEST_PSEUDO:
        if pseudo.get(b":method") != b"CONNECT":
            return "a request without exactly :method, :scheme and :path"
        if pseudo.keys() != _CONNECT_PSEUDO:
            return "a CONNECT request without exactly :method and :authority"
    elif not pseudo[b":path"] or not pseudo[b":method"] or pseudo[b":method"] == b"CONNECT":
        return "a request whose :path or :method cannot be"
    authority = pseudo.get(b":authority")
    if authority is not None:
        for name, value in fields:
            if name == b"host" and value != authority:
                return "a host field that differs from :authority"
    return _problem(fields, len(pseudo)) or _padded_value(fields)


def response_problem(fields: Fields) -> str | None:
    """What is malformed in a response's field section, or None (§8.3.2).

    White space around a value is let through, against §8.2.1: gRPC servers send `grpc-message` as it is, and a text
    that ends in a space is no reason to lose the status beside it.
    """
    pseudo = _pseudo(fields)
    status = pseudo.get(b":status", b"")
    if len(pseudo) != 1 or len(status) != 3 or not status.isdigit():
        return "a response without exactly a :status of three digits"
    return _problem(fields, 1)


def trailers_problem(fields: Fields, *, from_server: bool) -> str | None:
    """What is malformed in trailers, which hold no pseudo-fields, or None (§8.1). White space: as for responses."""
    return _problem(fields, 0) or (None if from_server else _padded_value(fields))


def content_length(fields: Fields) -> int:
    """The content-length of a well-formed section, or -1 where it has none."""
    for name, value in fields:
        if name == b"content-length":
            return int(value)
    return -1


def _pseudo(fields: Fields) -> dict[bytes, bytes]:
    """The pseudo-fields at the head of a section. One that is repeated ends them, and is refused as a plain field."""
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] != b":" or name in found:
            break
        found[name] = value
    return found


def _problem(fields: Fields, skip: int) -> str | None:
    """What is malformed in the fields after the first `skip`, or in any value (§8.2.1, §8.2.2)."""
    names = [name for name, _ in fields[skip:]]
    if b"" in names or b"".join(names).translate(None, _NAME_BYTES):
        return "a field name that is empty, not in lower case, or a pseudo-field out of place"
    values = [value for _, value in fields]
    joined = b"".join(values)
    if b"\0" in joined or b"\r" in joined or b"\n" in joined:
        return "a field value with NUL, CR or LF"
    if not _CONNECTION_FIELDS.isdisjoint(names):
        return "a connection-specific field"
    for name, value in fields[skip:]:
        if name == b"te" and value != b"trailers":
            return "a te field that is not trailers"
        if name == b"content-length" and (
            names.count(name) > 1 or not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS
        ):
            return "a content-length that is not one number"
    return None


def _padded_value(fields: Fields) -> str | None:
    """White space around a value (§8.2.1). The values hold no LF any more, which so can stand between them."""
    joined = b"\n" + b"\n".join([value for _, value in fields]) + b"\n"
    if any(padded in joined for padded in _PADDED_VALUES):
        return "a field value that starts or ends with white space"
    return None
