"""What a process tells by channelz, asked for from time to time: its servers, their connections, its channels.

In: a channel to a server that serves grpc.channelz.v1. Out: `Sample`s, of rows of figures; two of them make rates.
Imports the generated messages and stub of channelz.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

import wire
from wire.programs.logs import printable
from wire.standard.generated.grpc.channelz import v1
from wire.standard.generated.grpc.channelz.v1.channelz_wire import ChannelzStub

_AT_ONCE: Final = 32
"""Most questions that are open."""
_GRPC_CORE: Final = "chttp2 listener "
"""What gRPC's core library writes before an address that it listens on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A server, a connection or a channel. None: what is not known of it.

    `number`: the same at each asking. `open`: calls in flight. Windows are the connection's: what the server may send,
    and what its peer may. `held`: bytes that wait for a window or the socket. `received`, `sent`: bytes so far.
    """

    number: int
    name: str
    started: int
    failed: int
    open: int
    state: str = ""
    send_window: int | None = None
    receive_window: int | None = None
    held: int | None = None
    received: int | None = None
    sent: int | None = None
    round_trip_s: float | None = None
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """All at one time, `at_s` of the monotonic clock. `answer_s`: how long the first answer took, which is what a short
    call takes there. `asked`: calls that this took. `more`: connections that were not asked for."""

    at_s: float
    answer_s: float
    asked: int
    servers: Sequence[Row]
    connections: Sequence[Row]
    channels: Sequence[Row]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """Of a row since the sample before, a second. None: what is not known."""

    calls: float | None
    failed: float | None
    received: float | None
    sent: float | None


UNKNOWN: Final = Rates(None, None, None, None)
"""Of what there is one sample of."""


def rates_of(before: Sample, now: Sample) -> dict[int, Rates]:
    """By the rows' numbers. What was not there before had counted nothing."""
    earlier = {row.number: row for row in (*before.servers, *before.connections, *before.channels)}
    seconds = max(now.at_s - before.at_s, 1e-6)

    def rate(row: Row, count: Callable[[Row], int | None]) -> float | None:
        value, base = count(row), count(earlier[row.number]) if row.number in earlier else 0
        return None if value is None or base is None else max(0, value - base) / seconds

    return {
        row.number: Rates(
            rate(row, lambda each: each.started),
            rate(row, lambda each: each.failed),
            rate(row, lambda each: each.received),
            rate(row, lambda each: each.sent),
        )
        for row in (*now.servers, *now.connections, *now.channels)
    }


@dataclass(slots=True)
class Asker:
    """Asks a server, each call with `options` (timeout, metadata), and of each server for `most` connections."""

    channel: wire.Channel
    target: str
    options: dict[str, Any]
    most: int
    _asked: int = field(default=0, init=False)
    _more: bool = field(default=False, init=False)

    async def sample(self) -> Sample:
        """Raises `RpcError`, and `ConfigurationError` where channelz is not served."""
        stub = ChannelzStub(self.channel)
        self._asked, self._more = 0, False
        began_s = time.monotonic()
        try:
            answer = await self._ask(stub.get_servers, v1.GetServersRequest())
            answer_s = time.monotonic() - began_s
            channels = await self._ask(stub.get_top_channels, v1.GetTopChannelsRequest(max_results=self.most))
        except wire.RpcError as error:
            if error.code is wire.StatusCode.UNIMPLEMENTED:
                text = f"{self.target} does not serve channelz, which `top` asks (wire.standard.Channelz)"
                raise wire.ConfigurationError(text) from None
            raise
        connections: list[Row] = []
        for server in answer.server:
            connections += await self._connections(stub, server)
        return Sample(
            time.monotonic(),
            answer_s,
            self._asked,
            [_server_row(server) for server in answer.server],
            connections,
            [_channel_row(channel) for channel in channels.channel],
            self._more,
        )

    async def _connections(self, stub: ChannelzStub, server: v1.Server) -> list[Row]:
        number = server.ref.server_id if server.ref else 0
        question = v1.GetServerSocketsRequest(server_id=number, max_results=self.most)
        try:
            answer = await self._ask(stub.get_server_sockets, question)
        except wire.RpcError as error:
            if error.code is wire.StatusCode.NOT_FOUND:  # stopped meanwhile
                return []
            raise
        self._more |= not answer.end
        found: dict[int, Row] = {}
        errors: list[wire.RpcError] = []
        limit = anyio.CapacityLimiter(_AT_ONCE)

        async def ask(number: int) -> None:
            try:
                async with limit:
                    found[number] = await self._connection(stub, number)
            except wire.RpcError as error:
                if error.code is not wire.StatusCode.NOT_FOUND:  # as one that ended meanwhile is
                    errors.append(error)

        async with anyio.create_task_group() as tasks:
            for ref in answer.socket_ref:
                tasks.start_soon(ask, ref.socket_id)
        if errors:
            raise errors[0]
        return [found[number] for number in sorted(found)]

    async def _connection(self, stub: ChannelzStub, number: int) -> Row:
        answer = await self._ask(stub.get_socket, v1.GetSocketRequest(socket_id=number))
        return _socket_row(number, answer.socket or v1.Socket())

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        self._asked += 1
        return await method(request, **self.options)


def _server_row(server: v1.Server) -> Row:
    data = server.data or v1.ServerData()
    return Row(
        number=server.ref.server_id if server.ref else 0,
        name=printable(", ".join(ref.name.removeprefix(_GRPC_CORE) for ref in server.listen_socket)) or "?",
        **_counts(data.calls_started, data.calls_succeeded, data.calls_failed),
    )


def _channel_row(channel: v1.Channel) -> Row:
    data = channel.data or v1.ChannelData()
    state = data.state.state.name if data.state is not None else None
    return Row(
        number=channel.ref.channel_id if channel.ref else 0,
        name=printable(data.target) or "?",
        state=state or "",
        **_counts(data.calls_started, data.calls_succeeded, data.calls_failed),
    )


def _socket_row(number: int, socket: v1.Socket) -> Row:
    data = socket.data or v1.SocketData()
    options = {option.name: option.value for option in data.option}
    name = socket.remote_name or _name(socket.remote) or (socket.ref.name if socket.ref else "")
    return Row(
        number=number,
        name=printable(name) or "?",
        **_counts(data.streams_started, data.streams_succeeded, data.streams_failed),
        send_window=data.local_flow_control_window,
        receive_window=data.remote_flow_control_window,
        held=_number(int, options.get("held_bytes")),
        received=_number(int, options.get("bytes_received")),
        sent=_number(int, options.get("bytes_sent")),
        round_trip_s=_number(float, options.get("round_trip_s")),
        idle_s=_number(float, options.get("idle_s")),
    )


def _counts(started: int, succeeded: int, failed: int) -> dict[str, Any]:
    return {"started": started, "failed": failed, "open": max(0, started - succeeded - failed)}


def _number(kind: Callable[[str], Any], text: str | None) -> Any:
    """None for what another implementation writes there that is no number."""
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        return None


def _name(address: v1.Address | None) -> str:
    """In gRPC's name syntax, for implementations that give no name."""
    if address is not None and address.tcpip_address is not None:
        packed, port = address.tcpip_address.ip_address, address.tcpip_address.port
        if len(packed) not in (4, 16):
            return ""
        ip = ipaddress.ip_address(packed)
        return f"ipv4:{ip}:{port}" if ip.version == 4 else f"ipv6:[{ip}]:{port}"
    if address is not None and address.uds_address is not None:
        return f"unix:{address.uds_address.filename}"
    return address.other_address.name if address is not None and address.other_address is not None else ""
