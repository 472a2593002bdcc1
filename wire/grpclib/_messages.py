"""google.protobuf's classes for the messages of health checking and server reflection.

They are made from the descriptors that wire's own services carry. Where the process has them already, from
grpcio-health-checking or grpclib itself, those are taken: a pool of descriptors holds each name once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass


def message_classes(files: Iterable[bytes], package: str, names: Iterable[str]) -> list[Any]:
    """The classes of those messages of a package, in order. `files`: serialized FileDescriptorProtos, dependencies
    first."""
    pool = Default()
    names = [f"{package}.{name}" for name in names]
    try:
        pool.FindMessageTypeByName(names[0])
    except KeyError:
        for file in files:
            pool.AddSerializedFile(file)
    return [GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]
