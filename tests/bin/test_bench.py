"""bin.bench measures a server, its own or another, and says in one line what it cannot do."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

import wire
from bin import bench
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.bin.programs import ROOT, ServerProcess
from tests.certificates import Certificates
from tests.standard.shop import descriptors, shop_in_thread
from tests.support import run, serving
from wire.standard import reflection

HdrHistogram = pytest.importorskip("hdrh.histogram").HdrHistogram


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess("--listen", f"unix:{tmp_path_factory.mktemp('bench')}/s", "--rsa-bits", "none") as server:
        yield server.address


def measured(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON that it prints."""
    assert bench.main([*arguments, "--warmup", "0", "--json", "-"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_without_a_target_a_server_is_started_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    report = measured(capsys, "--requests", "300")
    assert report["answered"] == 300
    assert report["errors"] == {}
    assert report["server_cpu_us_per_call"] > 0
    assert report["client_cpu_us_per_call"] > 0
    assert HdrHistogram.decode(report["histogram"]).get_total_count() == 300


@pytest.mark.parametrize(
    "flags",
    [
        ("--processes", "2", "--connections", "3", "--concurrency", "5"),
        ("--rate", "3000", "--connections", "2"),
        ("--method", "echo-stream", "--concurrency", "4"),
        ("--method", "echo-stream", "--rate", "2000", "--loop", "trio"),
        ("--method", "sign", "--key", "ed25519", "--timeout", "20", "--engine", "h2"),
    ],
    ids=" ".join,
)
def test_every_kind_of_load_is_answered(capsys: pytest.CaptureFixture[str], target: str, flags: list[str]) -> None:
    report = measured(capsys, "--target", target, "--requests", "200", *flags)
    assert report["answered"] == 200
    assert set(report["latency_ms"]) == {"p50", "p90", "p99", "p99.9", "max", "mean"}
    assert bool(report["lateness_ms"]) == ("--rate" in flags)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("Get", '{"name": "a"} {"name": "b"}'),
        ("List", '{"sizes": [1, 2, 3]}'),
        ("Count", "[{}, {}]"),
        ("Follow", '{"name": "a"}\n{"name": "b"}'),
    ],
)
def test_any_method_is_called(capsys: pytest.CaptureFixture[str], method: str, data: str) -> None:
    descriptors("shop.proto")  # skips where there is no protoc
    with shop_in_thread() as address:
        call = ("--target", address, "--call", f"shop.v1.Shop/{method}", "--data", data, "-H", "x-who: me")
        report = measured(capsys, *call, "--requests", "20", "--timeout", "10")
    assert (report["answered"], report["errors"]) == (20, {})
    assert report["settings"]["method"].startswith(f"shop.v1.Shop/{method}, ")


def test_requests_are_sent_in_turn_by_all_callers(capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[bytes] = Counter()

    class Counts(wire.Servicer):
        service = EchoServiceStub.service

        def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
            seen[request.payload] += 1
            return EchoResponse()

    server = serving(Counts(), *reflection())
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(server) as (_, address),
    ):
        data = '{"payload": "YQ=="} {"payload": "Yg=="}'
        call = ("--target", address, "--call", "echo.v1.EchoService/Echo", "--data", data)
        report = measured(capsys, *call, "--requests", "20", "--concurrency", "3")
    assert report["answered"] == 20
    assert abs(seen[b"a"] - seen[b"b"]) <= 1


def test_method_that_is_not_there_is_said_in_one_line(target: str) -> None:
    with pytest.raises(wire.ConfigurationError, match=r"did you mean echo\.v1\.EchoService/Echo"):
        bench.main(["--target", target, "--call", "echo.v1.EchoService/Ecko"])


def test_tls_and_a_pid_are_for_a_target(capsys: pytest.CaptureFixture[str], certificates: Certificates) -> None:
    tls = ("--tls-cert", str(certificates.server), "--tls-key", str(certificates.server_key))
    with ServerProcess("--listen", "127.0.0.1:0", "--rsa-bits", "none", *tls) as server:
        flags = ("--target", server.address, "--tls-ca", str(certificates.ca), "--server-pid", str(server.process.pid))
        report = measured(capsys, *flags, "--requests", "50", "--tls-server-name", "localhost")
    assert report["answered"] == 50
    assert report["server_cpu_us_per_call"] > 0


def test_json_goes_to_a_file_beside_the_text(capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path) -> None:
    assert bench.main(["--target", target, "--requests", "50", "--warmup", "0", "--json", f"{tmp_path}/r"]) == 0
    assert json.loads((tmp_path / "r").read_text())["answered"] == 50
    shown = capsys.readouterr()
    assert "p99.9" in shown.out
    assert shown.err == ""  # no progress where there is no terminal


def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for wrong in ("/nonexistent/x", str(tmp_path)):
        with pytest.raises(SystemExit) as caught:
            bench.main(["--json", wrong])
        assert caught.value.code == 2
        assert f"cannot write '{wrong}'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^UNAVAILABLE: .*/nobody") as failure:
        bench.main(["--target", f"unix:{tmp_path}/nobody"])
    assert "\n" not in str(failure.value)


def test_failed_calls_are_counted_by_code() -> None:
    class FailsAfterOne(wire.Servicer):
        service = EchoServiceStub.service
        calls = 0

        def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
            self.calls += 1
            if self.calls > 1:
                raise wire.RpcError(wire.StatusCode.RESOURCE_EXHAUSTED, "no more")
            return EchoResponse()

    async def main() -> tuple[int, dict[str, Any]]:
        async with wire.Server([FailsAfterOne()]) as server:
            address = await server.listen("127.0.0.1:0")
            flags = ("--target", address, "--requests", "20", "--warmup", "0", "--json", "-")
            ended = await anyio.run_process([sys.executable, "-m", "bin.bench", *flags], cwd=ROOT, check=False)
            return ended.returncode, json.loads(ended.stdout)

    status, report = run(main)
    assert status == 1  # no call was answered well
    assert report["errors"] == {"RESOURCE_EXHAUSTED": 20}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["a terminal's Ctrl-C", "timeout(1)"])
def test_interrupt_shows_what_was_measured_so_far(number: signal.Signals) -> None:
    enough = 50

    class Counts(wire.Servicer):
        service = EchoServiceStub.service
        calls = 0

        def __init__(self) -> None:
            self.called_enough = anyio.Event()

        def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
            self.calls += 1
            if self.calls == enough:
                self.called_enough.set()
            return EchoResponse()

    async def main() -> tuple[int | None, str, str]:
        servicer = Counts()
        async with wire.Server([servicer]) as server:
            flags = (
                "--target",
                await server.listen("127.0.0.1:0"),
                "--rate",
                "500",
                "--warmup",
                "0",
                "--duration",
                "999",
            )
            async with await anyio.open_process(
                [sys.executable, "-m", "bin.bench", *flags], cwd=ROOT, start_new_session=True
            ) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                await servicer.called_enough.wait()
                os.killpg(process.pid, number)
                out = b"".join([chunk async for chunk in process.stdout]).decode()
                err = b"".join([chunk async for chunk in process.stderr]).decode()
                return await process.wait(), out, err

    status, out, err = run(main)
    assert status == 130
    assert "(interrupted)" in out
    assert "p50" in out
    assert err == ""


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--duration", "1", "--requests", "1"], "not allowed with"),
        (["--processes", "3", "--connections", "2"], "--connections must be at least --processes: 3"),
        (["--connections", "3", "--concurrency", "2"], "--concurrency must be at least --connections: 3"),
        (["--processes", "3", "--requests", "2"], "--requests must be at least --processes: 3"),
        (["--rate", "0"], "is not a number"),
        (["--tls"], "need --target"),
        (["--server-pid", "1"], "need --target"),
        (["--target", "h:1", "--tls-cert", __file__], "go together"),
        (["--key", "rsa"], "go with --method sign"),
        (["--method", "echo-stream", "--timeout", "1"], "does not go with"),
        (["--target", "vsock:x:y"], "vsock"),
        (["--call", "a/b", "--method", "echo"], "do not go with --call"),
        (["--data", "{}"], "go with --call"),
        (["-H", "nothing"], "'key: value'"),
        (["--sweep", "connections=1,2", "--rounds", "2"], "needs at least 3 --rounds"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as refused:
        bench.main(flags)
    assert refused.value.code == 2
    shown = capsys.readouterr().err
    assert complaint in shown
    assert shown.count("\n") == 1


def test_knobs_are_set_on_both_sides_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--set", "http2.stream_window_bytes=1MiB", "--set", "client.connections=2", "--set", "grace_s=0")
    report = measured(capsys, "--requests", "50", *flags)
    assert report["settings"]["knobs"] == "http2.stream_window_bytes=1MiB, connections=2"
    assert report["settings"]["server's"] == "http2.stream_window_bytes=1MiB, grace_s=0"
    with pytest.raises(SystemExit) as refused:
        bench.main(["--target", "127.0.0.1:1", "--set", "grace_s=0"])
    assert refused.value.code == 2
    assert "there is no knob grace_s" in capsys.readouterr().err
    assert bench.main(["--list-knobs", "--set", "server.grace_s=1"]) == 0
    assert "grace_s = 1   default 30" in capsys.readouterr().out


def test_a_rate_may_change_and_a_run_is_told_in_parts(capsys: pytest.CaptureFixture[str], target: str) -> None:
    flags = ("--target", target, "--duration", "0.6", "--processes", "2", "--connections", "2")
    report = measured(capsys, *flags, "--shape", "step:200,1000")
    assert report["answered"] == pytest.approx(360, abs=2)
    assert report["settings"]["load"] == "step:200,1000, at most 1,000 in flight"
    assert report["parts"][0]["at_s"] == 0.0  # and nine more, where the machine has nothing else to do
    assert report["machine"]["python"]


def test_trace_is_replayed(capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path) -> None:
    calls = [{"kind": "CALL", "method": "/a/B", "at_s": at, "took_s": 0.001} for at in (5.0, 5.01, 5.05)]
    (tmp_path / "trace").write_text("\n".join(map(json.dumps, calls)))
    report = measured(capsys, "--target", target, "--shape", f"replay:{tmp_path}/trace")
    assert (report["answered"], report["unsent"]) == (3, 0)


def test_rounds_are_compared(capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path) -> None:
    flags = ("--target", target, "--requests", "50", "--warmup", "0", "--rounds", "3")
    for name in ("a", "b"):
        assert bench.main([*flags, "--json", f"{tmp_path}/{name}"]) == 0
    assert "mean rate" in capsys.readouterr().out
    assert bench.main(["compare", f"{tmp_path}/a", f"{tmp_path}/b"]) == 0
    assert "B/A, 95 % confidence" in capsys.readouterr().out


def test_knob_of_both_sides_is_swept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.programs.bench.FEWEST_ROUNDS", 2)
    flags = ["--duration", "0.05", "--warmup", "0", "--rounds", "2", "--json", "-"]
    assert bench.main([*flags, "--sweep", "engine=tuned,h2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sweep"]["knob"] == "engine"
    assert [each["value"] for each in report["sweep"]["values"]] == ["tuned", "h2"]
    assert all(len(each["rounds"]) == 2 for each in report["sweep"]["values"])


def test_limit_is_searched_for(
    capsys: pytest.CaptureFixture[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire.programs.limit._FIRST_RATE", 3.9)  # few steps from there to less than one a second
    flags = ["--target", target, "--duration", "0.4", "--warmup", "0", "--find-limit", "p50=1us", "--json", "-"]
    assert bench.main(flags) == 1  # nothing answers that fast
    limit = json.loads(capsys.readouterr().out)["limit"]
    assert limit["rate_per_s"] is None
    assert limit["probes"][0]["why_not"] == "p50 is above 1 µs"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--rate", "1", "--shape", "step:1,2"], "not allowed with"),
        (["--shape", "wave:1"], "is not a shape"),
        (["--shape", "step:1,2", "--requests", "3"], "does not go with --shape"),
        (["--rate", "5", "--find-limit", "p99=5ms"], "do not go together"),
        (["--sweep", "engine=h2,tuned", "--find-limit", "p99=5ms"], "do not go together"),
        (["--sweep", "engine=h2,tuned", "--requests", "3"], "do not go with --sweep"),
        (["--sweep", "engin=h2,tuned"], "did you mean engine"),
        (["--target", "h:1", "--sweep", "grace_s=1,2"], "there is no knob grace_s"),
        (["--find-limit", "p99"], "is not a bound"),
    ],
)
def test_searches_and_shapes_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], flags: list[str], complaint: str
) -> None:
    test_flags_that_do_not_go_together_are_refused(capsys, flags, complaint)


def test_report_is_written_as_a_page(capsys: pytest.CaptureFixture[str], target: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert bench.main(["--target", target, "--requests", "50", "--warmup", "0", "--report", f"{tmp_path}/r.html"]) == 0
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Latency by percentile" in page
    assert "p99.9" in capsys.readouterr().out
