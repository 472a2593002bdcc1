"""Modules made of .proto files when they are imported; by grpcio-tools, where it is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _ask(name: str, protobuf_path: str) -> Any:
    try:
        protoc = import_module("grpc_tools.protoc")
    except ModuleNotFoundError:
        raise NotImplementedError(f"Install the grpcio-tools package (1.32.0+) to use the {name} function.") from None
    return getattr(protoc, f"_{name}")(protobuf_path)


def protos(protobuf_path: str) -> Any:
    """The module of messages of a .proto file. Raises `NotImplementedError` without grpcio-tools."""
    return _ask("protos", protobuf_path)


def services(protobuf_path: str) -> Any:
    """The module of services of a .proto file. Raises `NotImplementedError` without grpcio-tools."""
    return _ask("services", protobuf_path)


def protos_and_services(protobuf_path: str) -> Any:
    """Both. Raises `NotImplementedError` without grpcio-tools."""
    return _ask("protos_and_services", protobuf_path)
