"""Fixtures for all tests."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from tests.certificates import Certificates, make_certificates
from tests.clocks import clock
from tests.distributions import build_distributions
from tests.support import ENGINES, LOOPS
from wire.config import EngineName
from wire.transport.runtime import LoopName

__all__ = ["certificates", "clock", "distributions", "engine", "loop"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that have uvloop as a parameter are skipped where it is not installed."""
    if find_spec("uvloop") is None:
        for item in items:
            if re.search(r"[\[-]uvloop[\]-]", item.name):
                item.add_marker(pytest.mark.skip(reason="uvloop is not installed"))


settings.register_profile("wire", deadline=None)  # a busy machine is no defect
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
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel of this checkout."""
    pytest.importorskip("build")
    return build_distributions(tmp_path_factory.mktemp("distributions"))
