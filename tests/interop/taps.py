"""bin.tap between grpc-go's client and a wire server: every case passes through it, and its trace finds no fault.

A suite for `run`. Imports `suites`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop import tools
from tests.interop.suites import GO_CLIENT_CASES, Result, Setting, go_failure, wire_server


def tap(setting: Setting) -> Iterator[Result]:
    """With TLS, it ends the client's and begins its own to the server."""
    client = tools.grpc_go_client()
    with tempfile.TemporaryDirectory() as folder, wire_server(setting) as server:
        path = Path(folder) / "trace.jsonl"
        port = tools.free_port()
        command = [sys.executable, "-m", "bin.tap", "--listen", f"127.0.0.1:{port}"]
        command += ["--target", f"127.0.0.1:{server.port()}", "--trace-file", str(path), "--log-level", "error"]
        call = [client, "-server_host=127.0.0.1", f"-server_port={port}"]
        if setting.link == "tls":
            certificates = setting.certificates
            command += ["--tls-cert", str(certificates.server), "--tls-key", str(certificates.server_key)]
            command += ["--target-tls-ca", str(certificates.ca)]
            call += ["-use_tls", "-use_test_ca", f"-ca_file={certificates.ca}"]
        with tools.running(command, asked=False) as process:
            process.listens(port)
            for case in GO_CLIENT_CASES:
                yield Result(case, go_failure([*call, f"-test_case={case}"]))
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    yield Result("trace without faults", _fault(records))
    calls = sum(record["kind"] == "CALL" for record in records)
    yield Result(f"{calls} calls told", None if calls > len(GO_CLIENT_CASES) else "these are too few")


def _fault(records: list[dict[str, Any]]) -> str | None:
    """What the trace says is wrong."""
    for record in records:
        problems = record.get("problems", []) if record["kind"] != "RAW" else [record.get("problem", "raw bytes")]
        problems += [each["problem"] for each in record.get("messages", []) if "problem" in each]
        for problem in problems:
            if problem != "the stream is not open":  # DATA that was on its way when the stream was reset
                return f"{record['kind']} of stream {record.get('stream', 0)}: {problem}"
    return None
