"""Listening sockets of every transport, their names, options and peers, and the sentence for each errno."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from wire.errors import ListenError, TransportError
from wire.transport import sockets
from wire.transport.address import Address, parse_address
from wire.transport.contract import Peer

VSOCK = parse_address("vsock:7:80")


def bind(text: str, **options: bool) -> sockets.BoundSocket:
    return sockets.bind(parse_address(text), **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "ipv4:127.0.0.1"])
def test_a_bound_tcp_socket_listens_without_blocking_on_the_port_that_it_names(host: str) -> None:
    with bind(f"{host}:0") as sock:
        name = sockets.bound_address(sock)
        assert name.startswith("ipv6:[::1]:" if host == "[::1]" else "ipv4:127.0.0.1:")
        assert not sock.getblocking()
        with pytest.raises(BlockingIOError):
            sock.accept()
        with socket.create_connection(sock.getsockname()[:2]):
            sock.accept()[0].close()


def test_listening_on_every_ipv6_interface_takes_ipv4_too_and_names_the_peer_as_ipv4() -> None:
    with bind("[::]:0") as sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])) as client:
        accepted, _ = sock.accept()
        with accepted:
            assert sockets.peer_of(accepted).address == f"ipv4:127.0.0.1:{client.getsockname()[1]}"


def test_a_port_that_is_taken_is_refused_unless_it_is_shared() -> None:
    with bind("127.0.0.1:0") as taken, pytest.raises(ListenError) as caught:
        bind(sockets.bound_address(taken))
    assert caught.value.errno == errno.EADDRINUSE
    assert "is taken by another program" in str(caught.value)
    with bind("127.0.0.1:0", reuse_port=True) as one, bind(sockets.bound_address(one), reuse_port=True) as other:
        assert sockets.bound_address(one) == sockets.bound_address(other)


def test_what_cannot_be_shared_or_is_several_addresses_is_refused(short_path: Path) -> None:
    for text in (f"unix:{short_path}/s", "vsock:any:5000"):
        assert not sockets.can_reuse_port(parse_address(text))
        with pytest.raises(ListenError, match="only TCP ports can be shared"):
            bind(text, reuse_port=True)
    with pytest.raises(ListenError, match="listen on each"):
        bind("ipv4:127.0.0.1:1,127.0.0.1:2")


def test_the_file_of_a_unix_socket_lives_as_long_as_the_socket(short_path: Path) -> None:
    path = short_path / "s"
    sock = bind(f"unix:{path}")
    assert sockets.bound_address(sock) == f"unix:{path}"
    assert stat.S_ISSOCK(path.stat().st_mode)
    sock.close()
    assert not path.exists()
    sock.close()


def test_a_file_that_a_dead_server_left_is_replaced(short_path: Path) -> None:
    path = short_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with bind(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_is_listened_on_is_left_alone(short_path: Path) -> None:
    with bind(f"unix:{short_path}/s") as sock:
        with pytest.raises(ListenError, match="another program is listening there"):
            bind(f"unix:{short_path}/s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(sock.getsockname())


def test_a_file_that_is_no_socket_is_left_alone(short_path: Path) -> None:
    path = short_path / "s"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file at that path that is not a socket"):
        bind(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_path_that_another_server_took_over_is_left_to_it(short_path: Path) -> None:
    path = short_path / "s"
    old = bind(f"unix:{path}")
    path.rename(short_path / "kept so that its inode is not used again")
    with bind(f"unix:{path}"):
        old.close()
        assert path.exists()


def test_a_process_that_inherited_the_socket_leaves_its_file(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = short_path / "s"
    sock = bind(f"unix:{path}")
    with monkeypatch.context() as as_worker:
        as_worker.setattr(os, "getpid", lambda: -1)
        sock.close()
    assert path.exists()


def test_an_abstract_name_needs_no_file() -> None:
    name = f"unix-abstract:wire-test-{os.getpid()}"
    with bind(name) as sock:
        assert sockets.bound_address(sock) == name


def test_a_hybrid_vsock_listens_beside_the_socket_of_the_vmm(short_path: Path) -> None:
    with bind(f"hvsock://{short_path}/v.sock:52") as sock:
        assert sockets.bound_address(sock) == f"hvsock://{short_path}/v.sock:52"
        assert (short_path / "v.sock_52").is_socket()
    assert not (short_path / "v.sock_52").exists()


def test_a_directory_that_does_not_exist_is_named(short_path: Path) -> None:
    with pytest.raises(ListenError, match="its directory does not exist"):
        bind(f"unix:{short_path}/nowhere/s")


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1 is not an address of this machine"):
        bind("192.0.2.1:0")


def test_a_name_that_nobody_knows_cannot_be_listened_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ListenError, match=r'the name "nowhere\.invalid" is not known'):
        bind("nowhere.invalid:1")


def test_the_peer_of_a_unix_socket_has_credentials_and_its_name_is_printable() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert sockets.peer_of(one) == Peer("unix:", uid=os.getuid(), gid=os.getgid(), pid=os.getpid())
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"\0wire-test-{os.getpid()}")
        server.listen()
        client.bind(b"\0evil\n\x1b[31m\xff%d" % os.getpid())
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            assert sockets.peer_of(accepted).address.startswith(r"unix-abstract:evil\n\x1b[31m")
            assert sockets.peer_of(accepted).address.isprintable()


def test_small_writes_are_not_held_back() -> None:
    with bind("127.0.0.1:0") as sock, socket.create_connection(sock.getsockname()) as client:
        sockets.tune(client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    one, other = socket.socketpair()
    with one, other:
        sockets.tune(one)  # has no such option, and must not mind


def test_a_machine_without_vsock_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "AF_VSOCK", -1)
    with pytest.raises(ListenError) as caught:
        bind("vsock:any:5000")
    assert str(caught.value) == (
        "cannot listen on vsock:any:5000: this machine has no vsock; it takes Linux with a vsock device (/dev/vsock)"
    )


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENODEV, "no VM with CID 7 is running"),
        (errno.ECONNRESET, "nothing listens on vsock port 80 of CID 7"),
        (errno.ETIMEDOUT, "no answer; CID 7 is not running, may not be reached, or forwards nothing to port 80"),
        (errno.EPERM, "permission denied; this process (or its container) may not use vsock"),
        (errno.EMFILE, "this process has no file descriptors left (see ulimit -n)"),
        (errno.EIO, "input/output error"),
    ],
)
def test_each_errno_of_a_vsock_connect_has_its_sentence(
    number: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/vsock")
    error = sockets.connect_error(VSOCK, OSError(number, os.strerror(number)))
    assert str(error) == f"cannot connect to vsock:7:80: {sentence}"
    assert error.errno == number


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.ENODEV, errno.EADDRNOTAVAIL])
def test_without_dev_vsock_there_is_no_vsock(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert "this machine has no vsock" in str(sockets.connect_error(VSOCK, OSError(number, "")))
    assert "this machine has no vsock" in str(sockets.listen_error(VSOCK, OSError(number, "")))


@pytest.mark.parametrize(
    ("text", "number", "sentence"),
    [
        ("vsock:any:80", errno.EACCES, "vsock port 80 is below 1024 and needs privileges (CAP_NET_BIND_SERVICE)"),
        ("vsock:any:80", errno.EADDRINUSE, "vsock port 80 is taken by another program"),
        ("vsock:7:80", errno.EADDRNOTAVAIL, "CID 7 is not this machine's; listen on vsock:any:80"),
        ("127.0.0.1:80", errno.EACCES, "port 80 needs privileges; take one from 1024 up"),
        ("unix:/s", errno.EACCES, "permission denied; listening needs write permission on the directory"),
    ],
)
def test_each_errno_of_listening_has_its_sentence(
    text: str, number: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/vsock")
    error = sockets.listen_error(parse_address(text), OSError(number, os.strerror(number)))
    assert str(error) == f"cannot listen on {text if text[0] not in '1' else 'ipv4:' + text}: {sentence}"


@pytest.mark.parametrize(
    "address",
    [parse_address(text) for text in ("h:1", "ipv4:1.1.1.1:1,2.2.2.2:2", "unix:s", "vsock:3:1", "hvsock:s:1")],
    ids=str,
)
def test_every_errno_on_every_transport_is_one_printable_sentence(address: Address) -> None:
    for number in errno.errorcode:
        for make in (sockets.connect_error, sockets.listen_error):
            text = str(make(address, OSError(number, os.strerror(number))))
            assert text.isprintable()
            assert "{" not in text
            assert str(address) in text


def test_an_error_of_a_link_keeps_its_errno_and_a_transport_error_stays_as_it_is() -> None:
    error = sockets.lost_error(Peer("ipv4:10.0.0.1:1"), ConnectionResetError(errno.ECONNRESET, "x"))
    assert str(error) == "lost ipv4:10.0.0.1:1: the peer reset the connection"
    assert error.errno == errno.ECONNRESET
    kept = TransportError("said before")
    assert sockets.lost_error(Peer("ipv4:10.0.0.1:1"), kept) is kept
