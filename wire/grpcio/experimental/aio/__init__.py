"""Where `grpc.aio` was before it was called so."""

from wire.grpcio.aio import *  # noqa: F403
