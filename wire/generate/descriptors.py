"""What .proto files say, for those who call by descriptors: protoc's own output and nothing more.

Needs grpcio-tools, of the extra `codegen`. Imports `compiler`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wire.generate import compiler


def descriptor_set(files: Sequence[str | Path], *, include: Sequence[str | Path] = ()) -> bytes:
    """A serialized FileDescriptorSet of `files` and all that they import, with comments.

    `include`: the folders that `files` and their imports lie under; without any, the folders of the files. Raises
    `GenerateError`: protoc's own text, or one sentence that says what is missing.
    """
    compiler.require("grpc_tools")
    roots = [Path(root) for root in include] or sorted({Path(file).parent for file in files})
    paths = [_path_below(Path(file), roots) for file in files]
    return compiler.descriptors_of(paths, roots)


def _path_below(file: Path, roots: Sequence[Path]) -> Path:
    """A file's path as it is, or where it was named by its path below a root, as `protoc -I` allows."""
    if not file.exists():
        for root in roots:
            if (root / file).is_file():
                file = root / file
                break
    compiler.name_below(file, roots)
    return file
