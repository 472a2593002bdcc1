"""The examples do what their READMEs say."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wire

ROOT = Path(__file__).parent.parent
KV = ROOT / "examples" / "kv"
LOCAL = "127.0.0.1:0"
AGENT = ROOT / "examples" / "guest_agent"

pytest.importorskip("grpc_tools", reason="the generator's extra is not installed")


@pytest.fixture(scope="module")
def installed(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds: nothing else of this repository can be imported from it."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = distributions.glob("*.whl")
    shutil.unpack_archive(wheel, folder, "zip")
    return folder


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
        serving.communicate(timeout=60)


@pytest.fixture
def agent(tmp_path: Path, installed: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[bytes]]]:
    """A running agent; calling it runs host.py with arguments."""
    folder = tmp_path / "agent"
    shutil.copytree(AGENT, folder, ignore=shutil.ignore_patterns("pb", "__pycache__"))
    _run(folder, installed, "wire.generate", "--quiet", "--out", "pb", "agent.proto")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    serving = subprocess.Popen(
        [sys.executable, "agent.py", "127.0.0.1:0"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        address = serving.stdout.readline().split()[-1]

        def host(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
            command = [sys.executable, "host.py", address, *arguments]
            return subprocess.run(
                command, cwd=folder, env=environment, input=data, capture_output=True, timeout=60, check=False
            )

        yield host
    finally:
        serving.terminate()
        serving.communicate(timeout=60)


def test_the_guest_agent_runs_commands_and_carries_files(
    agent: Callable[..., subprocess.CompletedProcess[bytes]], tmp_path: Path
) -> None:
    done = agent("run", "--", "sh", "-c", "cat; echo no >&2; exit 3", data=b"input")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"input", b"no\n")
    killed = agent("run", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 128 + 9
    missing = agent("run", "--", "/nonexistent/command")
    assert missing.returncode == 1
    assert missing.stderr.decode().startswith("FAILED_PRECONDITION: cannot run '/nonexistent/command'")
    source, remote, back = (tmp_path / name for name in ("source", "remote", "back"))
    source.write_bytes(os.urandom(200_000))
    source.chmod(0o640)
    assert agent("put", str(source), str(remote)).stdout == b"200000 bytes\n"
    assert remote.stat().st_mode & 0o777 == 0o640
    assert agent("get", str(remote), str(back)).returncode == 0
    assert back.read_bytes() == source.read_bytes()
    assert b"NOT_FOUND" in agent("get", "/nonexistent/file", str(back)).stderr
    assert b"SERVING" in agent("health").stdout


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("json_codec", "{'sum': 6}\n[{'number': 0}, {'number': 1}, {'number': 2}]\n"),
        (
            "sans_io",
            "server: HEADERS on stream 1: {b':method': b'POST', b':scheme': b'http', b':path': b'/a.Service/Method'}\n"
            "server: DATA on stream 1: b'hello'\n"
            "client: HEADERS on stream 1: {b':status': b'200'}\n"
            "client: DATA on stream 1: b'world'\n"
            "client: trailers on stream 1: {b'grpc-status': b'0'}\n",
        ),
        ("own_transport", "b'HELLO'\n"),
        ("under_trio", "the server stopped ticking\nthe client has had enough\n"),
    ],
)
def test_an_example_prints_what_it_is_to_show(name: str, printed: str) -> None:
    if name == "under_trio":
        pytest.importorskip("trio")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == sorted(printed.splitlines()), done.stderr
    assert done.stderr == ""


def test_fastapi_and_grpc_share_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    monkeypatch.setenv("GRPC_ADDRESS", "127.0.0.1:0")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import beside_fastapi  # type: ignore[import-not-found]
    from fastapi.testclient import TestClient

    with TestClient(beside_fastapi.app) as http:
        assert http.get("/greeted").json() == {"greeted": 0}

        async def greet() -> None:
            async with wire.Channel(beside_fastapi.app.state.grpc_address) as channel:
                assert await beside_fastapi.GreeterStub(channel).greet(b"you") == b"hello, you"

        wire.run(greet)
        assert http.get("/greeted").json() == {"greeted": 1}


def test_the_signer_signs_digests_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import enclave_signer  # type: ignore[import-not-found]

    async def main() -> None:
        async with (
            wire.Server([enclave_signer.Signer()]) as server,
            wire.Channel(await server.listen(LOCAL)) as channel,
        ):
            signer = enclave_signer.SignerStub(channel)
            key = serialization.load_der_public_key(await signer.public_key(b""))
            digest = hashlib.sha256(b"to be signed").digest()
            key.verify(await signer.sign(digest), digest, enclave_signer._ALGORITHM)
            with pytest.raises(wire.RpcError, match="a SHA-256 digest has 32 bytes, and not 3"):
                await signer.sign(b"abc")

    wire.run(main)
