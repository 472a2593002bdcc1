"""google's own classes (upb) for tests/codec/protos/kinds.proto, compiled when the tests run: the reference for wire.codec."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

PROTOS = Path(__file__).parent / "protos"


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kinds.binpb"
        includes = Path(grpc_tools.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{includes}", "--include_imports", f"--descriptor_set_out={output}"]
        if protoc.main([*arguments, "kinds.proto"]):
            raise RuntimeError("protoc failed on kinds.proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


@cache
def google_class(name: str) -> Any:
    """google's class for a message of kinds.proto."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"kinds.{name}"))
