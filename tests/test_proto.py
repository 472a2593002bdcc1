"""The generated messages in the repository are those that `make proto` generates."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto.generate import SOURCES, generate

pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, which this interpreter has no wheel of")


def test_generated_messages_are_up_to_date(tmp_path: Path) -> None:
    files = generate(tmp_path)
    assert Path("echo/v1/__init__.py") in files
    for file in files:
        assert (SOURCES / file).read_text() == (tmp_path / file).read_text(), f"{file} is out of date: run `make proto`"


def test_nothing_generated_is_left_of_a_proto_that_is_gone(tmp_path: Path) -> None:
    ours = {Path("generate.py")}
    committed = {path.relative_to(SOURCES) for path in SOURCES.rglob("*.py")}
    assert committed - ours == set(generate(tmp_path))
