"""No output of a trace holds what is secret, unless it was asked for: each is searched for one marker."""

from __future__ import annotations

import base64
import gzip
import io
import logging
from pathlib import Path

import pytest

import wire
from proto.crypto.v1 import Algorithm, KeyType, SignRequest
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from services.crypto import CryptoServicer
from services.keys import KeyRing
from tests.http2 import frames
from tests.inspect.rig import Rig
from tests.support import LOCAL, run
from wire.config import EngineName
from wire.inspect import JsonLines, Record, Secrets, Tap, To, Trace, read_capture, text_output
from wire.rpc.framing import frame as framed

MARKER = "MaRkErOfASecret"
FORMS = [
    MARKER.encode(),
    *(base64.b64encode(b" " * shift + MARKER.encode())[4:16] for shift in range(3)),
    MARKER.encode().hex().encode(),
    repr(list(MARKER.encode()))[1:-1].encode(),
]
"""The marker as text, in base64 at any offset, in hexadecimal, as a list of numbers."""

METADATA: list[tuple[str, str | bytes]] = [
    ("authorization", f"Bearer {MARKER}"),
    ("proxy-authorization", MARKER),
    ("cookie", f"session={MARKER}"),
    ("x-api-key", MARKER),
    ("x-goog-api-key", MARKER),
    ("apikey", MARKER),
    ("private-token", MARKER),
    ("x-auth", MARKER),
    ("client_secret", MARKER),
    ("trace-bin", MARKER.encode()),
]


def found_in(output: bytes) -> list[bytes]:
    return [form for form in FORMS if form in output]


class Outputs:
    """Every output that a trace has."""

    def __init__(self, folder: Path, name: str, *, shown: bool) -> None:
        self._plain, self._coloured, self._full = io.StringIO(), io.StringIO(), io.StringIO()
        self._path = folder / f"{name}.jsonl"
        self._json = JsonLines(self._path)
        self._records: list[Record] = []
        self.trace = Trace(
            outputs=[
                text_output(self._plain),
                text_output(self._coloured, colours=True),
                text_output(self._full, full=True),
                self._json,
                self._records.append,
            ],
            secrets=Secrets(shown=shown),
        )

    def all(self) -> bytes:
        self._json.close()
        text = "".join(each.getvalue() for each in (self._plain, self._coloured, self._full))
        return text.encode() + self._path.read_bytes() + repr(self._records).encode()


async def sign(folder: Path, engine: EngineName, *, shown: bool, known: bool, compressed: bool) -> dict[str, bytes]:
    """What a server, a tap and a client tell of one call. Where the service is not `known`, fields are raw."""
    outputs = {name: Outputs(folder, name, shown=shown) for name in ("server", "tap", "client")}
    if known:
        outputs["tap"].trace.add_service(CryptoServiceStub.service)
    calls = wire.CallConfig(compression="gzip" if compressed else None)
    server = wire.Server(
        [CryptoServicer(KeyRing.generate([]), threads=1)],
        config=wire.ServerConfig(engine=engine),
        trace=outputs["server"].trace,
    )
    async with server, Tap(await server.listen(LOCAL), trace=outputs["tap"].trace) as tap:
        config = wire.ChannelConfig(engine=engine, calls=calls)
        async with wire.Channel(await tap.listen(LOCAL), config=config, trace=outputs["client"].trace) as channel:
            request = SignRequest(
                key_type=KeyType.P256, algorithm=Algorithm.ECDSA_P256_SHA256_ASN1, data=MARKER.encode() * 5
            )
            await CryptoServiceStub(channel).sign(request, metadata=METADATA)
        await server.stop()
    return {name: each.all() for name, each in outputs.items()}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_no_output_holds_a_secret(
    tmp_path: Path, engine: EngineName, known: bool, compressed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    outputs = run(lambda: sign(tmp_path, engine, shown=False, known=known, compressed=compressed))
    for name, output in outputs.items():
        assert b"/crypto.v1.CryptoService/Sign" in output, name
        assert found_in(output) == [], name
    assert found_in(caplog.text.encode()) == []


def test_a_capture_tells_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("dpkt")
    from tests.inspect.test_capture import Conversation, ethernet, file_of

    request = SignRequest(data=MARKER.encode() * 5)
    fields = [(name.encode(), b64(value)) for name, value in METADATA]
    start = [
        (b":method", b"POST"),
        (b":path", b"/crypto.v1.CryptoService/Sign"),
        (b"content-type", b"application/grpc"),
    ]
    sent = frames.PREFACE + frames.settings() + frames.headers(1, (*start, *fields))
    conversation = Conversation()
    conversation.open()
    conversation.say([(To.SERVER, sent + frames.data(1, framed(bytes(request)), end=True))])
    conversation.close()
    outputs = Outputs(tmp_path, "capture", shown=False)
    outputs.trace.add_service(CryptoServiceStub.service)
    read_capture(file_of(map(ethernet, conversation.packets)), outputs.trace)
    output = outputs.all()
    assert b"/crypto.v1.CryptoService/Sign" in output
    assert b"<masked" in output
    assert found_in(output) == []


def b64(value: str | bytes) -> bytes:
    """As it is on the wire."""
    return value.encode() if isinstance(value, str) else base64.b64encode(value).rstrip(b"=")


def test_all_is_shown_when_that_is_asked_for(tmp_path: Path) -> None:
    for output in run(lambda: sign(tmp_path, "tuned", shown=True, known=True, compressed=False)).values():
        for name, value in METADATA:
            assert name.encode() + b": " + b64(value) in output
        assert MARKER.encode() * 5 in output


@pytest.mark.parametrize(
    "data",
    [
        f"GET /{MARKER} HTTP/1.1\r\nauthorization: {MARKER}\r\n\r\n".encode(),
        MARKER.encode(),
        b"\x16\x03\x01" + MARKER.encode(),
        frames.PREFACE + frames.headers(1, b"\xff\xff" + MARKER.encode()),
        frames.PREFACE + frames.headers(1, b"\0\x7f\xff\xff\xff\xff\xff" + MARKER.encode()),
        frames.PREFACE + frames.frame(0x77, 0, 1, MARKER.encode()),
        frames.PREFACE + frames.data(1, framed(b"\x0a\x0f" + MARKER.encode())),
        frames.PREFACE + frames.headers(1, end_headers=False) + frames.ping() + frames.data(1, MARKER.encode()),
        frames.PREFACE + frames.headers(1, ((b":path", f"/a.B/C?token={MARKER}".encode()),)),
        frames.PREFACE
        + frames.headers(1, ((b":path", b"/a.B/Sign"), (b"content-type", b"application/grpc")))
        + frames.data(1, framed(b"\x0a\x0f" + MARKER.encode() + b"\xff\xff")),
        frames.PREFACE + frames.headers(1, ((b"set-cookie", MARKER.encode()), (b"Authorization", MARKER.encode()))),
        frames.PREFACE + frames.headers(1) + frames.data(1, MARKER.encode()),
        frames.PREFACE
        + frames.headers(1, ((b"content-type", b"application/grpc"),))  # of a method that nobody knows
        + frames.data(1, framed(b"\x0a\x0f" + MARKER.encode())),
    ],
)
def test_bytes_that_cannot_be_read_tell_nothing(data: bytes) -> None:
    rig = Rig(greet=False)
    rig.to_server(data)
    rig.lose()
    assert rig.records
    assert found_in(repr(rig.records).encode()) == []


def test_compression_hides_nothing_from_the_mask() -> None:
    body = gzip.compress(b"\x0a\x0f" + MARKER.encode())
    rig = Rig()
    fields = ((b":path", b"/a.B/Sign"), (b"content-type", b"application/grpc"), (b"grpc-encoding", b"gzip"))
    rig.to_server(frames.headers(1, fields), frames.data(1, b"\x01" + len(body).to_bytes(4, "big") + body))
    assert rig.frames[-1].messages[0].fields is not None
    assert found_in(repr(rig.records).encode()) == []


@pytest.mark.parametrize("name", ["monkey", "keyboard-layout", "authority", ":authority", "tokens-used", "grpc-status"])
def test_names_that_only_look_alike_are_shown(name: str) -> None:
    assert Secrets().field_value(name, "value") == "value"


def test_further_fields_and_methods_can_be_named() -> None:
    secrets = Secrets(fields=frozenset({"x-user"}), methods=("/a.B/*",))
    assert secrets.field_value("x-user", "me") == "<masked, 2 bytes>"
    assert secrets.hides_payload("/a.B/C")
    assert not secrets.hides_payload("/crypto.v1.CryptoService/Sign")
