"""wire-server serves what modules hold: a servicer, its class, or a function that makes some."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wire
from tests.bin.programs import ROOT, ServerProcess
from tests.support import ProbeStub
from wire.programs.server import ServerProgram

_MODULE = """
from contextlib import asynccontextmanager

from tests.support import Probe
from wire.standard import Health

it = Probe()


class Named(Probe):
    pass


async def later():
    return [Probe()]


@asynccontextmanager
async def opened():
    print("opened", flush=True)
    yield Probe()
    print("closed", flush=True)


def fails():
    raise RuntimeError("there is no database")


def other():
    return [1]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop_of_tests.py").write_text(_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # other processes run where `tests` is found
    return tmp_path


async def ask(address: str) -> tuple[bytes, set[str]]:
    from wire.standard.dynamic import ReflectedSchema

    async with wire.Channel(address) as channel:
        answer = await ProbeStub(channel).unary(b"x", timeout=30)
        return answer, set(await ReflectedSchema(channel).services())


@pytest.mark.parametrize(
    ("name", "flags"), [("it", ()), ("Named", ("--workers", "2")), ("later", ("--channelz",)), ("opened", ())]
)
def test_servicers_are_served_with_health_and_reflection(folder: Path, name: str, flags: tuple[str, ...]) -> None:
    pytest.importorskip("google.protobuf")
    command = (f"shop_of_tests:{name}", "--listen", f"unix:{folder}/s", *flags)
    with ServerProcess(*command, module="wire.programs.server", stdout=subprocess.PIPE) as server:
        answer, services = wire.run(ask, server.address)
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.stderr
    assert answer == b"x"
    assert "grpc.health.v1.Health" in services
    assert ("grpc.channelz.v1.Channelz" in services) == ("--channelz" in flags)
    assert server.stdout.split() == (["opened", "closed"] if name == "opened" else [])


def test_the_next_one_starts_beside_the_one_that_is_to_stop(folder: Path) -> None:
    pytest.importorskip("google.protobuf")
    command = ("shop_of_tests:it", "--no-reflection", "--reuse-port", "--listen")
    program = "wire.programs.server"
    with (
        ServerProcess(*command, "127.0.0.1:0", module=program) as old,
        ServerProcess(*command, old.address, module=program) as new,
    ):
        assert new.address == old.address
        assert old.end(signal.SIGTERM) == 0
        assert wire.run(_unary, new.address) == b"x"
        assert new.end(signal.SIGTERM) == 0


async def _unary(address: str) -> bytes:
    async with wire.Channel(address) as channel:
        return await ProbeStub(channel).unary(b"x", timeout=30)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop_of_tests:nothing", "shop_of_tests has no nothing"),
        ("json:JSONDecodr", "json has no JSONDecodr: did you mean JSONDecoder"),
        ("nowhere.at.all:it", "there is no module nowhere.at.all"),
        ("shop_of_tests:fails", r"shop_of_tests:fails\(\) failed: RuntimeError: there is no database"),
        ("shop_of_tests:other", "gives a int, which is no wire.Servicer"),
        ("shop_of_tests:__name__", "gives a str"),
    ],
)
def test_what_is_no_service_is_said_in_one_sentence(folder: Path, name: str, said: str) -> None:
    with pytest.raises(wire.ConfigurationError, match=said) as caught:
        ServerProgram().main([name, "--listen", f"unix:{folder}/s", "--loop", "asyncio"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("services", "said"), [([], "SERVICE is needed"), (["shop_of_tests"], "is not of the form MODULE:NAME")]
)
def test_services_are_needed(services: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ServerProgram().main(services)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_service_that_fails_ends_all_workers(folder: Path) -> None:
    command = [sys.executable, "-m", "wire.programs.server", "shop_of_tests:fails", "--workers", "2"]
    command += ["--listen", f"unix:{folder}/s"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "there is no database" in done.stderr
    assert "Traceback" not in done.stderr
