"""bin.client prints what a pipe can take, and verifies every algorithm's signature against a running bin.server."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import wire
from bin import client
from proto.crypto.v1 import Algorithm
from services.algorithms import RULES
from tests.bin.programs import ServerProcess

Output = Callable[..., Any]


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with ServerProcess("--listen", "127.0.0.1:0") as program:
        yield program.address


@pytest.fixture
def output(target: str, capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., bytes]:
    """What the client writes to stdout, given its arguments."""

    def run(*arguments: str) -> bytes:
        client.main(["--target", target, *arguments])
        return capsysbinary.readouterr().out

    return run


def test_text_is_echoed_as_a_line(output: Output) -> None:
    assert output("echo", "grüße") == "grüße\n".encode()


def test_file_is_echoed_byte_for_byte(output: Output, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x00\xff no newline")
    assert output("echo", "--file", f"{tmp_path}/f") == b"\x00\xff no newline"


def test_standard_input_is_echoed_byte_for_byte(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\x00\xff")))
    assert output("echo", "-") == b"\x00\xff"


def test_json_holds_bytes_in_base64(output: Output) -> None:
    assert json.loads(output("--json", "echo", "hello")) == {"payload": "aGVsbG8="}


@pytest.mark.parametrize("algorithm", RULES, ids=lambda each: each.name)
@pytest.mark.parametrize("prehash", [(), ("--prehash",)], ids=["whole", "prehash"])
def test_every_algorithm_is_verified(output: Output, algorithm: Algorithm, prehash: tuple[str, ...]) -> None:
    if prehash and RULES[algorithm].hash is None:
        pytest.skip("takes no digest")
    key = RULES[algorithm].key_type.name
    name = algorithm.name
    assert key
    assert name
    flags = ("--key", key.lower(), "--algorithm", name.lower().replace("_", "-"), "--verify", "--json", *prehash)
    reply = json.loads(output("sign", "data", *flags))
    assert reply["verified"] is True
    assert base64.b64decode(reply["signature"])
    assert re.fullmatch("[0-9a-f]{32}", reply["key_id"])


@pytest.mark.parametrize("key", ["rsa", "p256", "p384", "ed25519"])
def test_each_key_has_an_algorithm_without_asking(output: Output, key: str) -> None:
    assert base64.b64decode(output("sign", "--key", key, "data"))


def test_signature_that_does_not_verify_is_an_error(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "verify", lambda *args, **kwargs: False)
    with pytest.raises(client.Failure, match="does not verify"):
        output("sign", "--key", "p256", "data", "--verify")


def test_signature_goes_to_a_file_as_bytes(output: Output, tmp_path: Path) -> None:
    assert output("sign", "--key", "ed25519", "data", "--out", f"{tmp_path}/sig") == b""
    assert len((tmp_path / "sig").read_bytes()) == 64


def test_a_file_that_no_message_holds_is_refused_before_it_is_read(output: Output, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(wire.WireError, match=r"huge is over 1 GiB, which is too long for a message$"):
        output("echo", "--file", f"{tmp_path}/huge")
    with pytest.raises(wire.WireError, match=r"sign --prehash sends the digest of it only$"):
        output("sign", "--key", "p256", "--file", f"{tmp_path}/huge")


def test_a_result_that_cannot_be_written_is_refused_before_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        client.main(["--target", "127.0.0.1:1", "sign", "--key", "p256", "x", "--out", "/nonexistent/x"])
    assert caught.value.code == 2
    assert "--out: cannot write '/nonexistent/x': No such file or directory" in capsys.readouterr().err


def test_public_key_is_pem(output: Output) -> None:
    assert load_pem_public_key(output("public-key", "--key", "p384"))
    assert json.loads(output("public-key", "--key", "p384", "--json")).keys() == {"der", "pem", "key_id"}


def test_flags_may_stand_before_and_behind_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(wire, "run", lambda function, args, *more, loop: seen.append(args))
    client.main(["--timeout", "3", "--metadata", "a=1", "echo", "--metadata", "b=2", "x", "--target", "unix:s"])
    [args] = seen
    assert (args.timeout, args.target, args.json) == (3.0, "unix:s", False)
    assert args.metadata == [("a", "1"), ("b", "2")]


def test_refused_connection_is_an_rpc_error_that_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(wire.RpcError, match="nothing") as caught:
        client.main(["--target", f"unix:{tmp_path}/nothing", "echo", "x"])
    assert caught.value.code == wire.StatusCode.UNAVAILABLE


def test_status_of_the_server_is_the_error(output: Output) -> None:
    with pytest.raises(wire.RpcError, match="needs a key of type RSA") as caught:
        output("sign", "--key", "p256", "--algorithm", "rsa-pss-sha256", "x")
    assert caught.value.code == wire.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["echo"],
        ["echo", "text", "--file", "/dev/null"],
        ["echo", "--file", "/nonexistent"],
        ["echo", "text", "--target", "nowhere"],
        ["echo", "text", "--timeout", "0"],
        ["echo", "text", "--metadata", "novalue"],
        ["--tls-cert", "/dev/null", "echo", "text"],
        ["sign", "text"],
        ["sign", "--key", "dsa", "text"],
        ["sign", "--key", "rsa", "--algorithm", "md5", "text"],
    ],
    ids=" ".join,
)
def test_bad_command_line_is_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        client.main(arguments)
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.match(r"bin\.client.*: .* \(see bin\.client.* --help\)$", line)
