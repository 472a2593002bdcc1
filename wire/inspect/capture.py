"""Reads a capture of the network (pcapng, or the older pcap) in place of live bytes: HTTP/2 over TCP in the clear.

Packets are taken apart by `dpkt` (the extra `capture`); TCP is put together by `reassembly`. Connections that do not
begin with HTTP/2's preface are left out, and counted; one that the capture met in the middle is read when its bytes
look like frames. Imports `errors`, `http2.codes` and its siblings.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, BinaryIO, Final

from wire.errors import ConfigurationError
from wire.http2.codes import PREFACE, FrameType
from wire.inspect.reader import ConnectionReader
from wire.inspect.reassembly import ACK, SYN, Endpoint, Segment, Stream
from wire.inspect.records import To
from wire.inspect.trace import Trace
from wire.transport.address import TcpAddress

_PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_PCAP_MAGICS: Final = frozenset(
    bytes.fromhex(each)
    for each in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1")  # µs and ns, either byte order
)
_CUSTOMARY_PORT: Final = 50_051
_MAX_PENDING_BYTES: Final = 1 << 20
_MAX_FRAME_BYTES: Final = 1 << 20  # for what looks like a frame
_OF_STREAM: Final = frozenset({FrameType.DATA, FrameType.HEADERS, FrameType.RST_STREAM, FrameType.CONTINUATION})
_OF_CONNECTION: Final = frozenset({FrameType.SETTINGS, FrameType.PING, FrameType.GOAWAY})


@dataclass(slots=True)
class Capture:
    """What was found in a capture."""

    packets: int = 0
    connections: int = 0
    """Of HTTP/2 in the clear."""
    others: int = 0
    """TCP connections of another kind."""
    unreadable: int = 0
    """Packets that are no whole TCP segments over IP."""
    cut_short: bool = False
    """The file ends in the middle of a packet."""


def read_capture(file: BinaryIO, trace: Trace) -> Capture:
    """Tell `trace` of every connection in a capture, at the times of its packets. Raises `ConfigurationError` for a
    file that is no capture, or where dpkt is not installed."""
    if find_spec("dpkt") is None:
        raise ConfigurationError("dpkt is not installed; `pip install 'wire-grpc[capture]'` does that")
    found = Capture()
    streams: dict[frozenset[Endpoint], _Watched] = {}
    servers: set[Endpoint] = set()  # that a connection was seen to be made to
    began_s: float | None = None
    at_s = 0.0
    for segment in _segments(file, found):
        if began_s is None:
            began_s = segment.at_s
        at_s = max(at_s, segment.at_s - began_s)  # packets may be out of order by a little; a reader's time may not
        key = frozenset((segment.source, segment.target))
        watched = streams.get(key)
        if watched is not None and watched.stream.is_of_another(segment):
            watched.end(at_s)
            watched = None
        if watched is None:
            if not segment.data and not segment.flags & SYN:
                continue
            watched = streams[key] = _Watched(segment, trace, found, servers)
        watched.at_s = at_s
        watched.stream.add(segment)
        if watched.stream.ended:
            watched.end(at_s)
    for watched in streams.values():
        watched.end(at_s)
    return found


class _Watched:
    """One TCP connection: its bytes are kept until it can be told whether they are HTTP/2, then go to a reader."""

    __slots__ = ("_begun", "_found", "_pending", "_reader", "_settled", "_trace", "at_s", "stream")

    def __init__(self, segment: Segment, trace: Trace, found: Capture, servers: set[Endpoint]) -> None:
        self._trace = trace
        self._found = found
        self._reader: ConnectionReader | None = None
        self._settled = False
        self._pending: list[tuple[To, bytes, float]] = []
        self._begun: set[To] = set()
        self.at_s = 0.0
        client, server = segment.source, segment.target
        whole = bool(segment.flags & SYN)
        if whole:
            if segment.flags & ACK:
                client, server = server, client
            servers.add(server)
        elif not segment.data.startswith(PREFACE) and _is_likelier_server(client, server, servers):
            client, server = server, client
        self.stream = Stream(client, server, whole=whole, data=self._take, gap=self._miss)

    def end(self, at_s: float) -> None:
        """The connection, or the capture of it, is over. May be called again."""
        self.at_s = at_s
        if not self.stream.ended:
            self.stream.finish(at_s)
        if not self._settled:
            self._settle(is_http2=False)
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.lost(at_s)

    def _take(self, stream: Stream, to: To, data: bytes, at_s: float) -> None:
        if not self._settled:
            self._pending.append((to, data, self.at_s))
            self._look()
        elif self._reader is not None:
            self._feed(self._reader, to, data, self.at_s)

    def _feed(self, reader: ConnectionReader, to: To, data: bytes, at_s: float) -> None:
        if to not in self._begun:
            self._begun.add(to)
            if not self.stream.whole and not _looks_like_a_frame(data):
                reader.give_up(to, "the capture begins in the middle of a frame: what follows cannot be read", at_s)
        reader.feed(to, data, at_s)

    def _look(self) -> None:
        """Settle whether this is HTTP/2, once that can be told."""
        begun = b"".join(data for to, data, _ in self._pending if to is To.SERVER)[: len(PREFACE)]
        if self.stream.whole:
            if begun == PREFACE:
                self._settle(is_http2=True)
            elif not PREFACE.startswith(begun) or sum(len(data) for _, data, _ in self._pending) > _MAX_PENDING_BYTES:
                self._settle(is_http2=False)
            return
        if begun == PREFACE:  # only the handshake is missing
            self.stream.whole = True
            self._settle(is_http2=True)
        else:
            self._settle(is_http2=_looks_like_a_frame(self._pending[0][1]))

    def _settle(self, *, is_http2: bool) -> None:
        self._settled = True
        pending, self._pending = self._pending, []
        if not is_http2:
            self._found.others += bool(pending)
            return
        self._found.connections += 1
        self._reader = self._trace.connection(whole=self.stream.whole)
        client, server = (_name(each) for each in (self.stream.client, self.stream.server))
        self._reader.made(pending[0][2], client=client, server=server)
        for to, data, at_s in pending:
            self._feed(self._reader, to, data, at_s)

    def _miss(self, stream: Stream, to: To, size_bytes: int, at_s: float) -> None:
        if self._reader is not None:
            self._reader.give_up(
                to, f"{size_bytes} bytes were not captured: what follows them cannot be read", self.at_s
            )


def _is_likelier_server(one: Endpoint, other: Endpoint, servers: set[Endpoint]) -> bool:
    """A guess, for a connection whose beginning was not seen: who was connected to before, who has gRPC's customary
    port, or else the lower one."""
    if one in servers or other in servers:
        return one in servers
    if _CUSTOMARY_PORT in (one[1], other[1]):
        return one[1] == _CUSTOMARY_PORT
    return one[1] < other[1]


def _looks_like_a_frame(data: bytes) -> bool:
    if len(data) < 9 or int.from_bytes(data[:3], "big") > _MAX_FRAME_BYTES or data[5] & 0x80:
        return False
    kind, stream = data[3], int.from_bytes(data[5:9], "big")
    if kind in _OF_STREAM:
        return stream != 0
    return (kind in _OF_CONNECTION and stream == 0) or kind == FrameType.WINDOW_UPDATE


def _name(endpoint: Endpoint) -> str:
    host, port = endpoint
    return str(TcpAddress(host, port, "ipv6" if ":" in host else "ipv4"))


# Packets, by dpkt.


def _segments(file: BinaryIO, found: Capture) -> Iterator[Segment]:
    """The TCP segments of a capture, in the order of the file."""
    import dpkt

    reader = _open(file)
    take_apart = _link_layer(reader.datalink())
    packets = iter(reader)
    while True:
        try:
            at_s, packet = next(packets)
        except StopIteration:
            return
        except Exception:  # dpkt's own, struct's, and more
            found.cut_short = True
            return
        found.packets += 1
        try:
            ip = take_apart(packet)
            tcp = ip.data
            if not isinstance(tcp, dpkt.tcp.TCP):
                continue
            family = socket.AF_INET if isinstance(ip, dpkt.ip.IP) else socket.AF_INET6
            source = socket.inet_ntop(family, ip.src), tcp.sport
            target = socket.inet_ntop(family, ip.dst), tcp.dport
            yield Segment(source, target, tcp.seq, tcp.flags, bytes(tcp.data), float(at_s))
        except (dpkt.UnpackError, AttributeError, ValueError):
            found.unreadable += 1


def _open(file: BinaryIO) -> Any:
    """dpkt's reader, by how the file begins: it may be a pipe."""
    import dpkt

    magic = file.peek(4)[:4] if hasattr(file, "peek") else b""
    try:
        if magic == _PCAPNG_MAGIC:
            return dpkt.pcapng.Reader(file)
        if magic in _PCAP_MAGICS:
            return dpkt.pcap.Reader(file)
    except Exception:
        raise ConfigurationError("the capture is cut short: it ends before its first packet") from None
    raise ConfigurationError("this is no capture: neither pcapng nor pcap")


def _link_layer(kind: int) -> Any:
    """What takes a packet of that link-layer type (tcpdump.org/linktypes.html) apart, as far as IP."""
    import dpkt

    if kind in (dpkt.pcap.DLT_NULL, dpkt.pcap.DLT_LOOP):
        return lambda packet: dpkt.loopback.Loopback(packet).data
    if kind == dpkt.pcap.DLT_LINUX_SLL:
        return lambda packet: dpkt.sll.SLL(packet).data
    if kind == 276:  # LINKTYPE_LINUX_SLL2
        return lambda packet: dpkt.sll2.SLL2(packet).data
    if kind in (dpkt.pcap.DLT_RAW, 12, 14, 101, 228, 229):  # LINKTYPE_RAW and kin: a bare packet of IP
        return lambda packet: dpkt.ip6.IP6(packet) if packet[:1] >= b"\x60" else dpkt.ip.IP(packet)
    if kind == dpkt.pcap.DLT_EN10MB:
        return lambda packet: dpkt.ethernet.Ethernet(packet).data
    raise ConfigurationError(f"packets of link-layer type {kind} cannot be taken apart here")
