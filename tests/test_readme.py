"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_embedding_example_runs_and_prints_what_is_claimed() -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert example.count("\n") <= 20
    printed = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert f"It prints `{printed.stdout.strip()}`" in README
    assert printed.stderr == ""


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_links_lead_to_files(path: str) -> None:
    assert (ROOT / path).exists()
