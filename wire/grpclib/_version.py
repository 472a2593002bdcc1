"""The version of the grpclib whose behaviour this has."""

__version__ = "0.4.9"
