"""Standing in for another package: the ways in, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if not find_spec("multidict"):
    pytest.skip("multidict is not installed", allow_module_level=True)


def run(*arguments: str, directory: Path | None = None) -> tuple[int, str]:
    """Exit status, and what was printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        env=dict(os.environ, PYTHONPATH=os.getcwd()),
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_package_can_be_imported_under_its_own_name() -> None:
    status, said = run("-c", "import wire.grpclib as grpclib, sys; print(grpclib.Status.OK, 'grpclib' in sys.modules)")
    assert (status, said) == (0, "Status.OK False\n")


def test_install_gives_the_same_modules_under_both_names() -> None:
    status, said = run(
        "-c",
        "import wire.grpclib; wire.grpclib.install(); wire.grpclib.install()\n"
        "import grpclib.client, grpclib.health.service, wire.grpclib.client\n"
        "from grpclib.health import v1\n"
        "print(grpclib is wire.grpclib, grpclib.client is wire.grpclib.client, v1.__spec__.name)\n"
        "print(grpclib.GRPCError.__module__, grpclib.client.Channel.__module__)\n"
        "import pickle; print(pickle.loads(pickle.dumps(grpclib.GRPCError(grpclib.Status.OK))).status)\n",
    )
    assert (status, said.splitlines()) == (
        0,
        ["True True wire.grpclib.health.v1", "grpclib.exceptions grpclib.client", "Status.OK"],
    )


def test_a_module_that_is_not_there_is_named_as_it_was_asked_for() -> None:
    status, said = run("-c", "import wire.grpclib; wire.grpclib.install(); import grpclib.nothing")
    assert status == 1
    assert said.splitlines()[-1] == "ModuleNotFoundError: No module named 'grpclib.nothing'"


def test_installing_late_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grpclib.py").touch()
    status, said = run("-c", "import grpclib, wire.grpclib; wire.grpclib.install()", directory=tmp_path)
    assert status == 1
    assert said.splitlines()[-1] == (
        "wire.errors.UsageError: grpclib was imported already; call wire.grpclib.install() before anything imports it"
    )


def test_a_script_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import grpclib\n")
    (tmp_path / "script.py").write_text(
        "import sys, beside\nprint(__name__, sys.argv[1:], sys.argv[0] == __file__, beside.grpclib.__name__)\n"
    )
    status, said = run("-m", "wire.grpclib", str(tmp_path / "script.py"), "-m", "b")
    assert (status, said) == (0, "__main__ ['-m', 'b'] True wire.grpclib\n")


SCRIPT = """
import inspect, pickle, sys, traceback
class Here: pass
def fails(): raise ValueError
def line(): return inspect.getsource(fails).strip()
print(__name__, __file__, sys.argv, __package__, __spec__, sys.path[0], sys.modules["__main__"].Here is Here)
print(type(pickle.loads(pickle.dumps(Here()))) is Here, line())
try: fails()
except ValueError as error: print(traceback.extract_tb(error.__traceback__)[0].filename)
fails()
"""


def test_what_a_script_sees_of_itself_is_what_python_shows_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    expected = run("script.py", "a", directory=tmp_path)
    assert expected[0] == 1
    assert (
        run("-m", "wire.grpclib", "script.py", "a", directory=tmp_path)[1].splitlines()[:3]
        == expected[1].splitlines()[:3]
    )


def test_a_directory_with_a_main_runs(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import sys, grpclib\nprint(__name__, sys.argv[1:], grpclib.__name__)\n")
    assert run("-m", "wire.grpclib", str(tmp_path), "a") == (0, "__main__ ['a'] wire.grpclib\n")


def test_a_module_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("import sys, grpclib\nprint(__name__, sys.argv[1:], grpclib.__name__)\n")
    status, said = run("-m", "wire.grpclib", "-m", "module", "a", directory=tmp_path)
    assert (status, said) == (0, "__main__ ['a'] wire.grpclib\n")


@pytest.mark.parametrize(("arguments", "expected"), [((), 2), (("-m",), 2), (("-x",), 2), (("--help",), 0)])
def test_no_program_gives_the_usage(arguments: tuple[str, ...], expected: int) -> None:
    status, said = run("-m", "wire.grpclib", *arguments)
    assert status == expected
    assert said.startswith("usage: python -m wire.grpclib SCRIPT ARGS…\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nosuch.py",), "there is no file nosuch.py"),
        (("tests",), "the directory tests has no __main__.py"),
        (("-m", "nosuch"), "there is no module nosuch that can be run"),
        (("-m", "tests.nosuch"), "there is no module tests.nosuch that can be run"),
        (("-m", "tests"), "there is no module tests that can be run"),
    ],
)
def test_a_program_that_is_not_there_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert run("-m", "wire.grpclib", *arguments) == (2, f"python -m wire.grpclib: {sentence}\n")


def test_grpc_is_ours_and_its_classes_say_where_grpcio_has_them() -> None:
    status, said = run(
        "-c",
        "import wire.grpcio; wire.grpcio.install(); wire.grpcio.install()\n"
        "import grpc, grpc.aio\n"
        "print(grpc is wire.grpcio, grpc.aio is wire.grpcio.aio)\n"
        "print(grpc.StatusCode.__module__, grpc.RpcError.__module__, grpc.aio.UsageError.__module__)\n"
        "print(grpc.aio.AioRpcError.__module__, type(grpc.insecure_channel('127.0.0.1:1')).__module__)\n",
    )
    assert (status, said.splitlines()) == (
        0,
        ["True True", "grpc grpc grpc._cython.cygrpc", "grpc.aio._call grpc._channel"],
    )


def test_what_is_no_part_of_grpcios_interface_is_said_to_be_missing() -> None:
    status, said = run("-c", "import wire.grpcio; wire.grpcio.install(); import grpc._nothing")
    assert status == 1
    assert said.splitlines()[-1] == (
        "ModuleNotFoundError: wire has no grpc._nothing, which is no part of grpcio's public interface"
    )


def test_a_program_for_grpcio_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys, grpc\nprint(__name__, sys.argv[1:], grpc.__name__)\n")
    status, said = run("-m", "wire.grpcio", str(tmp_path / "script.py"), "-m", "b")
    assert (status, said) == (0, "__main__ ['-m', 'b'] wire.grpcio\n")
