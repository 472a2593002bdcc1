"""bin.client lists, describes and calls a server that it knows nothing of."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wire
from bin import client
from tests.bin.programs import ROOT
from tests.standard.shop import PROTOS, descriptors, shop_in_thread
from wire.programs.call_command import safe_json

pytest.importorskip("google.protobuf")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    descriptors("shop.proto")  # skips where there is no protoc
    with shop_in_thread() as address:
        yield address


@pytest.fixture
def run(target: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """The client's exit status, and what it writes to stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = client.main(["--target", target, *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_services_and_methods_are_listed(run: Run) -> None:
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert "shop.v1.Shop" in out.splitlines()
    assert run("list", "shop.v1.Shop")[1].split() == [
        f"shop.v1.Shop/{each}" for each in ("Get", "List", "Count", "Follow")
    ]
    assert json.loads(run("--json", "list", "shop.v1.Shop")[1])[0] == "shop.v1.Shop/Get"


def test_symbols_are_described(run: Run) -> None:
    assert "rpc Follow(stream shop.v1.Item) returns (stream shop.v1.Item);" in run("describe")[1]
    assert (
        run("describe", "shop.v1.Total")[1]
        == "// shop.v1.Total in shop.proto\nmessage Total {\n  int32 count = 1;\n}\n"
    )


def test_template_is_a_request_that_can_be_sent(run: Run) -> None:
    for symbol in ("shop.v1.Item", "shop.v1.Shop/Get"):
        template = json.loads(run("describe", "--template", symbol)[1])
        assert template["sizes"] == [0]
        assert template["parts"] == {"": {"data": ""}}
        assert "next" not in template
        assert template["sold"] is False
    assert json.loads(run("call", "shop.v1.Shop/Get", json.dumps(template), "--defaults")[1])["name"] == ""


def test_descriptors_are_written_and_used_in_place_of_reflection(run: Run, tmp_path: Path) -> None:
    assert run("describe", "shop.v1.Shop", "--protoset-out", f"{tmp_path}/set")[0] == 0
    with shop_in_thread(with_reflection=False) as plain:
        where = ("--target", plain)
        assert run(*where, "--protoset", f"{tmp_path}/set", "list")[1].split() == ["shop.v1.Shop"]
        proto = ("--proto", "shop.proto", "-I", str(PROTOS))
        assert run(*where, "call", "shop.v1.Shop/Get", '{"name": "nail"}', *proto)[1] == '{"name": "nail"}\n'
        with pytest.raises(wire.WireError, match=r"has no server reflection; name its \.proto files with --proto"):
            run(*where, "list")


def test_flags_before_and_behind_the_command_add_up(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(descriptors("old.proto"))
    (tmp_path / "shop").write_bytes(descriptors("shop.proto"))
    assert "Old {" in run("--protoset", f"{tmp_path}/old", "describe", "old.Old", "--protoset", f"{tmp_path}/shop")[1]
    assert "Shop {" in run("--protoset", f"{tmp_path}/old", "describe", "--protoset", f"{tmp_path}/shop")[1]


def test_unary_call_prints_its_response(run: Run, tmp_path: Path) -> None:
    assert run("call", "shop.v1.Shop/Get", '{"name": "grüße"}') == (0, '{"name": "grüße"}\n', "")
    assert run("call", "shop.v1.Shop/Get") == (0, "{}\n", "")
    (tmp_path / "f").write_text('{\n "name": "nail"\n}\n')
    assert run("call", "shop.v1.Shop.Get", f"@{tmp_path}/f", "--pretty") == (0, '{\n  "name": "nail"\n}\n', "")


def test_streams_are_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = '{"name": "a"}\n{"name": "b"}\n'
    assert run("call", "shop.v1.Shop/List", '{"sizes": [1, 2]}')[1] == '{"sizes": [1]}\n{"sizes": [2]}\n'
    assert run("call", "shop.v1.Shop/Count", lines)[1] == '{"count": 2}\n'
    assert run("call", "shop.v1.Shop/Count")[1] == "{}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert run("call", "shop.v1.Shop/Follow", "-")[1] == lines


def test_metadata_is_sent_and_shown(run: Run) -> None:
    status, out, err = run("call", "shop.v1.Shop/Get", '{"name": "headers"}', "-H", "x-who: me", "-v")
    assert (status, json.loads(out)["country"]) == (0, "me")
    assert err.splitlines()[-1] == "status OK"


def test_error_has_its_status_and_details(run: Run) -> None:
    status, out, err = run("call", "shop.v1.Shop/Get", '{"name": "absent"}')
    assert (status, out) == (64 + 5, "")
    first, *details = err.splitlines()
    assert first == "bin.client: NOT_FOUND: no such item"
    assert [json.loads(line) for line in details] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "name", "description": "is absent"}],
        },
        {"@type": "type.googleapis.com/shop.v1.SoldOut", "until": "Monday"},
    ]
    status, _, err = run("--json", "call", "shop.v1.Shop/Get", '{"name": "absent"}')
    shown = json.loads(err)
    assert (status, shown["code"], shown["number"], len(shown["details"])) == (69, "NOT_FOUND", 5, 2)


def test_responses_before_an_error_are_printed(run: Run) -> None:
    status, out, err = run("call", "shop.v1.Shop/List", '{"name": "wrong", "sizes": [1]}')
    assert (status, out) == (64 + 15, '{"name": "wrong", "sizes": [1]}\n')
    assert err == "bin.client: DATA_LOSS: that was all\n"


def test_nobody_there_is_a_status_too(run: Run, tmp_path: Path) -> None:
    status, _, err = run("--target", f"unix:{tmp_path}/nobody", "list")
    assert status == 64 + 14
    assert err.startswith("bin.client: UNAVAILABLE: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("call", "shop.v1.Shop/Gett"), r"did you mean shop\.v1\.Shop/Get\?"),
        (("call", "shop.v1.Shop/Get", "{"), "the request, line 1: "),
        (("call", "shop.v1.Shop/Get", "{} {}"), "takes one request, and 2 were given"),
        (("call", "shop.v1.Shop/Get", '{"nam": ""}'), r"has no field nam: did you mean name\?"),
        (("call", "shop.v1.Shop/Follow", '{"nam": ""}'), r"has no field nam: did you mean name\?"),
        (("call", "shop.v1.Shop/Follow", "{} {"), "the request, line 1: "),
        (("describe", "shop.v1.Itm"), r"did you mean shop\.v1\.Item"),
        (("list", "shop.v1.Shops"), r"did you mean shop\.v1\.Shop\?"),
        (("--protoset", __file__, "list"), "is not a FileDescriptorSet"),
        (("--proto", "/nonexistent.proto", "list"), "there is no such file"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run: Run, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(wire.WireError, match=said) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


def test_unknown_fields_can_be_ignored(run: Run) -> None:
    assert run("call", "shop.v1.Shop/Get", '{"nam": "", "name": "x"}', "--ignore-unknown")[1] == '{"name": "x"}\n'


def start(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "bin.client", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)


def test_responses_come_while_requests_are_open_and_an_interrupt_ends_it(target: str) -> None:
    with start("--target", target, "call", "shop.v1.Shop/Follow", "-") as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        for line in (b'{"name": "a"}\n', b'{"name": "b"}\n'):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def test_the_servers_end_is_the_end_though_input_goes_on(target: str) -> None:
    with start("--target", target, "call", "shop.v1.Shop/Follow", "-") as process:
        assert process.stdin
        process.stdin.write(b'{"name": "enough"}\n')
        process.stdin.flush()
        assert process.wait(60) == 0


def test_reader_that_goes_away_ends_it_quietly(target: str) -> None:
    with start("--target", target, "call", "shop.v1.Shop/Follow", "-") as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b'{"name": "a"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b'{"name": "b"}\n')
        process.stdin.flush()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_terminals_are_not_told_what_to_do_by_a_response() -> None:
    text = json.dumps({"a": "\u202ex\u009b\U000e0001ü"}, ensure_ascii=False)
    assert safe_json(text).isprintable()
    assert json.loads(safe_json(text)) == json.loads(text)
