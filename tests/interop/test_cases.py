"""gRPC's interop cases between wire's own client and server; the messages are what the compiler makes today."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

import wire
from tests.certificates import Certificates
from tests.interop.cases import CASES, Case
from tests.interop.grpc_testing import GrpcTestingServicer
from tests.support import LOCAL, run
from wire.config import CompressionName, EngineName

HERE = Path(__file__).parent
COMPILE = (
    *(sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE / 'protos'}"),
    "--python_betterproto2_opt=client_generation=none",
)


async def _case_between(
    case: Case, engine: EngineName, server_tls: wire.ServerTls | None, client_tls: wire.ClientTls | None, address: str
) -> None:
    async with wire.Server([GrpcTestingServicer()], config=wire.ServerConfig(engine=engine), tls=server_tls) as server:
        target = await server.listen(address)

        def connect(*, compression: CompressionName | None = None) -> AbstractAsyncContextManager[wire.Channel]:
            calls = wire.CallConfig(compression=compression)
            return wire.Channel(target, config=wire.ChannelConfig(engine=engine, calls=calls), tls=client_tls)

        await case(connect)
        await server.stop(0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_interop_case(case: Case, engine: EngineName) -> None:
    run(_case_between, case, engine, None, None, LOCAL)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_interop_case_over_tls(case: Case, certificates: Certificates) -> None:
    server_tls = wire.ServerTls(certificates.server, certificates.server_key)
    run(_case_between, case, "tuned", server_tls, wire.ClientTls(certificates.ca), LOCAL)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_interop_case_over_unix_sockets(case: Case, tmp_path: Path) -> None:
    run(_case_between, case, "tuned", None, None, f"unix:{tmp_path / 's'}")


def test_the_generated_messages_are_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("betterproto2_compiler")
    pytest.importorskip("grpc_tools")
    protos = sorted(str(path.relative_to(HERE / "protos")) for path in (HERE / "protos").rglob("*.proto"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [*COMPILE, f"--python_betterproto2_out={tmp_path}", *protos],
        check=True,
        capture_output=True,
        cwd=HERE,  # the compiler's formatter takes the line length from the project
        env={**os.environ, "PATH": path},
    )
    for made in tmp_path.rglob("*.py"):
        committed = HERE / "generated" / made.relative_to(tmp_path)
        assert made.read_text() == committed.read_text(), "run the command in tests/interop/protos/README.md"
