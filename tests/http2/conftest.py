"""Every test that asks for `server` or `client` runs on each engine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest

from tests.http2.rig import Rig

_MODULES = {"h2": "wire.http2.h2.engine", "tuned": "wire.http2.tuned.engine"}
MakeRig = Callable[..., Rig]


@pytest.fixture(params=list(_MODULES))
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if find_spec(_MODULES[name]) is None:
        pytest.skip(f"there is no {name} engine yet")
    return name


@pytest.fixture
def server(engine_name: str) -> MakeRig:
    """`server(**http2_config)` is an engine that serves, past the exchange of SETTINGS."""
    return lambda **config: Rig(engine_name, client=False, **config)


@pytest.fixture
def client(engine_name: str) -> MakeRig:
    return lambda **config: Rig(engine_name, client=True, **config)
