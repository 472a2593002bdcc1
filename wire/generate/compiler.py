"""What `python -m wire.generate` does: .proto files in, Python files out.

protoc reads the sources into one set of descriptors, with their comments; betterproto2's compiler makes the messages
of it, `services` the bases and stubs. No file is written unless everything was made.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from wire.errors import ConfigurationError

Messages = Literal["betterproto2", "google", "none"]


class GenerateError(ConfigurationError):
    """The sources cannot be compiled. The text is protoc's own, or one sentence that says what is missing."""


def generate(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    include: Sequence[str | Path] = (),
    messages: Messages = "betterproto2",
) -> list[Path]:
    """Write what `files` describe below the folder `out`. Returns the paths written, sorted.

    `include`: the folders that `files` and their imports lie under; without any, the folders of the files.
    `messages`: "betterproto2" also makes the message classes; "google" makes stubs that use the `_pb2` modules of
    protoc's Python output, which must exist by the time the stubs are imported; "none" makes stubs for betterproto2
    messages that exist already. Raises `GenerateError`.
    """
    for package in ("grpc_tools", "google.protobuf", "betterproto2_compiler"):
        require(package)
    from wire.generate.services import service_files

    roots = [Path(root) for root in include] or sorted({Path(file).parent for file in files})
    names = [name_below(Path(file), roots) for file in files]
    descriptors = descriptors_of(files, roots)
    made = _betterproto2_messages(descriptors, names) if messages == "betterproto2" else {}
    made.update(service_files(descriptors, names, google=messages == "google"))
    target = Path(out)
    for name, text in made.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(target / name for name in made)


def require(package: str) -> None:
    with contextlib.suppress(ModuleNotFoundError):
        if find_spec(package) is not None:
            return
    raise GenerateError(f"the generator needs {package}: pip install 'wire-grpc[codegen]'")


def name_below(file: Path, roots: Sequence[Path]) -> str:
    """The name by which protoc knows a file: its path below the root that holds it."""
    if not file.is_file():
        raise GenerateError(f"{file}: there is no such file")
    for root in roots:
        if not root.is_dir():
            raise GenerateError(f"{root}: there is no such folder")
        with contextlib.suppress(ValueError):
            return file.resolve().relative_to(root.resolve()).as_posix()
    raise GenerateError(f"{file} lies under none of the folders given with -I")


def descriptors_of(files: Sequence[str | Path], roots: Sequence[Path]) -> bytes:
    """A serialized FileDescriptorSet of `files` and all that they import, dependencies first."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "descriptors")
        flags = [f"--descriptor_set_out={target}", "--include_imports", "--include_source_info"]
        includes = [f"-I{root}" for root in roots]
        command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *flags, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise GenerateError(done.stderr.strip() or "protoc failed without a word")
        return target.read_bytes()


def _betterproto2_messages(descriptors: bytes, names: Sequence[str]) -> dict[str, str]:
    """The files of betterproto2's compiler, path → text."""
    from betterproto2_compiler.lib.google.protobuf import FileDescriptorSet
    from betterproto2_compiler.lib.google.protobuf.compiler import CodeGeneratorRequest
    from betterproto2_compiler.plugin.parser import generate_code

    request = CodeGeneratorRequest(
        file_to_generate=list(names),
        parameter="client_generation=none",
        proto_file=FileDescriptorSet.parse(descriptors).file,
    )
    with _scripts_on_path(), open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        try:
            response = generate_code(request)
        except Exception as error:
            raise GenerateError(f"betterproto2's compiler failed: {type(error).__name__}: {error}") from error
    made = {file.name: file.content for file in response.file}
    pool = "message_pool.py"
    if pool in made:  # betterproto2's class is untyped, which `mypy --strict` would tell whoever uses this
        made[pool] = "# mypy: disable-error-code=no-untyped-call\n" + made[pool]
    return made


@contextlib.contextmanager
def _scripts_on_path() -> Iterator[None]:
    """betterproto2's compiler runs ruff, a script beside this interpreter, which need not be on PATH."""
    before = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before
