"""Who may import whom, checked over the import statements of every source file, those for type checkers included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 500

# Each row imports only from the rows above it, and within a row none imports another.
LAYERS = [
    ("errors", "process", "throttle", "service_names", "version"),
    ("config", "_install"),
    ("metadata",),
    ("status",),
    ("deadline",),
    ("transport", "http2", "rpc", "codec"),
    ("live", "message_decoder", "service"),
    ("connection",),
    ("messages",),
    ("outgoing",),
    ("client", "server", "inspect"),
    ("blocking",),
    ("stub",),
    ("__init__",),
]
# These use wire as any program does: what it exports, the modules of OPEN, and the units that stand behind each.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "generate": (),
    "grpcio": ("blocking", "standard"),
    "grpclib": ("grpcio", "standard"),
    "interceptors": (),
    "programs": (
        *("config", "generate", "inspect", "metadata", "process", "service", "standard", "status", "transport"),
        "version",
    ),
    "standard": (),
    "testing": (),
}
OPEN = ("errors", "live", "service_names", "_install")
EXTRAS = {
    "generate": {"google", "betterproto2_compiler"},  # the extra `codegen`
    "grpclib": {"google", "multidict", "certifi"},  # the extra of that name, and what grpclib takes if it is there
    "standard": {"google"},  # the extra `client`
    "programs": {"hdrh", "matplotlib", "rich"},  # the extra `bench`
    "interceptors": {"opentelemetry", "prometheus_client"},  # the extras `otel` and `prometheus`
}
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}

RUN_TIME_DEPENDENCIES = {"anyio", "betterproto2", "h2", "hpack"}
IF_INSTALLED = {"dpkt", "uvloop", "trio", "cryptography"}
FOR_TYPE_CHECKERS = {"typing_extensions"}
# compression.zstd is in newer standard libraries than the oldest that is supported.
STANDARD_LIBRARY = sys.stdlib_module_names | {"compression"}

ONLY_IN = {
    "h2": ("http2/h2/",),
    "hpack": ("http2/", "inspect/"),
    "asyncio": ("transport/", "grpcio/", "grpclib/", "programs/ticker.py"),
    "dpkt": ("inspect/capture.py",),
    "uvloop": ("transport/",),
    "trio": ("transport/",),
    "anyio": (
        "transport/",
        "server/server.py",
        "server/serving.py",
        "client/channel.py",
        "standard/",
        "programs/",
        "testing.py",
    ),
    "betterproto2": ("codec/", "grpclib/encoding/proto.py"),
}

SOURCES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "wire").rglob("*.py") if "generated" not in path.parts
)
MODULES = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in SOURCES}


@cache
def imported(path: str) -> frozenset[str]:
    """Full names of the modules that a source file imports, wherever in it."""
    return frozenset(_imports(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"a relative import: {ast.unparse(child)}"
            assert child.module is not None
            # `from wire.http2 import codes` imports wire.http2.codes.
            yield from (f"{child.module}.{name.name}" for name in child.names)
        yield from _imports(child)


def unit(path: str) -> str:
    """`wire/errors.py` and `wire/http2/engine.py` belong to the units errors and http2."""
    return path.split("/")[1].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES)
def test_wire_imports_only_from_layers_below(path: str) -> None:
    own = unit(path)
    assert own in RANK or own in PROGRAMS, f"give {own} its place in LAYERS"
    for module in imported(path):
        if own in PROGRAMS:
            if module.startswith("wire."):
                other = module.split(".")[1]
                assert other in {own, *OPEN, *PROGRAMS[own]}, f"{path} must not import {module}"
            continue
        assert module != "wire", f"{path} must import what it needs from where that is defined"
        if not module.startswith("wire."):
            continue
        other = module.split(".")[1]
        below = RANK.get(other, RANK["__init__"]) < RANK[own]
        assert below or other == own, f"{path} must not import {module}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        # A name in a module, or a module in a package.
        targets = {name if name in MODULES else name.rpartition(".")[0] for name in imported(path)}
        graph[module] = targets & MODULES.keys()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("path", SOURCES)
def test_files_can_be_read_in_one_go(path: str) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", SOURCES)
def test_wire_imports_nothing_but_itself_the_standard_library_and_its_dependencies(path: str) -> None:
    tops = {module.split(".")[0] for module in imported(path)} - EXTRAS.get(unit(path), set())
    assert tops <= {"wire"} | STANDARD_LIBRARY | RUN_TIME_DEPENDENCIES | IF_INSTALLED | FOR_TYPE_CHECKERS


@pytest.mark.parametrize("path", SOURCES)
def test_event_loops_engines_and_codecs_are_imported_only_where_they_are_wrapped(path: str) -> None:
    inside = path.removeprefix("wire/")
    for module in imported(path):
        places = ONLY_IN.get(module.split(".")[0])
        assert places is None or inside.startswith(places), f"{path} must not import {module}"


def test_services_do_not_import_programs() -> None:
    for path in (ROOT / "services").rglob("*.py"):
        tops = {module.split(".")[0] for module in imported(path.relative_to(ROOT).as_posix())}
        assert not tops & {"bin", "tests", "benchmarks"}, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import h2.events", {"h2.events"}),
        ("from wire import errors", {"wire.errors"}),
        ("def f():\n    from wire.http2 import codes", {"wire.http2.codes"}),
        ("try:\n    import uvloop\nexcept ImportError:\n    pass", {"uvloop"}),
        ("if TYPE_CHECKING:\n    import trio", {"trio"}),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, expected: set[str]) -> None:
    assert set(_imports(ast.parse(source))) == expected
