"""Who is measured, and by which command."""

from __future__ import annotations

import pytest

from benchmarks import contenders
from benchmarks.processes import UnavailableError, python


def test_an_unchanged_program_runs_on_wire_by_its_name() -> None:
    command = contenders._peer("serve", f"grpcio-asyncio{contenders.ON_WIRE}")
    assert command == python("-m", "wire.grpcio", "-m", "benchmarks.peers", "serve", "grpcio-asyncio")
    command = contenders._peer("call", f"grpclib{contenders.ON_WIRE}", "--target", "x")
    assert command == python("-m", "wire.grpclib", "-m", "benchmarks.peers", "call", "grpclib", "--target", "x")


def test_ours_needs_no_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "find_spec", lambda name: None)
    assert contenders._peer("serve", "wire-tuned") == python("-m", "benchmarks.peers", "serve", "wire-tuned")


@pytest.mark.parametrize(("name", "package"), [("grpcio-8-threads", "grpcio"), ("grpclib", "grpclib")])
def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr(contenders, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=f"^{package} is not installed"):
        contenders._peer("serve", name)
