"""Making `import grpc` mean this package, and running programs under it. Imports nothing of the package but errors."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from wire.errors import UsageError

_OURS = "wire.grpcio"


class _Finder(MetaPathFinder):
    """Finds `grpc` and all below it here."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "grpc":
            return None
        return ModuleSpec(fullname, _Loader())


class _Loader(Loader):
    """Puts our module in the place of theirs: one object under two names."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        ours = _OURS + module.__name__.removeprefix("grpc")
        try:
            sys.modules[module.__name__] = importlib.import_module(ours)
            _rename()
        except ModuleNotFoundError as error:
            if error.name == ours:
                raise ModuleNotFoundError(
                    f"wire has no {module.__name__}, which is no part of grpcio's public interface",
                    name=module.__name__,
                ) from None
            raise


_SHOWN = {f"{_OURS}.{name}": "grpc" for name in ("_abstract", "_credentials", "_enums")}
_SHOWN[f"{_OURS}.aio._any_call"] = "grpc.aio._call"
_SHOWN |= {f"{_OURS}.{name}": "grpc._channel" for name in ("_call", "_callables")} | {
    f"{_OURS}._context": "grpc._server"
}
_IN_CYGRPC = ("AbortError", "BaseError", "ExecuteBatchError", "InternalError", "UsageError")


def _rename() -> None:
    """Let our classes say that they are of `grpc`, where theirs are: tracebacks and pickles name them so."""
    for name, module in list(sys.modules.items()):
        if not name.startswith(_OURS) or name == f"{_OURS}._install":
            continue
        for each in list(vars(module).values()):
            if isinstance(each, type) and each.__module__ == name:
                if name == f"{_OURS}._errors":
                    each.__module__ = "grpc._cython.cygrpc" if each.__name__ in _IN_CYGRPC else "grpc"
                else:
                    each.__module__ = _SHOWN.get(name, "grpc" + name.removeprefix(_OURS))


def install() -> None:
    """From now on `import grpc` means this package, everywhere in the process. Does nothing when it does already.

    Raises `UsageError` when grpcio's own `grpc` was imported before: what has its names would keep them.
    """
    imported = sys.modules.get("grpc")
    if imported is not None:
        if imported.__name__ == _OURS:
            return
        raise UsageError("grpc was imported already: call wire.grpcio.install() before anything imports it")
    sys.meta_path.insert(0, _Finder())


def run(arguments: Sequence[str]) -> None:
    """`python -m wire.grpcio SCRIPT ARGS…` or `-m MODULE ARGS…`: run a program with `grpc` being this package."""
    if not arguments or (arguments[0] == "-m" and len(arguments) < 2):
        sys.exit("usage: python -m wire.grpcio SCRIPT ARGS…, or python -m wire.grpcio -m MODULE ARGS…")
    install()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        from pathlib import Path

        sys.argv = list(arguments)
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")
