"""Packages published for grpcio, and clients of real systems, unchanged: a program of each says on wire what it says on
grpcio."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import wire

PACKAGES = Path(__file__).parent / "packages"
NEEDED = {
    "api_core": ("google.api_core", "google-api-core"),
    "channelz": ("grpc_channelz", "grpcio-channelz"),
    "etcd": ("aetcd", "aetcd"),
    "health": ("grpc_health", "grpcio-health-checking"),
    "interceptor": ("grpc_interceptor", "grpc-interceptor"),
    "otel": ("opentelemetry.instrumentation.grpc", "opentelemetry-instrumentation-grpc"),
    "otlp": ("opentelemetry.exporter.otlp.proto.grpc", "opentelemetry-exporter-otlp-proto-grpc"),
    "pubsub": ("google.cloud.pubsub_v1", "google-cloud-pubsub"),
    "qdrant": ("qdrant_client", "qdrant-client"),
    "reflection": ("grpc_reflection", "grpcio-reflection"),
    "spicedb": ("authzed", "authzed"),
    "status": ("grpc_status", "grpcio-status"),
}
CORE_LOG = re.compile(r"^(WARNING: All log messages|[IWE][0-9]{4} )")


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def said(directory: Path, *arguments: str) -> str:
    """`directory`: where wire is, alone: packages of others have the names of folders of this project."""
    environment = dict(os.environ, PYTHONPATH=str(directory))
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if not CORE_LOG.match(line))


@pytest.mark.parametrize("name", NEEDED)
def test_a_package_does_the_same(name: str, tmp_path: Path) -> None:
    for module, package in (("grpc", "grpcio"), NEEDED[name]):
        if not installed(module):
            pytest.skip(f"{package} is not installed")
    (tmp_path / "wire").symlink_to(Path(wire.__file__).parent)
    program = str(PACKAGES / f"{name}.py")
    expected = said(tmp_path, program)
    assert expected
    assert said(tmp_path, "-m", "wire.grpcio", program) == expected
