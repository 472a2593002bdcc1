"""Captures of a connection: whole, in the wrong order, doubled, with holes, begun in the middle; files of each kind."""

from __future__ import annotations

import io
import random
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from proto.echo.v1.echo_wire import EchoServiceStub
from tests.http2 import frames
from wire.errors import ConfigurationError
from wire.inspect import CallEnded, Capture, ConnectionMade, Frame, RawBytes, Record, To, Trace, read_capture
from wire.inspect.reassembly import ACK, FIN, RST, SYN
from wire.rpc.framing import frame as framed

dpkt = pytest.importorskip("dpkt")

CLIENT, SERVER = ("10.0.0.1", 40_000), ("10.0.0.2", 50_051)
ECHO = framed(b"\x0a\x05hello")

EXCHANGE: list[tuple[To, bytes]] = [
    (To.SERVER, frames.PREFACE + frames.settings()),
    (To.CLIENT, frames.settings() + frames.settings(ack=True)),
    (To.SERVER, frames.settings(ack=True) + frames.headers(1) + frames.data(1, ECHO, end=True)),
    (To.CLIENT, frames.headers(1, frames.RESPONSE) + frames.data(1, ECHO)),
    (To.CLIENT, frames.headers(1, frames.TRAILERS, end=True)),
]


class Conversation:
    """Makes TCP segments, as packets of IP, of what two ends say."""

    def __init__(self, client: tuple[str, int] = CLIENT, server: tuple[str, int] = SERVER, start: int = 1000) -> None:
        self._ends = {To.SERVER: (client, server), To.CLIENT: (server, client)}
        self._sequences = {To.SERVER: start, To.CLIENT: start + 70_000}
        self.packets: list[bytes] = []

    def segment(self, to: To, data: bytes = b"", flags: int = ACK, *, advance: bool = True) -> bytes:
        (source, sport), (target, dport) = self._ends[to]
        tcp = dpkt.tcp.TCP(sport=sport, dport=dport, seq=self._sequences[to] % 2**32, flags=flags, data=data)
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        ends = {"src": socket.inet_pton(family, source), "dst": socket.inet_pton(family, target)}
        if family == socket.AF_INET6:
            ip = dpkt.ip6.IP6(nxt=dpkt.ip.IP_PROTO_TCP, hlim=64, plen=len(tcp), data=tcp, **ends)
            ip.extension_hdrs = {}
        else:
            ip = dpkt.ip.IP(p=dpkt.ip.IP_PROTO_TCP, len=20 + len(tcp), data=tcp, **ends)
        if advance:
            self._sequences[to] += len(data) + bool(flags & SYN) + bool(flags & FIN)
        self.packets.append(bytes(ip))
        return self.packets[-1]

    def open(self) -> None:
        self.segment(To.SERVER, flags=SYN)
        self.segment(To.CLIENT, flags=SYN | ACK)
        self.segment(To.SERVER)

    def close(self) -> None:
        self.segment(To.SERVER, flags=FIN | ACK)
        self.segment(To.CLIENT, flags=FIN | ACK)

    def say(self, exchange: Iterable[tuple[To, bytes]], piece_bytes: int = 1000) -> None:
        for to, data in exchange:
            for at in range(0, len(data), piece_bytes):
                self.segment(to, data[at : at + piece_bytes])


def ethernet(ip: bytes) -> bytes:
    return bytes(12) + (b"\x86\xdd" if ip[0] >= 0x60 else b"\x08\x00") + ip


def file_of(packets: Iterable[bytes], writer: Any = None, **options: Any) -> io.BufferedReader:
    data = io.BytesIO()
    write = (writer or dpkt.pcapng.Writer)(data, **options)
    for index, packet in enumerate(packets):
        write.writepkt(packet, 1_700_000_000 + index / 1000)
    return io.BufferedReader(io.BytesIO(data.getvalue()))


def read(packets: Iterable[bytes]) -> tuple[list[Record], Capture]:
    return read_file(file_of(map(ethernet, packets)))


def read_file(file: Any) -> tuple[list[Record], Capture]:
    records: list[Record] = []
    found = read_capture(file, Trace(outputs=[records.append], services=[EchoServiceStub.service]))
    return records, found


def frames_of(records: list[Record]) -> list[tuple[To, str, int]]:
    return [(each.to, each.name, each.stream) for each in records if isinstance(each, Frame)]


def whole() -> Conversation:
    conversation = Conversation()
    conversation.open()
    conversation.say(EXCHANGE)
    conversation.close()
    return conversation


EXPECTED = frames_of(read(whole().packets)[0])


def test_whole_connection_is_told_with_the_times_of_its_packets() -> None:
    records, found = read(whole().packets)
    assert (found.packets, found.connections, found.others) == (10, 1, 0)
    made = records[0]
    assert isinstance(made, ConnectionMade)
    assert (made.client, made.server) == ("ipv4:10.0.0.1:40000", "ipv4:10.0.0.2:50051")
    assert [name for _, name, _ in EXPECTED] == [
        *("PREFACE", "SETTINGS", "SETTINGS", "SETTINGS", "SETTINGS"),
        *("HEADERS", "DATA", "HEADERS", "DATA", "HEADERS"),
    ]
    (call,) = (each for each in records if isinstance(each, CallEnded))
    assert (call.method, call.status) == ("/echo.v1.EchoService/Echo", "OK")
    assert call.took_s == pytest.approx(0.002, abs=1e-5)
    messages = [each.messages for each in records if isinstance(each, Frame) and each.messages]
    assert messages[0][0].type_name == "echo.v1.EchoRequest"


@pytest.mark.parametrize("seed", range(20))
def test_order_doubles_and_overlaps_of_segments_change_nothing(seed: int) -> None:
    conversation = Conversation(start=2**32 - 40)  # the numbers begin anew on the way
    conversation.open()
    for to, data in EXCHANGE:
        for at in range(0, len(data), 7):
            conversation.segment(to, data[at : at + 12], advance=False)
            conversation._sequences[to] += len(data[at : at + 7])
    shaken = random.Random(seed)
    packets = conversation.packets + shaken.sample(conversation.packets, 10)
    for at in range(3, len(packets) - 4):  # each comes up to five places too late
        swap = at + shaken.randrange(5)
        packets[at], packets[min(swap, len(packets) - 1)] = packets[min(swap, len(packets) - 1)], packets[at]
    records, found = read(packets)
    assert found.connections == 1
    for to in To:
        assert [each for each in frames_of(records) if each[0] is to] == [each for each in EXPECTED if each[0] is to]
    assert not [each for each in records if isinstance(each, RawBytes)]


def test_hole_is_told_and_the_other_direction_goes_on() -> None:
    packets = whole().packets
    del packets[5]  # the request
    records, _ = read(packets)
    assert [each.problem for each in records if isinstance(each, RawBytes)] == []
    assert frames_of(records)[-1] == (To.CLIENT, "HEADERS", 1)

    conversation = Conversation()
    conversation.open()
    conversation.say([*EXCHANGE[:2], (To.SERVER, EXCHANGE[2][1])], piece_bytes=30)
    lost = conversation.packets.pop(6)
    records, _ = read(conversation.packets)
    assert len(lost) == 40 + 30
    problem = next(each.problem for each in records if isinstance(each, RawBytes))
    assert problem == "30 bytes were not captured: what follows them cannot be read"


def test_connection_met_in_the_middle_is_read_where_it_looks_like_frames() -> None:
    records, found = read(whole().packets[5:])
    assert found.connections == 1
    assert frames_of(records) == EXPECTED[4:]
    with_preface, _ = read(whole().packets[3:])  # only the handshake is missing
    assert frames_of(with_preface) == EXPECTED


def test_server_of_a_connection_met_in_the_middle_is_one_that_was_connected_to() -> None:
    server = ("10.0.0.2", 60_000)
    known, unknown = Conversation(server=server), Conversation(("10.0.0.1", 40_001), server)
    known.open()
    known.say(EXCHANGE)
    unknown.say(EXCHANGE[1:])
    records, _ = read([*known.packets, *unknown.packets])
    assert [each.server for each in records if isinstance(each, ConnectionMade)] == ["ipv4:10.0.0.2:60000"] * 2


def test_other_protocols_are_counted_and_left_out() -> None:
    conversation = Conversation()
    conversation.open()
    conversation.say([(To.SERVER, b"GET / HTTP/1.1\r\n\r\n"), (To.CLIENT, b"HTTP/1.1 200 OK\r\n\r\n")])
    middle = Conversation(("10.0.0.3", 1234))
    middle.say([(To.SERVER, b"\x17\x03\x03\x00\x20" + bytes(32))])
    silent = Conversation(("10.0.0.4", 1234))
    silent.open()
    records, found = read([*conversation.packets, *middle.packets, *silent.packets])
    assert records == []
    assert (found.connections, found.others) == (0, 2)


def test_ports_that_are_used_again_are_another_connection() -> None:
    second = Conversation(start=900_000)
    second.open()
    second.say(EXCHANGE)
    for first in (whole().packets, whole().packets[:-2]):  # whether or not the first one's end was seen
        records, found = read([*first, *second.packets])
        assert found.connections == 2
        assert frames_of(records) == EXPECTED * 2


def test_reset_ends_a_connection() -> None:
    conversation = Conversation()
    conversation.open()
    conversation.say(EXCHANGE[:3])
    conversation.segment(To.CLIENT, flags=RST)
    records, _ = read(conversation.packets)
    (call,) = (each for each in records if isinstance(each, CallEnded))
    assert call.how == "the connection was lost"


def test_ipv6() -> None:
    conversation = Conversation(("fd00::1", 40_000), ("fd00::2", 50_051))
    conversation.open()
    conversation.say(EXCHANGE)
    records, _ = read(conversation.packets)
    assert isinstance(records[0], ConnectionMade)
    assert records[0].client == "ipv6:[fd00::1]:40000"
    assert frames_of(records) == EXPECTED


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (0, b"\x02\0\0\0"),
        (12, b""),
        (101, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
)
def test_other_link_layers_and_the_older_format(link: int, head: bytes) -> None:
    packets = [head + packet for packet in whole().packets]
    records, _ = read_file(file_of(packets, dpkt.pcap.Writer, linktype=link))
    assert frames_of(records) == EXPECTED


def test_packets_that_cannot_be_read_are_counted() -> None:
    packets = [ethernet(each) for each in whole().packets]
    packets[1:1] = [b"", b"\x01\x02", bytes(12) + b"\x08\x00\x45", bytes(60)]
    records, found = read_file(file_of(packets))
    assert frames_of(records) == EXPECTED
    assert found.packets == len(packets)
    assert found.unreadable > 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "this is no capture: neither pcapng nor pcap"),
        (b"hello", "this is no capture: neither pcapng nor pcap"),
        (b"\x0a\x0d\x0d\x0a\x1c", "the capture is cut short: it ends before its first packet"),
    ],
)
def test_file_that_is_no_capture_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        read_file(io.BufferedReader(io.BytesIO(data)))


def test_unknown_link_layer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="packets of link-layer type 147 cannot be taken apart here"):
        read_file(file_of([b"x"], dpkt.pcap.Writer, linktype=147))


def test_file_cut_short_is_told_up_to_there() -> None:
    data = file_of(map(ethernet, whole().packets)).read()
    records, found = read_file(io.BufferedReader(io.BytesIO(data[:-30])))
    assert found.cut_short
    assert frames_of(records) == EXPECTED


def test_no_file_makes_it_raise_anything_else() -> None:
    data = file_of(map(ethernet, whole().packets)).read()
    shaken = random.Random(7)
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(shaken.randrange(1, 8)):
            broken[shaken.randrange(len(broken))] = shaken.randrange(256)
        try:
            read_file(io.BufferedReader(io.BytesIO(bytes(broken))))
        except ConfigurationError:
            pass


def test_missing_dpkt_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.inspect.capture.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install 'wire-grpc\\[capture\\]'"):
        read_file(io.BytesIO())
