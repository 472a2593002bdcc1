"""`make proto`: the betterproto2 message classes of every .proto file in this folder.

Messages only: stubs and servicers are written against `wire.service`. Needs the `dev` extra, which brings protoc.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent


def generate(target: Path) -> list[Path]:
    """Write the generated packages under `target`; returns the files, relative to it. Raises `CalledProcessError`."""
    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    target.mkdir(parents=True, exist_ok=True)
    # The plugin and the formatter that it calls are scripts beside this interpreter, which need not be on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={SOURCES}"),
            f"--python_betterproto2_out={target.resolve()}",
            "--python_betterproto2_opt=client_generation=none",
            *protos,
        ],
        check=True,
        cwd=SOURCES.parent,  # the formatter reads the project's line length there
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    return sorted(path.relative_to(target) for path in target.rglob("*.py") if path != Path(__file__))


if __name__ == "__main__":
    argparse.ArgumentParser(prog="proto.generate", description=(__doc__ or "").partition("\n")[0]).parse_args()
    try:
        generate(SOURCES)
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr.strip())
