"""Where grpcio has its version."""

from wire.grpcio.version import __version__

__all__ = ["__version__"]
