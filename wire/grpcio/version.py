"""The release of grpcio whose surface this package has."""

__version__ = "1.85.3"
