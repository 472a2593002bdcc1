"""Fixtures for all tests."""

from __future__ import annotations

import pytest

from tests.certificates import Certificates, make_certificates
from tests.support import ENGINES, LOOPS, clock
from wire.config import EngineName
from wire.transport.runtime import LoopName

__all__ = ["certificates", "clock", "engine", "loop"]


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
