"""tests/codec/generated is what betterproto2's compiler makes of tests/codec/protos today."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMMAND = [
    *(
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{HERE / 'protos'}",
        "--python_betterproto2_opt=client_generation=none",
    ),
    "kinds.proto",
]


def test_the_generated_classes_are_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("betterproto2_compiler")
    pytest.importorskip("grpc_tools")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [*COMMAND, f"--python_betterproto2_out={tmp_path}"],
        check=True,
        capture_output=True,
        cwd=HERE,  # the compiler's formatter takes the line length from the project
        env={**os.environ, "PATH": path},
    )
    committed = (HERE / "generated/kinds/__init__.py").read_text()
    assert (tmp_path / "kinds/__init__.py").read_text() == committed, "run the command in tests/codec/protos/README.md"
