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

PACKAGES = Path(__file__).parent / "packages"
NEEDED = {
    "api_core": ("google.api_core", "google-api-core"),
    "channelz": ("grpc_channelz", "grpcio-channelz"),
    "etcd": ("aetcd", "aetcd"),
    "health": ("grpc_health", "grpcio-health-checking"),
    "interceptor": ("grpc_interceptor", "grpc-interceptor"),
    "otel": ("opentelemetry.instrumentation.grpc", "opentelemetry-instrumentation-grpc"),
    "otlp": ("opentelemetry.exporter.otlp.proto.grpc", "opentelemetry-exporter-otlp-proto-grpc"),
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


def said(*arguments: str) -> str:
    environment = dict(os.environ, PYTHONPATH=os.getcwd())
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if not CORE_LOG.match(line))


@pytest.mark.parametrize("name", NEEDED)
def test_a_package_does_the_same(name: str) -> None:
    for module, package in (("grpc", "grpcio"), NEEDED[name]):
        if not installed(module):
            pytest.skip(f"{package} is not installed")
    program = str(PACKAGES / f"{name}.py")
    expected = said(program)
    assert expected
    assert said("-m", "wire.grpcio", program) == expected
