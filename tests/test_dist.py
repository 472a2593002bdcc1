"""What is built for others: the source distribution and the wheel hold what they should, and install."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import wire
from tests.bin.programs import ServerProcess


def test_the_wheel_holds_wire_and_says_what_it_is(distributions: Path) -> None:
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = Parser().parsestr(wheel.read(metadata).decode())
    assert {
        "wire/__init__.py",
        "wire/py.typed",
        "wire/standard/generated/py.typed",
        "wire/programs/report.css",
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {"wire", metadata.partition("/")[0]}
    assert described["Version"] == wire.__version__
    needed = {
        line.partition(">")[0].partition("~")[0] for line in described.get_all("Requires-Dist", []) if ";" not in line
    }
    assert needed == {"anyio", "betterproto2", "h2", "hpack"}


def test_the_source_distribution_can_be_built_from(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "wire/__init__.py", "wire/py.typed"} <= names


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_each_installs_in_a_bare_environment(distributions: Path, kind: str, tmp_path: Path) -> None:
    """Without its dependencies, which are not fetched here: what is installed is found, with its commands."""
    (path,) = distributions.glob(kind)
    site = _installed(tmp_path / "venv", path)
    assert (site / "wire" / "__init__.py").is_file()
    commands = {path.name for path in (tmp_path / "venv" / "bin").iterdir()}
    assert {"protoc-gen-wire", "wire-bench", "wire-client", "wire-server", "wire-tap"} <= commands
    if kind == "*.whl":
        _check_bench(tmp_path / "venv" / "bin" / "wire-bench", site)


def test_type_checkers_find_an_editable_install(distributions: Path, tmp_path: Path) -> None:
    """They follow paths and run no import hooks."""
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    checkout = tmp_path / path.name.removesuffix(".tar.gz")
    (pointer,) = _installed(tmp_path / "venv", "--editable", checkout).glob("__editable__*.pth")
    assert pointer.read_text().strip() == str(checkout)


def _installed(folder: Path, *what: str | Path) -> Path:
    """A new environment with this in it, and nothing else: where its packages are."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", *what],
        env={"PYTHONPATH": _setuptools(), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())


def _check_bench(program: Path, site: Path) -> None:
    """The command loads a server of another program, with its extra's packages, and writes the page of it."""
    for name in ("hdrh", "matplotlib", "google.protobuf"):
        pytest.importorskip(name)
    (site / "extra.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # after what is installed there
    page = site / "page.html"
    with ServerProcess("--listen", "127.0.0.1:0", "--rsa-bits", "none") as server:
        what = ["--target", server.address, "--call", "echo.v1.EchoService/Echo", "--data", '{"payload": "eA=="}']
        done = subprocess.run(
            [program, *what, "--requests", "20", "--warmup", "0", "--report", page],
            capture_output=True, text=True, check=False, timeout=60, cwd=site.parent,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 calls in" in done.stdout
    assert "Latency by percentile" in page.read_text()


def _setuptools() -> str:
    """The folder that the build backend is imported from."""
    spec = importlib.util.find_spec("setuptools")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent.parent)
