"""Fixtures of the transport tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.certificates import Certificates, make_certificates
from tests.transport.harness import LINK_KINDS, LOOPS, TransportKind, Transports, run_transports

RunTransports = Callable[[Callable[[Transports], Awaitable[None]]], None]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for the name of a UNIX socket."""
    with TemporaryDirectory(prefix="wire") as directory:
        yield Path(directory)


@pytest.fixture(params=LINK_KINDS, ids=str)
def on_transports(
    request: pytest.FixtureRequest, certificates: Certificates, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunTransports:
    """Runs an async test once for each kind of transport."""
    kind: TransportKind = request.param
    return lambda test: run_transports(kind, certificates, short_path, monkeypatch, test)
