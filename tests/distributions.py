"""The source distribution and the wheel of this checkout, as `make dist` builds them."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent


def build_distributions(folder: Path) -> Path:
    """The folder below `folder` that holds both, once they are built there, by whichever process came first."""
    with (folder / "distributions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = folder / "distributions"
        if not built.exists():
            with TemporaryDirectory(dir=folder) as scratch:
                _build(Path(scratch, "source"), Path(scratch, "out"))
                Path(scratch, "out").rename(built)
    return built


def _build(source: Path, out: Path) -> None:
    """Build both into `out`, of a copy in `source`: setuptools leaves things beside what it builds."""
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "wire", source / "wire", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
