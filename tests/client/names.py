"""A name whose addresses a test says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from wire.errors import ConnectError
from wire.transport import connecting
from wire.transport.address import Address, parse_address
from wire.transport.contract import Candidate

_resolve = connecting.resolve

TARGET = "dns:///servers.example:1"


@dataclass(slots=True)
class Names:
    """`addresses`: what the name stands for, in gRPC's name syntax; none: it cannot be looked up. `looked_up`: how
    often it was."""

    addresses: list[str] = field(default_factory=list)
    looked_up: int = 0
    held: anyio.Event | None = None

    async def resolve(self, address: Address, timeout_s: float, *waits: Any) -> list[Candidate]:
        if str(address) != TARGET:
            return await _resolve(address, timeout_s, *waits)
        self.looked_up += 1
        if self.held is not None:
            await self.held.wait()
        if not self.addresses:
            raise ConnectError("there is no such name")
        return [each for one in self.addresses for each in await _resolve(parse_address(one), timeout_s, *waits)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr("wire.transport.connecting.resolve", names.resolve)
    return names
