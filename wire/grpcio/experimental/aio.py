"""Where `grpc.aio` was before it had that name."""

from wire.grpcio.aio import *  # noqa: F403
from wire.grpcio.aio import __all__  # noqa: F401
