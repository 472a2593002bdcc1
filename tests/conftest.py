"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.certificates import Certificates, make_certificates
from tests.clocks import clock
from tests.distributions import build_distributions
from tests.support import ENGINES, LOOPS
from wire.config import EngineName
from wire.transport.runtime import LoopName

__all__ = ["certificates", "clock", "collector", "distributions", "engine", "loop"]


# Some hundred processes are started that import wire; each would compile it anew where no bytecode may be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_LONGEST_FIRST = (
    "tests/test_examples.py",
    "tests/dropin",
    "tests/test_dist.py",
    "tests/hostile",
    "tests/bin",
    "tests/interop",
    "tests/soak",
)
"""What workers that share the tests begin with: what takes longest, so that none is left alone with it at the end."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `-n auto` means: a worker for each core, and one as they often wait for the processes that they start; for
    tests of one file none, they run in this process."""
    if len(config.args) == 1 and ".py" in config.args[0]:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # PyPy has none
    return cores + 1


def _turn(item: pytest.Item) -> int:
    """When a test's file has its turn among the workers'."""
    prefixes = (turn for turn, prefix in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(prefix))
    return next(prefixes, len(_LONGEST_FIRST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that have uvloop as a parameter are skipped where it is not installed."""
    if find_spec("uvloop") is None:
        for item in items:
            if re.search(r"[\[-]uvloop[\]-]", item.name):
                item.add_marker(pytest.mark.skip(reason="uvloop is not installed"))
    if hasattr(config, "workerinput"):  # this is one of pytest-xdist's workers
        items.sort(key=_turn)


@pytest.fixture(scope="module", autouse=True)
def collector() -> None:
    """Tests that let the garbage collector run look at what they made, and not at all modules and tests as well."""
    if hasattr(gc, "freeze"):  # PyPy's collector has nothing like it
        gc.collect()
        gc.freeze()


# A busy machine is no defect.
settings.register_profile("wire", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wire")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> LoopName:
    name: LoopName = request.param
    return name


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def distributions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel of this checkout. They are built once, for all workers."""
    pytest.importorskip("build")
    folder = tmp_path_factory.getbasetemp()
    return build_distributions(folder.parent if hasattr(request.config, "workerinput") else folder)
