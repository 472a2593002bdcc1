"""What a trace does not show unless it is asked to.

Masked are: values of header fields that carry credentials (`SECRET_FIELDS`, and names that end like one), every value
of a `-bin` field, the texts and bytes of messages of methods that sign or hold secrets (`secret_methods`), and fields
that their .proto file marks with protobuf's own option, `debug_redact`. Of a stream whose method is not known no
message is shown, and of bytes that cannot be read only their number. Imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

SECRET_FIELDS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-amz-security-token", "password", "passwd"}
)
_SECRET_WORDS: Final = frozenset({"key", "apikey", "token", "secret", "password", "credential", "credentials", "auth"})
"""A name with one of these among its words, as in x-api-key, private-token or client_secret."""

SECRET_METHODS: Final = ("/crypto.v1.CryptoService/Sign", "*/Sign", "*/Decrypt", "*/Encrypt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """`shown`: mask nothing. `fields`: further names of header fields to mask. `methods`: patterns, as a shell has
    them, of the paths of methods whose texts and bytes are masked."""

    shown: bool = False
    fields: frozenset[str] = frozenset()
    methods: tuple[str, ...] = SECRET_METHODS

    def field_value(self, name: str, value: str) -> str:
        """The value as it may be shown."""
        if self.hides_field(name):
            return mask(len(value))
        if name == ":path" and "?" in value and not self.shown:  # gRPC's have no query; it may hold a token
            path, _, query = value.partition("?")
            return f"{path}?{mask(len(query))}"
        return value

    def hides_field(self, name: str) -> bool:
        if self.shown:
            return False
        if name.endswith("-bin") or name in SECRET_FIELDS or name in self.fields:
            return True
        return not _SECRET_WORDS.isdisjoint(name.replace("_", "-").split("-"))

    def hides_payload(self, method: str) -> bool:
        """Whether texts and bytes in the messages of this method are masked."""
        return not self.shown and any(fnmatchcase(method, pattern) for pattern in self.methods)


def mask(size_bytes: int) -> str:
    return f"<masked, {size_bytes} bytes>"
