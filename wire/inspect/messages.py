"""A message's bytes → what a trace says of it: decompressed, and by field. Never raises.

Imports `rpc.compression`, `errors`, and its siblings.
"""

from __future__ import annotations

from typing import Final

from wire.inspect.protobuf import read_message
from wire.inspect.records import Message, To
from wire.inspect.schemas import Schemas
from wire.inspect.secrets import Secrets
from wire.inspect.streams import Piece
from wire.rpc.compression import decompressor
from wire.status import RpcError

_MAX_GROWTH: Final = 16  # a message may become so many times what is kept of one


class MessageDescriber:
    """Describes messages of one connection."""

    __slots__ = ("_schemas", "_secrets", "max_message_bytes")

    def __init__(self, schemas: Schemas, secrets: Secrets, max_message_bytes: int) -> None:
        self._schemas = schemas
        self._secrets = secrets
        self.max_message_bytes = max_message_bytes

    def describe(self, to: To, method: str, encoding: bytes, index: int, piece: Piece) -> Message:
        """`method` is the call's path, "" where it is not known."""
        types = self._schemas.of(method)
        message_type = types[0] if to is To.SERVER else types[1]
        name = message_type.name if message_type is not None else ""
        compressed = piece.flag == 1
        data, problem = piece.data, ""
        if data is None:
            problem = f"longer than the {self.max_message_bytes} bytes that are kept of a message"
        elif compressed:
            data, problem = self._decompress(data, encoding)
        if data is not None and not method and not self._secrets.shown:
            data, problem = None, "not shown, because the call's method is not known"
        if data is None:
            return Message(index, piece.size_bytes, compressed, piece.size_bytes, name, None, problem)
        fields, problem = read_message(data, message_type, hide=self._secrets.hides_payload(method))
        return Message(index, piece.size_bytes, compressed, len(data), name, fields, problem)

    def _decompress(self, data: bytes, encoding: bytes) -> tuple[bytes | None, str]:
        try:
            decompress = decompressor(encoding)
        except KeyError:
            return None, f"its compression {encoding.decode('latin-1')} is not known here"
        if decompress is None:
            return None, "compressed, and no grpc-encoding says how"
        try:
            return decompress(data, _MAX_GROWTH * self.max_message_bytes), ""
        except RpcError as error:
            return None, error.message
