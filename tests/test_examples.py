"""The examples do what their READMEs say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KV = ROOT / "examples" / "kv"

pytest.importorskip("grpc_tools", reason="the generator's extra is not installed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds: nothing else of this repository can be imported from it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "wire", source / "wire", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*command, str(source)], check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


@pytest.fixture
def kv(tmp_path: Path) -> Path:
    shutil.copytree(KV, tmp_path / "kv", ignore=shutil.ignore_patterns("pb", "__pycache__"))
    return tmp_path / "kv"


def _run(folder: Path, installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "MYPYPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_from_a_proto_file_to_a_tested_and_checked_service(kv: Path, installed: Path) -> None:
    commands = re.findall(r"```sh\n(.*?)```", (KV / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0].splitlines()
    assert len(commands) == 3
    assert commands[1] == (
        "python -m wire.generate --out pb kv.proto && mypy --strict store.py test_store.py && pytest"
    )
    _run(kv, installed, "wire.generate", "--out", "pb", "kv.proto")
    if shutil.which("mypy", path=str(Path(sys.executable).parent)):
        assert "Success" in _run(kv, installed, "mypy", "--strict", "store.py", "test_store.py")
    assert " passed" in _run(kv, installed, "pytest", "-p", "no:cacheprovider")


def test_the_service_serves(kv: Path, installed: Path) -> None:
    _run(kv, installed, "wire.generate", "--quiet", "--out", "pb", "kv.proto")
    serving = subprocess.Popen(
        [sys.executable, "store.py", "127.0.0.1:0"],
        cwd=kv, env={**os.environ, "PYTHONPATH": str(installed)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert serving.stdout is not None
        address = serving.stdout.readline().split()[-1]
        client = (
            "import sys, wire\n"
            "from pb.kv.v1 import Entry, GetRequest\n"
            "from pb.kv.v1.kv_wire import KeyValueStub\n"
            "async def main():\n"
            "    async with wire.Channel(sys.argv[1]) as channel:\n"
            "        store = KeyValueStub(channel)\n"
            "        await store.put_all([Entry(key='a', value=b'1')])\n"
            "        print((await store.get(GetRequest(key='a'))).value)\n"
            "wire.run(main)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", client, address],
            cwd=kv, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, timeout=60,
            check=True,
        )  # fmt: skip
        assert done.stdout == "b'1'\n"
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
