"""What the programs write of a call, wherever they write it, holds nothing that is secret: each output is searched for
one marker, which was sent as credentials, as a `-bin` value and as the payload of Sign."""

from __future__ import annotations

import base64
import json
import signal
from pathlib import Path

import pytest

from bin import bench, client
from tests.bin.programs import ServerProcess
from tests.inspect.test_secrets import MARKER, METADATA, found_in

pytest.importorskip("google.protobuf")
pytest.importorskip("hdrh.histogram")

_SIGN = json.dumps(
    {
        "keyType": "KEY_TYPE_P256",
        "algorithm": "ALGORITHM_ECDSA_P256_SHA256_ASN1",
        "data": base64.b64encode(MARKER.encode() * 5).decode(),
    }
)


def headers() -> list[str]:
    """As flags of the programs."""
    text = ((name, base64.b64encode(value).decode() if isinstance(value, bytes) else value) for name, value in METADATA)
    return [word for name, value in text for word in ("-H", f"{name}: {value}")]


def test_no_output_of_a_program_holds_a_secret(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    method = "crypto.v1.CryptoService/Sign"
    logged = ("--log-level", "debug", "--trace-file", str(tmp_path / "server.jsonl"))
    with ServerProcess("--listen", f"unix:{tmp_path}/s", "--rsa-bits", "none", *logged) as server:
        target = ("--target", server.address)
        for each in (("--trace",), ("--trace-file", str(tmp_path / "client.jsonl"))):
            assert client.main([*target, *headers(), *each, "call", "-v", method, _SIGN]) == 0
        files = ("--json", str(tmp_path / "bench.json"), "--report", str(tmp_path / "bench.html"))
        load = ("--requests", "5", "--warmup", "0", "--trace-file", str(tmp_path / "bench.jsonl"))
        assert bench.main([*target, *headers(), "--call", method, "--data", _SIGN, *load, *files]) == 0
        for flags in ([], ["--json"]):
            assert client.main([*target, *headers(), "top", "--interval", "0.1", *flags]) == 0
        server.end(signal.SIGTERM)
    shown = capfd.readouterr()
    outputs = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(outputs) == {"server.jsonl", "client.jsonl", "bench.json", "bench.html", "bench.jsonl"}
    outputs |= {"server": server.stderr.encode(), "out": shown.out.encode(), "err": shown.err.encode()}
    assert {name: found_in(output) for name, output in outputs.items() if found_in(output)} == {}
    for name in ("err", "server.jsonl", "client.jsonl", "bench.jsonl"):
        assert b"<masked" in outputs[name], name
    for name in ("bench.json", "bench.html", "out"):
        assert method.encode() in outputs[name] or b"connection from" in outputs[name], name
