"""Who may import whom, checked over the import statements of every source file, except those for type checkers."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each row imports only from the rows above it. Within a row none imports another, save in the first, where all may.
LAYERS = [
    ("errors", "status", "metadata", "deadline", "config", "process", "throttle", "service_names"),
    ("transport", "http2", "rpc", "codec"),
    ("connection", "message_decoder"),
    ("flow", "dialing"),
    ("exchange",),
    ("client_call",),
    ("service",),
    ("server_call", "pool"),
    ("slow_handlers",),
    ("server", "channel", "workers"),
    ("__init__",),
    ("generate", "standard"),  # they use wire as any program does
]
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}

RUN_TIME_DEPENDENCIES = {"anyio", "betterproto2", "cryptography", "h2", "hpack"}
IF_INSTALLED = {"uvloop", "trio"}
# compression.zstd is in newer standard libraries than the oldest that is supported.
STANDARD_LIBRARY = sys.stdlib_module_names | {"compression"}

ONLY_IN = {
    "h2": ("http2/h2_engine.py",),
    "hpack": ("http2/",),
    "asyncio": ("transport/",),
    "uvloop": ("transport/",),
    "trio": ("transport/",),
    "anyio": ("transport/", "server.py", "channel.py", "standard/"),
    "betterproto2": ("codec/",),
}

SOURCES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "wire").rglob("*.py") if "generated" not in path.parts
)


def imported(path: str) -> set[str]:
    """Full names of the modules that a source file imports at run time, wherever in it."""
    return set(_imports(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
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
    assert own in RANK, f"give {own} its place in LAYERS"
    for module in imported(path):
        if own in LAYERS[-1]:
            assert not module.startswith("wire.") or module.split(".")[1] in (own, "errors", "service_names"), path
            continue
        assert module != "wire", f"{path} must import what it needs from where that is defined"
        if not module.startswith("wire."):
            continue
        other = module.split(".")[1]
        below = RANK.get(other, RANK["__init__"]) < RANK[own]
        assert below or other == own or RANK[own] == RANK.get(other) == 0, f"{path} must not import {module}"


@pytest.mark.parametrize("path", SOURCES)
def test_wire_imports_nothing_but_itself_the_standard_library_and_its_dependencies(path: str) -> None:
    tops = {module.split(".")[0] for module in imported(path)}
    if unit(path) == "generate":
        tops -= {"google", "betterproto2_compiler"}  # the extra `codegen`
    assert tops <= {"wire"} | STANDARD_LIBRARY | RUN_TIME_DEPENDENCIES | IF_INSTALLED


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
        ("if TYPE_CHECKING:\n    import trio", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, expected: set[str]) -> None:
    assert set(_imports(ast.parse(source))) == expected
