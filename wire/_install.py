"""Standing in for another package: `import grpclib` gives `wire.grpclib`, in programs that know nothing of it.

`install_as` puts a finder in front of Python's own; `run_program` then runs a script or module as `python` would.
Imports only `errors`.
"""

from __future__ import annotations

import builtins
import os
import runpy
import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec
from io import open_code
from types import ModuleType
from typing import NoReturn

from wire.errors import UsageError

Shown = Callable[[str, str], str | None]
"""(module below the package, class) → the module that the class says it is of: ("", "Channel") → "grpc"."""


class _Alias(MetaPathFinder, Loader):
    """Finds `name` and its submodules as `package` and its submodules: the same module objects under both names."""

    def __init__(self, name: str, package: str, shown: Shown, missing: str | None) -> None:
        self.name = name
        self.package = package
        self._shown = shown
        self._missing = missing

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name and not fullname.startswith(f"{self.name}."):
            return None
        own = find_spec(self.package + fullname[len(self.name) :])
        if own is None:
            # Nobody else has it: the parent's __path__ is ours, where Python's finders see the same.
            return None if self._missing is None else ModuleSpec(fullname, self)
        return ModuleSpec(fullname, self, is_package=own.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        own = self.package + spec.name[len(self.name) :]
        try:
            module = import_module(own)
        except ModuleNotFoundError as error:
            if self._missing is None or error.name != own:
                raise
            raise ModuleNotFoundError(self._missing.format(spec.name), name=spec.name) from None
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # what importlib has just overwritten
        self._rename_classes()

    def _rename_classes(self) -> None:
        """Classes say that they are the other package's, in tracebacks and pickles, as programs expect."""
        for name, module in list(sys.modules.items()):
            if module is not None and (name == self.package or name.startswith(f"{self.package}.")):
                below = name[len(self.package) + 1 :]
                for each in list(vars(module).values()):
                    if isinstance(each, type) and each.__module__ == name:
                        shown = self._shown(below, each.__name__)
                        each.__module__ = self.name + name[len(self.package) :] if shown is None else shown


def install_as(name: str, package: str, *, shown: Shown = lambda module, cls: None, missing: str | None = None) -> None:
    """Let `import name` mean `package`, and its submodules likewise, in the whole process. Once is as good as twice.

    `shown`: where classes say that they are, other than in the module of the same name below `name`, for which it gives
    None. `missing`: what is said of a module that the package does not have, with "{}" for its name; None: what Python
    says.

    Raises `UsageError` when the package of that name was imported before: whoever did so would keep it, and the two
    would meet in one program.
    """
    if any(isinstance(finder, _Alias) and finder.name == name for finder in sys.meta_path):
        return
    imported = sys.modules.get(name)
    if imported is not None:
        if imported.__name__ == package:
            return
        raise UsageError(f"{name} was imported already; call {package}.install() before anything imports it")
    sys.meta_path.insert(0, _Alias(name, package, shown, missing))


def run_program(install: Callable[[], None], command: str) -> None:
    """Install, then run the program that the command line names: `SCRIPT ARGS…` or `-m MODULE ARGS…`.

    `command` is how this was called, for the line that says so when nothing is named.
    """
    arguments = sys.argv[1:]
    usage = f"usage: {command} SCRIPT ARGS…\n       {command} -m MODULE ARGS…"
    if arguments[:1] in (["-h"], ["--help"]):
        print(usage)
        return
    as_module = arguments[:1] == ["-m"]
    program = arguments[as_module : as_module + 1]
    if not program or program[0].startswith("-"):
        _refuse(usage)
    install()
    sys.argv = arguments[as_module:]
    if as_module:
        sys.path[0] = os.getcwd()
        if not _can_be_run(program[0]):
            _refuse(f"{command}: there is no module {program[0]} that can be run")
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    elif not os.path.exists(program[0]):
        _refuse(f"{command}: there is no file {program[0]}")
    elif not os.access(program[0], os.R_OK):
        _refuse(f"{command}: {program[0]} cannot be read: permission denied")
    elif os.path.isfile(program[0]) and not zipfile.is_zipfile(program[0]):
        _run_script(program[0])
    elif os.path.isdir(program[0]) and not os.path.isfile(os.path.join(program[0], "__main__.py")):
        _refuse(f"{command}: the directory {program[0]} has no __main__.py")
    else:  # a directory, or an archive, with a __main__
        runpy.run_path(program[0], run_name="__main__")


def _can_be_run(module: str) -> bool:
    """Whether it exists, and is no package without a __main__."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError as error:
        if not module.startswith(f"{error.name}."):  # its package's own import of something else
            raise
        return False
    return spec is not None and (spec.submodule_search_locations is None or _can_be_run(f"{module}.__main__"))


def _refuse(text: str) -> NoReturn:
    """End with the status of a wrong command line."""
    print(text, file=sys.stderr)
    sys.exit(2)


def _run_script(name: str) -> None:
    """As `python name`: its path is whole, `sys.argv[0]` is as it was given, and tracebacks begin with it."""
    path = os.path.abspath(name)
    sys.path[0] = os.path.dirname(path)
    with open_code(path) as file:
        code = compile(file.read(), path, "exec")
    module = ModuleType("__main__")
    module.__dict__.update(
        __file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path), __builtins__=builtins
    )
    sys.modules["__main__"] = module
    exec(code, module.__dict__)
