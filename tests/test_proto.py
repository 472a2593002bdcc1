"""What is generated in the repository is what `make proto` generates."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire.generate.compiler import generate

pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, which this interpreter has no wheel of")

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("sources", "committed"),
    [("proto", "proto"), ("wire/standard/protos", "wire/standard/generated")],
)
def test_generated_files_are_up_to_date(sources: str, committed: str, tmp_path: Path) -> None:
    protos = sorted((ROOT / sources).rglob("*.proto"))
    made = {path.relative_to(tmp_path) for path in generate(protos, tmp_path, include=[ROOT / sources])}
    for file in made:
        assert (ROOT / committed / file).read_text() == (tmp_path / file).read_text(), f"{file}: run `make proto`"
    assert made == {
        path.relative_to(ROOT / committed) for path in (ROOT / committed).rglob("*") if path.suffix in {".py", ".typed"}
    }
