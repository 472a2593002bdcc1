"""What a measurement was taken on. Imports of wire its version."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import wire


def describe_machine() -> dict[str, str]:
    """Processor, cores that this process may use, kernel, interpreter, and version of wire: name → text."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "wire": wire.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
