"""What bin.bench calls: a method of Echo or Crypto, always with the same request. Goes to the processes that call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import wire
from proto.crypto.v1 import SignRequest
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceStub
from wire.programs.load import Exchange, NewExchange


@dataclass(frozen=True, slots=True)
class Echo:
    """Unary echoes. `timeout_s`: the deadline of each."""

    request: EchoRequest
    timeout_s: float | None

    @property
    def services(self) -> Sequence[wire.Service]:
        return (EchoServiceStub.service,)

    def exchanges(self, channel: wire.Channel) -> NewExchange:
        echo = partial(EchoServiceStub(channel).echo, self.request, timeout=self.timeout_s)
        return lambda: echo


@dataclass(frozen=True, slots=True)
class EchoStream:
    """Echoes on streams that stay open, one for each caller."""

    request: EchoRequest

    @property
    def services(self) -> Sequence[wire.Service]:
        return (EchoServiceStub.service,)

    def exchanges(self, channel: wire.Channel) -> NewExchange:
        return partial(_stream_exchange, EchoServiceStub(channel), self.request)


@dataclass(frozen=True, slots=True)
class Sign:
    """Signatures. `timeout_s`: the deadline of each call."""

    request: SignRequest
    timeout_s: float | None

    @property
    def services(self) -> Sequence[wire.Service]:
        return (CryptoServiceStub.service,)

    def exchanges(self, channel: wire.Channel) -> NewExchange:
        sign = partial(CryptoServiceStub(channel).sign, self.request, timeout=self.timeout_s)
        return lambda: sign


def _stream_exchange(stub: EchoServiceStub, request: EchoRequest) -> Exchange:
    """One message there and back, on a stream that stays open, and is opened again when it has ended."""
    call: wire.StreamStreamCall[EchoRequest, EchoResponse] | None = None

    async def exchange() -> EchoResponse:
        nonlocal call
        if call is None:
            call = stub.echo_stream()
        try:
            await call.send(request)
            return await anext(aiter(call))
        except StopAsyncIteration:
            call = None
            raise wire.RpcError(wire.StatusCode.UNKNOWN, "the server ended the stream") from None
        except wire.RpcError:
            call = None
            raise

    return exchange
