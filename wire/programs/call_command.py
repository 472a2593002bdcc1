"""The command `call`: one call of any kind, JSON in and out."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio

import wire
from wire.programs.channel_flags import DEFAULT_TIMEOUT_S
from wire.programs.json_values import JsonValues, open_data, pieces_of

if TYPE_CHECKING:
    from wire.standard.dynamic import DynamicMethod, Schema


class CallFailed(Exception):  # noqa: N818 - it is no error of this program
    """The call ended with a status other than OK."""

    def __init__(self, error: wire.RpcError) -> None:
        super().__init__(error)
        self.error = error


async def call(channel: wire.Channel, schema: Schema, args: argparse.Namespace) -> None:
    """Call `args.method` and print every response. Raises `CallFailed`, and `ConfigurationError` or `EncodeError` for
    requests that are none."""
    method = await schema.method(args.method)
    streams = method.streams_requests or method.streams_responses
    timeout = args.timeout or (None if streams else DEFAULT_TIMEOUT_S)
    requests = _requests(schema, method, args)
    request = None if method.streams_requests else await _only_one(requests, method, args.data)
    started = method.start(channel, request, timeout=timeout, metadata=args.metadata)
    await _Call(schema, method, args).carry_out(started, requests)


async def _requests(schema: Schema, method: DynamicMethod, args: argparse.Namespace) -> AsyncIterator[Any]:
    """The requests' messages, each as soon as it can be read."""

    async def message_of(value: Any) -> Any:
        await schema.load_anys(value)
        return schema.from_json(method.request, value, ignore_unknown=args.ignore_unknown)

    source, file = open_data(args.data)
    values = JsonValues(source)
    with file:
        async for piece in pieces_of(file):
            for value in values.feed(piece):
                yield await message_of(value)
    for value in values.end():
        yield await message_of(value)


async def _only_one(requests: AsyncIterator[Any], method: DynamicMethod, data: str | None) -> Any:
    if data is None:
        return method.request()
    found = [request async for request in requests]
    if len(found) != 1:
        raise wire.ConfigurationError(f"{method.path[1:]} takes one request, and {len(found)} were given")
    return found[0]


class _Call:
    """A call that goes on: requests are sent and responses printed, each at its own pace."""

    def __init__(self, schema: Schema, method: DynamicMethod, args: argparse.Namespace) -> None:
        self._schema = schema
        self._method = method
        self._args = args
        self._head_shown = not args.verbose

    async def carry_out(self, call: Any, requests: AsyncIterator[Any]) -> None:
        failed: wire.RpcError | None = None
        unsendable: list[wire.WireError] = []
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                try:
                    await self._send(call, requests)
                except wire.WireError as error:
                    unsendable.append(error)
                    tasks.cancel_scope.cancel()

            if self._method.streams_requests:
                tasks.start_soon(send)
            try:
                await self._receive(call)
            except wire.RpcError as error:
                failed = error
            finally:
                call.cancel()
            tasks.cancel_scope.cancel()
        if unsendable:
            raise unsendable[0]
        if self._args.verbose:
            self._show_head(call)
            self._show_metadata("trailer", call.trailing_metadata)
            print(f"status {call.code.name}", file=sys.stderr)
        if failed is not None:
            raise CallFailed(failed)

    async def _send(self, call: Any, requests: AsyncIterator[Any]) -> None:
        """Until there are no more, or the call has ended, which is whoever receives' to tell."""
        async for request in requests:
            try:
                await call.send(request)
            except (wire.RpcError, wire.UsageError):
                return
        try:
            await call.end()
        except (wire.RpcError, wire.UsageError):
            return

    async def _receive(self, call: Any) -> None:
        if self._method.streams_responses:
            async for response in call:
                await self._print(call, response)
        else:
            await self._print(call, await call)

    async def _print(self, call: Any, response: Any) -> None:
        self._show_head(call)
        value = await self._schema.to_json(response, defaults=self._args.defaults)
        text = json.dumps(value, ensure_ascii=False, indent=2 if self._args.pretty else None)
        sys.stdout.write(f"{safe_json(text)}\n")
        sys.stdout.flush()

    def _show_head(self, call: Any) -> None:
        if not self._head_shown:
            self._head_shown = True
            self._show_metadata("header", call.initial_metadata)

    def _show_metadata(self, name: str, metadata: wire.Metadata | None) -> None:
        for key, value in metadata or ():
            text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
            print(f"{name} {key}: {text}", file=sys.stderr)


def safe_json(text: str) -> str:
    """JSON in which what a terminal might act upon, such as marks that turn the direction of writing, is escaped."""
    lines = text.split("\n")  # of indentation: those in strings are escaped
    return "\n".join(
        line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
        for line in lines
    )
