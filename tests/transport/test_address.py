"""Addresses in gRPC's name syntax: what they mean, that they read back the same, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import AddressError
from wire.transport.address import (
    CID_ANY,
    VSOCK_PORT_ANY,
    Address,
    HybridVsockAddress,
    MemoryAddress,
    TcpAddress,
    TcpAddresses,
    UnixAddress,
    VsockAddress,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:50051", TcpAddress("localhost", 50051)),
        ("dns:localhost:50051", TcpAddress("localhost", 50051)),
        ("dns:///localhost:50051", TcpAddress("localhost", 50051)),
        ("dns:///[::1]:50051", TcpAddress("::1", 50051)),
        ("dns:///example.com", TcpAddress("example.com", 443)),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0, "ipv4")),
        ("[::]:65535", TcpAddress("::", 65535, "ipv6")),
        ("ipv4:10.0.0.1:80", TcpAddress("10.0.0.1", 80, "ipv4")),
        ("ipv4:10.0.0.1", TcpAddress("10.0.0.1", 443, "ipv4")),
        ("ipv6:[fe80::1%25eth0]:80", TcpAddress("fe80::1%eth0", 80, "ipv6")),
        ("ipv6:::1", TcpAddress("::1", 443, "ipv6")),
        (
            "ipv4:10.0.0.1:80,10.0.0.2:81",
            TcpAddresses((TcpAddress("10.0.0.1", 80, "ipv4"), TcpAddress("10.0.0.2", 81, "ipv4"))),
        ),
        (
            "ipv6:[::1]:80,[::2]:81",
            TcpAddresses((TcpAddress("::1", 80, "ipv6"), TcpAddress("::2", 81, "ipv6"))),
        ),
        ("unix:app.sock", UnixAddress("app.sock")),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
        ("unix:///run/app.sock", UnixAddress("/run/app.sock")),
        ("unix-abstract:app", UnixAddress("app", abstract=True)),
        ("vsock:3:5000", VsockAddress(3, 5000)),
        ("vsock:any:5000", VsockAddress(CID_ANY, 5000)),
        ("vsock:host:0", VsockAddress(2, 0)),
        ("vsock:local:4294967294", VsockAddress(1, 4294967294)),
        ("vsock:local:any", VsockAddress(1, VSOCK_PORT_ANY)),
        ("hvsock:///run/v.sock:5000", HybridVsockAddress("/run/v.sock", 5000)),
        ("hvsock:v.sock:5000", HybridVsockAddress("v.sock", 5000)),
        ("memory:name", MemoryAddress("name")),
        ("memory:", MemoryAddress("")),
    ],
)
def test_an_address_means_what_its_text_says_and_reads_back_the_same(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "is empty"),
        ("localhost", 'write "localhost:50051"'),
        ("50051", 'there is no host before the port; write "localhost:50051"'),
        (":50051", "0.0.0.0:port"),
        ("*:50051", "no host name or IP address has"),
        ("local host:50051", "no host name or IP address has"),
        ("localhost:http", 'the port "http" is not a number from 0 to 65535'),
        ("localhost:65536", "not a number from 0 to 65535"),
        ("localhost:+80", "not a number"),
        ("localhost:", "not a number"),
        ("::1:50051", "in brackets"),
        ("[::1:50051", "[address]:port"),
        ("[::1]50051", "[address]:port"),
        ("[localhost]:50051", "not an IPv6 address"),
        ("http://localhost:50051", 'its scheme "http:" is not one of dns:'),
        ("xds:///service", "is not one of"),
        ("dns://8.8.8.8/localhost:1", "asking a DNS server"),
        ("dns://localhost:1", "no slash or three"),
        ("ipv4:localhost:1", '"localhost" is not an IPv4 address'),
        ("ipv4:10.0.0.1:80,", "no host"),
        ("ipv6:10.0.0.1:1", "is not an IPv6 address"),
        ("unix:", "name of the socket is missing"),
        ("unix://run/app.sock", "is absolute"),
        ("unix:" + "x" * 108, "at most 107 bytes"),
        ("unix:" + "ä" * 54, "at most 107 bytes"),
        ("unix-abstract:", "name of the socket is missing"),
        ("unix:a\0b", "NUL"),
        ("vsock:5000", "vsock:CID:PORT"),
        ("vsock:all:5000", 'a number up to 4294967294, "any", "host" or "local"'),
        ("vsock:4294967295:5000", "a number up to 4294967294"),
        ("vsock:3:4294967295", "not a number from 0 to 4294967294"),
        ("vsock:3:x", "not a number"),
        ("hvsock:///run/v.sock", "hvsock:///path/to/v.sock:PORT"),
        ("hvsock://run/v.sock:1", "is absolute"),
        ("hvsock::5000", "missing"),
        ("hvsock:///v.sock:any", "not a number"),
    ],
)
def test_a_malformed_address_is_refused_with_a_sentence_that_helps(text: str, hint: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert hint in str(caught.value)
    assert str(caught.value).isprintable()


@given(
    st.text(max_size=40)
    | st.sampled_from(["dns:", "ipv6:[", "vsock:", "unix:", "hvsock:///"]).flatmap(
        lambda scheme: st.text(max_size=20).map(lambda rest: scheme + rest)
    )
)
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        shown = str(parse_address(text))
    except AddressError as error:
        shown = str(error)
    assert shown.isprintable()


def test_the_socket_a_hybrid_vsock_listens_on_is_named_after_the_port() -> None:
    assert HybridVsockAddress("/run/v.sock", 52).listen_path == "/run/v.sock_52"
