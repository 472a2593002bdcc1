"""From .proto files to a service that runs, and what type checkers say of programs that use it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import paired, run
from wire.generate.__main__ import main
from wire.generate.compiler import GenerateError, generate

pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, which this interpreter has no wheel of")

PROTOS = Path(__file__).parent / "protos"
SOURCES = [PROTOS / "store.proto", PROTOS / "shared" / "names.proto"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path of imports, with the package `made` in it."""
    folder = tmp_path_factory.mktemp("generated")
    generate(SOURCES, folder / "made", include=[PROTOS])
    return folder


@pytest.fixture
def store(generated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(generated)
    yield importlib.import_module("made.generate.store.v1.store_wire")
    for name in [name for name in sys.modules if name.partition(".")[0] == "made"]:
        del sys.modules[name]


def test_methods_are_named_as_python_names_things(store: ModuleType) -> None:
    names = [method.attribute for method in store.StoreStub.service.methods]
    assert names == ["get", "watch_http_keys", "put_all", "exchange", "import_", "service_"]
    assert store.StoreStub.service.methods[1].path == "/generate.store.v1.Store/WatchHTTPKeys"
    assert store.NothingStub.service.methods == ()


def test_comments_become_docstrings(store: ModuleType) -> None:
    assert store.StoreBase.get.__doc__ == "Returns the value of a key."
    assert store.StoreBase.watch_http_keys.__doc__ == "Follows a key."
    text = 'has a \\backslash, """quotes""" and ends with one: "'
    assert store.StoreBase.__doc__.strip().endswith(text)
    assert store.StoreStub.__doc__.strip().endswith(text)


def test_the_stub_and_base_talk_to_each_other(store: ModuleType) -> None:
    messages = importlib.import_module("made.generate.store.v1")

    class Upper(store.StoreBase):  # type: ignore[name-defined, misc]
        def get(self, request, context):  # type: ignore[no-untyped-def]
            return messages.Value(data=request.name.upper().encode())

        async def exchange(self, requests, context):  # type: ignore[no-untyped-def]
            async for request in requests:
                yield messages.Value(data=request.data.upper())

        watch_http_keys = put_all = import_ = service_ = get

    async def talk() -> None:
        async with paired(Upper()) as pair:
            stub = store.StoreStub(pair.channel)
            key = importlib.import_module("made.generate.shared.v1").Key(name="abc")
            assert (await stub.get(key)).data == b"ABC"
            values = [messages.Value(data=b"x"), messages.Value(data=b"y")]
            assert [value.data async for value in stub.exchange(values)] == [b"X", b"Y"]

    run(talk)


def test_a_base_with_a_missing_handler_is_abstract(store: ModuleType) -> None:
    with pytest.raises(TypeError, match="abstract"):
        store.StoreBase()


def test_the_descriptors_of_a_file_and_its_imports_come_with_its_services(store: ModuleType) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    files = [FileDescriptorProto.FromString(data) for data in store.StoreStub.service.files]
    assert [file.name for file in files] == ["google/protobuf/empty.proto", "shared/names.proto", "store.proto"]
    assert not any(file.HasField("source_code_info") for file in files)


def test_generating_again_gives_the_same(generated: Path, tmp_path: Path) -> None:
    for path in generate(SOURCES, tmp_path, include=[PROTOS]):
        assert path.read_text() == (generated / "made" / path.relative_to(tmp_path)).read_text()


def test_stubs_for_google_messages_import_the_modules_of_protoc(tmp_path: Path) -> None:
    written = generate(SOURCES[:1], tmp_path, include=[PROTOS], messages="google")
    assert [path.relative_to(tmp_path).as_posix() for path in written] == ["store_wire.py"]
    text = written[0].read_text()
    assert "import store_pb2 as _store_pb2" in text
    assert "from shared import names_pb2 as _shared_names_pb2" in text
    assert "_shared_names_pb2.Key.Version" in text
    assert "from google.protobuf import empty_pb2 as _google_protobuf_empty_pb2" in text


def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.proto"
    broken.write_text('syntax = "proto3"; message {')
    assert main(["--out", str(tmp_path / "out"), str(broken)]) == 1
    assert "broken.proto:1:28" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(GenerateError, match="there is no such file"):
        generate([tmp_path / "absent.proto"], tmp_path)
    with pytest.raises(GenerateError, match="none of the folders"):
        generate([broken], tmp_path, include=[PROTOS])
    with pytest.raises(GenerateError, match="there is no such folder"):
        generate([broken], tmp_path, include=[tmp_path / "absent"])


# One program a mistake; the first is right. Behind "#!" stands what mypy must say of the line.
_HANDLERS = """
    def get(self, request: Key, context: wire.ServerContext) -> Value: raise NotImplementedError
    async def watch_http_keys(self, request: Key, context: wire.ServerContext) -> AsyncIterator[KeyVersion]:
        yield KeyVersion()
    async def put_all(self, requests: AsyncIterator[Value], context: wire.ServerContext) -> Empty:
        raise NotImplementedError
    async def exchange(self, requests: AsyncIterator[Value], context: wire.ServerContext) -> AsyncIterator[Value]:
        async for request in requests:
            yield request
    def import_(self, request: Value, context: wire.ServerContext) -> Value: raise NotImplementedError
"""
_RIGHT = """
    async def service_(self, request: StoreStubMessage, context: wire.ServerContext) -> Value:
        raise NotImplementedError
"""
_PROGRAM = """
from collections.abc import AsyncIterator
import wire
from made.google.protobuf import Empty
from made.generate.shared.v1 import Key, KeyVersion
from made.generate.store.v1 import StoreStub as StoreStubMessage, Value
from made.generate.store.v1.store_wire import StoreBase, StoreStub
class Mine(StoreBase):
"""
_CALLS = """
    value = await stub.get(Key())
    data: bytes = value.data
    async for version in stub.watch_http_keys(Key(), timeout=1.0):
        number: int = version.number
    empty: Empty = await stub.put_all([Value()])
"""
_USE = """
async def use(channel: wire.Channel) -> None:
    wire.Server([Mine()])
    stub = StoreStub(channel)
"""
_MISTAKES = {
    "misspelt": (_HANDLERS + _RIGHT.replace("service_", "serivce"), _CALLS, "abstract"),
    "missing": (_HANDLERS, _CALLS, "abstract"),
    "wrong_type": (_HANDLERS + _RIGHT.replace("-> Value", "-> Key"), _CALLS, "override"),
    "wrong_request": (_HANDLERS + _RIGHT.replace("request: StoreStubMessage", "request: Key"), _CALLS, "override"),
    "no_context": (_HANDLERS + _RIGHT.replace(", context: wire.ServerContext", ""), _CALLS, "override"),
    "unary_for_stream": (
        _HANDLERS.replace("async def exchange", "def exchange").replace(
            "-> AsyncIterator[Value]:\n        async for request in requests:\n            yield request",
            "-> Value: raise NotImplementedError",
        )
        + _RIGHT,
        _CALLS,
        "override",
    ),
    "wrong_request_to_stub": (_HANDLERS + _RIGHT, "    await stub.get(Value())\n", "arg-type"),
    "call_not_awaited": (_HANDLERS + _RIGHT, "    data: bytes = stub.get(Key()).data\n", "attr-defined"),
    "stream_awaited": (_HANDLERS + _RIGHT, "    await stub.watch_http_keys(Key())\n", "misc"),
}


def test_type_checkers_find_the_mistakes_of_users(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mypy = pytest.importorskip("mypy.api", reason="mypy has no wheel for this interpreter")
    programs = {"right": (_HANDLERS + _RIGHT, _CALLS, "")} | _MISTAKES
    for name, (handlers, calls, _) in programs.items():
        (generated / f"{name}.py").write_text(_PROGRAM + handlers + _USE + calls)
    monkeypatch.setenv("MYPYPATH", str(generated))
    flags = ["--strict", "--no-error-summary", "--cache-dir", str(generated / "cache"), "--explicit-package-bases"]
    said, complaint, _ = mypy.run([*flags, *(str(generated / f"{name}.py") for name in programs)])
    assert not complaint
    for name, (_, _, code) in programs.items():
        lines = [line for line in said.splitlines() if Path(line.partition(":")[0]).stem == name and ": error:" in line]
        assert [line.rpartition("[")[2].rstrip("]") for line in lines] == ([code] if code else []), said
    assert "_wire.py" not in said
