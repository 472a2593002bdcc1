"""The documents are true: their Python runs, their links lead somewhere, their site can be built."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def _runnable(page: str) -> list[str]:
    """The Python of a page, but for blocks whose first line says that it is not run."""
    blocks = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    return [block for block in blocks if "not run here" not in block.partition("\n")[0]]


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/") and _runnable(page)])
def test_the_python_of_a_page_runs(page: str) -> None:
    if "fastapi" in "".join(_runnable(page)):
        pytest.importorskip("fastapi", reason="there is no fastapi for this interpreter")
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", "\n".join(_runnable(page))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = folder / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page}: {target}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the extra docs is not installed")
    pytest.importorskip("mkdocstrings", reason="the extra docs is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "api" / "index.html").stat().st_size > 50_000


@pytest.mark.skipif(os.name == "nt", reason="the program is stopped by a signal")
def test_the_tutorial_leads_to_a_service_that_is_tested_and_called(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```(?:proto|python)\n(?://|#) (\w+\.\w+)\b[^\n]*\n(.*?)```", text, re.DOTALL):
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write(code.replace("127.0.0.1:50051", f"unix:{tmp_path}/kv.sock"))
    python = partial(
        subprocess.run, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    made = python([sys.executable, "-m", "wire.generate", "--out", "pb", "kv.proto"])
    assert made.returncode == 0, made.stderr
    tested = python([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_store.py"])
    assert "1 passed" in tested.stdout, tested.stdout

    command = [sys.executable, "store.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert "kv.sock" in server.stdout.readline()
            assert python([sys.executable, "call.py"]).stdout == "b'1'\n"
            again = python(command)
            assert (again.returncode, again.stdout) == (1, "")
            assert re.fullmatch(r"cannot listen on unix:.*kv\.sock: .*\n", again.stderr)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
