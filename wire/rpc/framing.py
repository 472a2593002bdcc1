"""Length-prefixed messages (PROTOCOL-HTTP2.md, "Length-Prefixed-Message"): bytes of DATA frames ⇄ messages.

A message travels as one flag byte (1: compressed), its length in four bytes, big-endian, and its bytes. Imports only
`errors`, `status` and `compression`.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, iter_unpack

from wire.rpc.compression import Compressor, Decompressor
from wire.status import RpcError, StatusCode

PREFIX_BYTES = 5
pack_prefix = Struct(">BI").pack
unpack_prefix = Struct(">BI").unpack_from
_ALL = 1 << 32
KNOWN_PREFIXES = 1024
PREFIXES = tuple(pack_prefix(0, size) for size in range(KNOWN_PREFIXES))
"""Of the messages that most are, plain ones of so few bytes."""
_FEW = 4
_SMALL_BYTES = 4096  # DATA shorter than this is gathered: an object for each byte of a message would hold dozens


def frame(message: bytes, compress: Compressor | None = None) -> bytes:
    """`message` with its prefix, compressed when that is asked for."""
    if compress is None:
        size = len(message)
        return (PREFIXES[size] if size < KNOWN_PREFIXES else pack_prefix(0, size)) + message
    message = compress(message)
    return pack_prefix(1, len(message)) + message


def frame_all(messages: Sequence[bytes]) -> bytearray:
    """Messages with their prefixes, uncompressed, one behind another. Not for none."""
    size = len(messages[0])
    if len(set(map(len, messages))) == 1:
        prefix = pack_prefix(0, size)
        framed = bytearray(prefix)
        framed += prefix.join(messages)
        return framed
    framed = bytearray()
    for message in messages:
        framed += pack_prefix(0, len(message))
        framed += message
    return framed


def equal_messages(buffer: bytes | bytearray, most: int = _ALL) -> int:
    """How many messages at the start of the buffer, up to `most`, are whole and have the prefix of the first, that of a
    plain message. 0 where they are few: then each is to be looked at. A fifteenth of what that costs."""
    if len(buffer) < PREFIX_BYTES:
        return 0
    compressed, size = unpack_prefix(buffer)
    step = PREFIX_BYTES + size
    count = min(len(buffer) // step, most)
    if compressed or count < _FEW:
        return 0
    end = count * step
    for column in range(PREFIX_BYTES):
        equal = buffer[column:end:step]
        count = min(count, len(equal) - len(equal.lstrip(equal[:1])))
    return count if count >= _FEW else 0


def cut_equal(buffer: bytes | bytearray, count: int) -> list[bytes]:
    """The first so many of `equal_messages`."""
    _, size = unpack_prefix(buffer)
    # Released here: whoever looks at this frame from another thread, as `slow_handlers` does, would keep them for a
    # while, and a bytearray that is shown cannot be cut.
    with memoryview(buffer) as view, view[: count * (PREFIX_BYTES + size)] as whole:
        return [message for (message,) in iter_unpack(f"{PREFIX_BYTES}x{size}s", whole)]


class Compressed(bytes):
    """A message as it travelled, until `MessageReader.plain` makes it the one that was sent."""

    __slots__ = ()


def cut_packed(packed: bytearray, most: int) -> list[bytes]:
    """Take the first few messages, up to `most`, off those that `MessageReader` left uncut."""
    messages = cut_equal(packed, equal_messages(packed, most))
    at = sum(map(len, messages)) + PREFIX_BYTES * len(messages)
    while len(messages) < most and at < len(packed):
        compressed, size = unpack_prefix(packed, at)
        start = at + PREFIX_BYTES
        at = start + size
        message = bytes(packed[start:at])
        messages.append(Compressed(message) if compressed else message)
    del packed[:at]
    return messages


class MessageReader:
    """Cuts one stream's DATA into messages, in any chunking.

    `max_bytes` bounds each message, before and after decompression; it is judged from the prefix, before the body is
    there. `decompress` is None when the stream named no grpc-encoding.
    """

    __slots__ = ("_chunks", "_needed_bytes", "decompress", "max_bytes", "size_bytes", "uncut", "uncut_count")

    def __init__(self, max_bytes: int, decompress: Decompressor | None = None) -> None:
        self.max_bytes = max_bytes
        self.decompress = decompress
        self._chunks: list[bytes | bytearray | memoryview] = []
        self.size_bytes = 0
        """What has come of a message that is not whole."""
        self._needed_bytes = PREFIX_BYTES  # what the chunks must reach before looking at them is worth it
        self.uncut = b""
        """Messages that `feed` completed and did not cut out, as they travelled."""
        self.uncut_count = 0

    def feed(self, data: bytes, most: int = _ALL) -> list[bytes]:
        """The messages that `data` completes. Raises `RpcError` for what PROTOCOL-HTTP2.md or the limit forbids.

        Compressed ones are left so: what waits for a slow reader must not take more memory than its window grants.
        Those after the first `most` are not cut out, and left in `uncut` until the next time: small ones take ten times
        as much memory as objects of their own.
        """
        chunks = self._chunks
        if len(data) >= _SMALL_BYTES or not chunks or len(chunks[-1]) >= _SMALL_BYTES:
            chunks.append(data)
        elif isinstance(chunks[-1], bytearray):
            chunks[-1] += data
        else:
            chunks[-1] = bytearray(chunks[-1]) + data
        self.size_bytes += len(data)
        if self.size_bytes < self._needed_bytes:
            return []
        if most and self.size_bytes == self._needed_bytes > PREFIX_BYTES and len(chunks[0]) >= PREFIX_BYTES:
            return [self._whole_message(chunks)]
        buffer = b"".join(chunks)
        messages: list[bytes] = []
        position = cut = 0
        needed = PREFIX_BYTES
        count = equal_messages(buffer)
        if count:
            _, length = unpack_prefix(buffer)
            self._check_prefix(0, length)
            messages = cut_equal(buffer, min(count, most))
            cut = len(messages) * (PREFIX_BYTES + length)
            position = count * (PREFIX_BYTES + length)
        while len(buffer) - position >= PREFIX_BYTES:
            flag, length = unpack_prefix(buffer, position)
            self._check_prefix(flag, length)
            end = position + PREFIX_BYTES + length
            if end > len(buffer):
                needed = end - position
                break
            if count < most:
                message = buffer[position + PREFIX_BYTES : end]
                messages.append(Compressed(message) if flag else message)
                cut = end
            count += 1
            position = end
        if count > most:
            self.uncut = buffer[cut:position]
            self.uncut_count = count - most
        rest = buffer[position:]
        self._chunks = [rest] if rest else []
        self.size_bytes = len(rest)
        self._needed_bytes = needed
        return messages

    def add(self, data: bytes, start: int, stop: int) -> bool:
        """As `feed` with `data[start:stop]`, where that only adds to a long message that stays incomplete; else False,
        and nothing has happened."""
        size = stop - start
        if size < _SMALL_BYTES or not PREFIX_BYTES <= self.size_bytes < self._needed_bytes - size:
            return False
        self._chunks.append(data[start:stop])
        self.size_bytes += size
        return True

    def whole(self, data: bytes, start: int, stop: int) -> bytes | None:
        """The message that `data[start:stop]` is, where it is one by itself, and plain; None where `feed` has to look,
        and nothing has happened. Part of its prefix may have come before, as from clients of Rust's h2, which send one
        byte when that is all the room they know of."""
        missing_bytes = PREFIX_BYTES - self.size_bytes
        if missing_bytes <= 0:
            return None
        body = start + missing_bytes
        # As a number, the prefix of an uncompressed message is its length.
        size = int.from_bytes(b"".join((*self._chunks, data[start:body])), "big")
        if size != stop - body or size > self.max_bytes:
            return None
        self._chunks = []
        self.size_bytes = 0
        return data[body:stop]

    def plain(self, message: bytes) -> bytes:
        """A message of `feed`, decompressed where it has to be. Raises `RpcError`."""
        if message.__class__ is bytes:
            return message
        assert self.decompress is not None
        return self.decompress(message, self.max_bytes)

    def plain_if_short(self, message: bytes, most_bytes: int) -> bytes | None:
        """As `plain`; None for one that becomes more than `most_bytes`, which then would take long."""
        if message.__class__ is bytes or most_bytes >= self.max_bytes:
            return self.plain(message)
        assert self.decompress is not None
        try:
            return self.decompress(message, most_bytes)
        except RpcError as error:
            if error.code is StatusCode.RESOURCE_EXHAUSTED:
                return None
            raise

    def _whole_message(self, chunks: list[bytes | bytearray | memoryview]) -> bytes:
        """The chunks are one message and nothing else: a large one is then copied once."""
        flag = chunks[0][0]
        chunks[0] = memoryview(chunks[0])[PREFIX_BYTES:]
        message = b"".join(chunks)
        self._chunks = []
        self.size_bytes = 0
        self._needed_bytes = PREFIX_BYTES
        return Compressed(message) if flag else message

    @property
    def missing_bytes(self) -> int:
        """What the message that has begun still lacks; 0 while its prefix is not whole."""
        return self._needed_bytes - self.size_bytes if self.size_bytes >= PREFIX_BYTES else 0

    @property
    def partial(self) -> bool:
        """True in the middle of a message; a stream that ends now is broken."""
        return self.size_bytes > 0

    def _check_prefix(self, flag: int, length: int) -> None:
        if flag > 1:
            raise RpcError(StatusCode.INTERNAL, f"message prefix has the flag byte {flag}, which is neither 0 nor 1")
        if flag and self.decompress is None:
            raise RpcError(StatusCode.INTERNAL, "compressed message on a stream that named no grpc-encoding")
        if length > self.max_bytes:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED, f"message of {length} bytes is over the limit of {self.max_bytes}"
            )
