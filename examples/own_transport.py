"""A transport of one's own: a plugin in a child process, called over a socket that has no address.

The parent makes a pair of connected sockets, and gives one to the child as its standard input. Nobody else can connect,
there is nothing to clean up, and when either ends, the other notices. Anything else that ends in a connected socket
works the same way: a tunnel through a proxy, `ssh host agent` with its input and output on one socket, a descriptor
that another process has sent.

    python own_transport.py
"""

from __future__ import annotations

import socket
import subprocess
import sys

import wire


class PluginStub(wire.Stub[wire.AnyChannel]):
    shout = wire.UnaryUnary("Shout", bytes, bytes)
    service = wire.Service("example.Plugin", (shout,))


class Plugin(wire.Servicer):
    service = PluginStub.service

    def shout(self, request: bytes, context: wire.ServerContext) -> bytes:
        return request.upper()


async def plugin() -> None:
    """The child: serves the socket that is its standard input until the parent closes it."""
    async with wire.Server([Plugin()]) as server:
        await server.serve_connection(socket.socket(fileno=0))


def start_plugin() -> socket.socket:
    """A child, and the socket that leads to it: what a channel calls when it wants a connection."""
    ours, childs = socket.socketpair()
    with childs:
        subprocess.Popen([sys.executable, __file__, "plugin"], stdin=childs.fileno())
    return ours


async def main() -> None:
    async with wire.Channel(start_plugin) as channel:
        print(await PluginStub(channel).shout(b"hello", timeout=30.0))


if __name__ == "__main__":
    wire.run(plugin if sys.argv[1:] == ["plugin"] else main)
