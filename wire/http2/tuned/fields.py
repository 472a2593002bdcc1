"""Field sections: which are legal, and whether one is a request, a response or trailers (RFC 9113 §8.1–§8.3, §10.3).

The rules are those of `wire.http2.validation`, cut for speed: each field is judged once, when its literal is decoded,
by `mark`, which gives a bit mask that stays with it in the HPACK tables. A section is then judged by the union of its
fields' marks, with one dict look-up. Imports the contract's `HeaderList`."""

from __future__ import annotations

import re
from typing import Final

from wire.http2.engine import Fields, HeaderList

Field = tuple[bytes, bytes]

# What a field is, as bits; 0 is an ordinary legal field.
METHOD: Final = 0x01
SCHEME: Final = 0x02
PATH: Final = 0x04
AUTHORITY: Final = 0x08
STATUS: Final = 0x10
CONNECT: Final = 0x20  # with METHOD: a CONNECT request, which has neither scheme nor path (§8.5)
INTERIM: Final = 0x40  # with STATUS: an informational response, 1xx (§8.1)
BAD: Final = 0x80
HOST: Final = 0x100
CONTENT_LENGTH: Final = 0x200
TE: Final = 0x400  # so that its other values are not taken for those of an ordinary field
PADDED: Final = 0x800  # white space around the value (§8.2.1)

PSEUDO: Final = METHOD | SCHEME | PATH | AUTHORITY | STATUS

# What a section is.
MALFORMED: Final = 0
REQUEST: Final = 1
RESPONSE: Final = 2
INFORMATIONAL: Final = 3
TRAILERS: Final = 4
OVERSIZE: Final = 5

SECTION_MARKS: Final = PSEUDO | CONNECT | INTERIM | BAD | PADDED
"""The marks that decide what a section is."""

KINDS: Final = {
    METHOD | SCHEME | PATH: REQUEST,
    METHOD | SCHEME | PATH | AUTHORITY: REQUEST,
    METHOD | CONNECT | AUTHORITY: REQUEST,
    STATUS: RESPONSE,
    STATUS | INTERIM: INFORMATIONAL,
    0: TRAILERS,
}

_SPECIAL: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":path": PATH,
    b":authority": AUTHORITY,
    b":status": STATUS,
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"te": TE,
    # Connection-specific fields (§8.2.2).
    b"connection": BAD,
    b"proxy-connection": BAD,
    b"keep-alive": BAD,
    b"transfer-encoding": BAD,
    b"upgrade": BAD,
}

_bad_name = re.compile(rb"[\x00-\x20A-Z:\x7f-\xff]").search
plain_value = re.compile(rb"(?![ \t])[^\x00\r\n]*(?<![ \t])").fullmatch  # a search takes four times as long
_bad_value = re.compile(rb"[\x00\r\n]").search
_status = re.compile(rb"[0-9]{3}").fullmatch
_length = re.compile(rb"[0-9]{1,18}").fullmatch


class Section(HeaderList):
    """A received field section. `kind`: REQUEST … OVERSIZE. `content_length`: None where it has no such field."""

    __slots__ = ("content_length", "kind")

    def __init__(self, fields: Fields, kind: int, content_length: int | None) -> None:
        self.fields = fields
        self.parsed = self.model = None
        self.shared = False
        self.kind = kind
        self.content_length = content_length


class Variant(Section):
    """A section with the fields of its `model` but for one value: they are put together when somebody reads them.
    Whoever makes one sets its attributes, as a constructor would take longer than that."""

    __slots__ = ()

    model: Section

    __init__ = object.__init__

    @property
    def fields(self) -> Fields:  # type: ignore[override]
        at = self.model.varies_at
        fields = self.model.fields
        return (*fields[:at], (fields[at][0], self.value), *fields[at + 1 :])


def mark(name: bytes, value: bytes) -> int:
    """What the field is; `BAD` where §8.2.1 (characters), §8.2.2 (connection-specific) or §8.3 (pseudo-fields) forbids
    it."""
    padded = 0
    if not plain_value(value):
        if _bad_value(value):
            return BAD
        padded = PADDED
    special = _SPECIAL.get(name)
    if special is None:
        return BAD if not name or _bad_name(name) else padded
    if special == METHOD:
        return padded | (METHOD | CONNECT if value == b"CONNECT" else METHOD if value else BAD)
    if special == PATH:
        return padded | PATH if value else BAD  # §8.3.1: never empty
    if special == STATUS:
        return BAD if not _status(value) else STATUS | INTERIM if value[0] == 0x31 else STATUS
    if special == CONTENT_LENGTH:
        return CONTENT_LENGTH if _length(value) else BAD
    if special == TE:
        return TE if value == b"trailers" else BAD  # §8.2.2
    return padded | special


def kind_of(fields: Fields, marks: int) -> int:
    """What a section is whose fields have `marks` together; its pseudo-fields are unique and in front (§8.3)."""
    if marks & HOST and marks & AUTHORITY:
        # §8.3.1: a Host that differs from :authority makes a request malformed.
        authority = next(value for name, value in fields if name == b":authority")
        if any(name == b"host" and value != authority for name, value in fields):
            return MALFORMED
    return KINDS.get(marks & SECTION_MARKS, MALFORMED)
