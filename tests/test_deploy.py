"""What is in deploy/ is well-formed, and means what its programs understand, where these are installed."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def test_kubernetes_manifests_hang_together() -> None:
    yaml = pytest.importorskip("yaml")
    service, deployment = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    (exposed,) = service["spec"]["ports"]
    assert exposed["targetPort"] == port["name"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"]["port"] == port["containerPort"]
    assert container["args"][:2] == ["--listen", f"[::]:{port['containerPort']}"]
    grace_s = float(container["args"][container["args"].index("--grace") + 1])
    stop_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > grace_s + stop_s


def test_the_image_is_made_of_files_that_exist() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["wire.socket", "wire.service"])
def test_units_are_read(name: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(DEPLOY / name, encoding="utf-8")
    assert {"Unit", "Install"} < set(parser.sections())
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        done = subprocess.run(
            [analyze, "verify", "--man=no", str(DEPLOY / name)], capture_output=True, text=True, check=False
        )
        wrong = [line for line in done.stderr.splitlines() if name in line and "is not executable" not in line]
        assert not wrong


def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    version = tuple(map(int, re.findall(r"\d+", said.partition("nginx/")[2])[:3]))
    if version < (1, 25, 1):
        pytest.skip(f"nginx {'.'.join(map(str, version))} has no `http2 on`")
    done = subprocess.run(
        [nginx, "-t", "-q", "-p", str(tmp_path), "-c", str(DEPLOY / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_envoy_accepts_its_configuration() -> None:
    yaml = pytest.importorskip("yaml")
    parsed = yaml.safe_load((DEPLOY / "envoy.yaml").read_text(encoding="utf-8"))
    assert parsed["static_resources"]["clusters"][0]["name"] == "wire"
    envoy = shutil.which("envoy")
    if envoy is None:
        pytest.skip("envoy is not installed; the file is well-formed YAML")
    done = subprocess.run(
        [envoy, "--mode", "validate", "-c", str(DEPLOY / "envoy.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
