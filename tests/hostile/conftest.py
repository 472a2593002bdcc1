"""The rows measure a process by way of Linux's /proc, and CPython's memory."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "linux" and sys.implementation.name == "cpython" else ["test_*.py"]
