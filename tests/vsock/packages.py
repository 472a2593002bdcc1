"""Gets what the guests need from Debian's packages, once, and keeps it in `.cache/vsock/`.

QEMU is installed (as root, or through sudo where it asks for no password). The kernel and busybox are only downloaded
and unpacked, and so is vhost-device-vsock, which Debian has from its testing suite on. Imports `image` and the standard
library.
"""

from __future__ import annotations

import compileall
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.vsock import image

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "vsock"
QEMU = "qemu-system-x86_64"
KERNEL = CACHE / "vmlinux"
MODULES = CACHE / "modules"
BUSYBOX = CACHE / "busybox"
VHOST_DEVICE_VSOCK = CACHE / "vhost-device-vsock"

_QEMU_PACKAGE = "qemu-system-x86"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class UnavailableError(Exception):
    """The machine cannot run guests; the text is one sentence that says what is missing."""


def prepare(*, hybrid: bool = True) -> None:
    """Make everything in the cache that is not there yet, and compile the project, which a guest would do slowly.

    `hybrid`: also what hybrid vsock needs. Raises `UnavailableError`.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        have_qemu = shutil.which(QEMU) is not None
        have_hybrid = VHOST_DEVICE_VSOCK.exists() or not hybrid
        if not (have_qemu and have_hybrid and KERNEL.exists() and BUSYBOX.exists()):
            if shutil.which("apt-get") is None:
                raise UnavailableError("the guests are made from Debian's packages, and this system has no apt-get.")
            _refresh_lists()
        if not have_qemu:
            _install_qemu()
        if not KERNEL.exists():
            _unpack_kernel()
        if not BUSYBOX.exists():
            _unpack("busybox-static", "bin/busybox", BUSYBOX)
        if not have_hybrid:
            _unpack_vhost_device_vsock()
        modules = {path.stem: path.read_bytes() for path in MODULES.iterdir()}
        for kind in image.MODULES:
            _write(initramfs_path(kind), image.initramfs(kind, modules, BUSYBOX.read_bytes()))
        for package in ("bin", "proto", "services", "tests", "wire"):
            compileall.compile_dir(ROOT / package, quiet=2)


def initramfs_path(kind: str) -> Path:
    """`kind` is a key of `image.MODULES`."""
    return CACHE / f"initramfs-{kind}.cpio"


def _as_root() -> list[str] | None:
    """What to put before a command that needs root; None where this user may not become root without a password."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    return sudo if shutil.which("sudo") and _succeeds([*sudo, "true"]) else None


def _refresh_lists() -> None:
    """A new machine's lists are empty, and an old one's name versions that are gone. Where it fails, they may do."""
    if (root := _as_root()) is not None:
        _succeeds([*root, "apt-get", "update"])


def _install_qemu() -> None:
    if (root := _as_root()) is None:
        raise UnavailableError(
            f"QEMU must be installed first: apt-get install --no-install-recommends {_QEMU_PACKAGE}."
        )
    _say(f"installing {_QEMU_PACKAGE}")
    if not _succeeds([*root, "apt-get", "install", "-y", "--no-install-recommends", _QEMU_PACKAGE]):
        raise UnavailableError(f"apt-get could not install {_QEMU_PACKAGE}.")


def _unpack_kernel() -> None:
    """Debian's kernel for servers (its cloud kernel has no 9p), and the modules that guests load."""
    listed = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=False)
    names = [line.split()[-1] for line in listed.stdout.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise UnavailableError("apt knows no package linux-image-amd64 to take the guests' kernel from.")
    with _unpacked(names[0]) as folder:
        MODULES.mkdir(exist_ok=True)
        for name, content in image.read_modules(folder).items():
            _write(MODULES / f"{name}.ko", content)
        (vmlinuz,) = folder.glob("boot/vmlinuz-*")
        _write(KERNEL, image.uncompressed_kernel(vmlinuz.read_bytes()))


def _unpack_vhost_device_vsock() -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        Path(folder, "lists/partial").mkdir(parents=True)
        Path(folder, "sources.list").write_text(f"deb [signed-by={_KEYRING}] {_debian_archive()} testing main\n")
        # apt's own lists stay as they are: the testing suite is known to these two commands only.
        options = {
            "Dir::Etc::SourceList": f"{folder}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": f"{folder}/lists",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        flags = [f"--option={name}={value}" for name, value in options.items()]
        if not _succeeds(["apt-get", "update", *flags]):
            raise UnavailableError("apt-get could not read Debian's testing suite, which has vhost-device-vsock.")
        _unpack("vhost-device-vsock", "usr/bin/vhost-device-vsock", VHOST_DEVICE_VSOCK, flags)


def _debian_archive() -> str:
    """Where apt is configured to get Debian's packages from."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        raise UnavailableError("apt has no source of Debian's packages to get vhost-device-vsock from.")
    return listed[0]


def _unpack(package: str, program: str, target: Path, flags: Sequence[str] = ()) -> None:
    """One program out of a package."""
    with _unpacked(package, flags) as folder:
        _write(target, (folder / program).read_bytes(), mode=0o755)


@contextmanager
def _unpacked(package: str, flags: Sequence[str] = ()) -> Iterator[Path]:
    """A folder with what is in a package, which is downloaded but not installed."""
    _say(f"downloading {package}")
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        # As root, apt would fetch as a user of its own, who may not write here.
        fetch = ["apt-get", "download", "--option=APT::Sandbox::User=root", *flags, package]
        if not _succeeds(fetch, name):
            raise UnavailableError(f"apt-get could not download {package}.")
        (archive,) = Path(name).glob("*.deb")
        subprocess.run(["dpkg", "-x", archive, name], check=True)
        yield Path(name)


def _succeeds(command: Sequence[str], folder: str | None = None) -> bool:
    """Run quietly; what a failed command said goes to standard error."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode == 0


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """All of it or nothing: a run that was interrupted leaves no half file to be taken for a whole one."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.chmod(mode)
    part.replace(path)


def _say(text: str) -> None:
    print(f"vsock: {text}", file=sys.stderr, flush=True)
