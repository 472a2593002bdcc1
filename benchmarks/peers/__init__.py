"""The stacks that are compared, each server and each client a program of its own.

    python -m benchmarks.peers serve NAME [--listen ADDR]      says "listening on ADDR" on stderr
    python -m benchmarks.peers call NAME --target ADDR         answers one JSON line per JSON line of stdin

NAME is wire-tuned, wire-h2, wire-async (tuned, with an `async def` handler), wire-methods (500 more methods), grpcio,
grpcio-asyncio, grpclib, or bare (an asyncio.Protocol that echoes bytes). Each serves echo.v1.EchoService with message
objects of its own kind: betterproto2's for wire, Google's (upb) for the others; ours serves `repeat.proto` too.

`grpc_go` is the same server in Go, without objects. `tonic` is server and client in Rust, with prost's objects; its
client is also the load for streams, being the lightest of them all.
"""
