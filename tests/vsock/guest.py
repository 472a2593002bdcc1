"""One QEMU guest: boots in two seconds, runs one command on this machine's own files, and gives its exit status.

In: a `Machine` (what hardware) and a shell command. Out: the console's lines, the exit status, and the files that the
command left in the shared folder. The same code starts a guest on this machine and, from inside that guest, a second
one. Imports `packages` and the standard library.

The guest's root is this machine's, read-only through 9p with a layer in memory over it, so the command finds the same
interpreter and sources; nothing it writes comes back but through `image.SHARE`.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.vsock import packages

PYTHON = packages.ROOT / ".venv" / "bin" / "python"

_BARE_PC = "q35,smbus=off,sata=off,usb=off,vmport=off,hpet=off"
_KERNEL_OPTIONS = (
    "console=ttyS0 loglevel=3 panic=-1 nokaslr mitigations=off nowatchdog tsc=reliable no_timer_check "
    "random.trust_cpu=on cryptomgr.notests rcupdate.rcu_cpu_stall_suppress=1"
)
_ENVIRONMENT = (
    "HOME=/root LANG=C.UTF-8 PYTHONUNBUFFERED=1 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
    "TMPDIR=/run"  # which is in memory; /tmp is the host's, since this clone may lie there
)
WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""A program started so dies with the process that started it, however that one ends."""
_EMULATED = ("-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max")
"""Software emulation even where the machine has KVM: it behaves the same everywhere, and it brings along AMD's
virtualisation, which the nested guest runs on."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What QEMU emulates."""

    kind: str
    """A key of `image.MODULES`."""
    memory_mib: int
    processor: Sequence[str] = _EMULATED
    processors: int = 1
    devices: Sequence[str] = ()
    """QEMU arguments."""
    board: str = _BARE_PC
    kernel_options: str = _KERNEL_OPTIONS


LOOPBACK = Machine("loopback", 512)
"""Both ends inside one guest: CID 1 is itself."""

OUTER = Machine("outer", 768, kernel_options=f"{_KERNEL_OPTIONS} nohz=off highres=off")
"""A guest that is the host of another. Without its own two kernel options 2 of 20 inner guests stalled, with them 0 of
17."""


def inner(cid: int) -> Machine:
    """The guest within `OUTER`, at this CID; its host is CID 2."""
    return Machine(
        "inner", 192, ("-accel", "kvm", "-cpu", "host"), devices=("-device", f"vhost-vsock-pci,guest-cid={cid}")
    )


class NoVerdictError(Exception):
    """A guest stopped, stalled or ran out of time before it said what the caller waits for."""


class Guest:
    """A guest from boot to power-off; leaving its `with` block kills what still runs.

    `command` runs in the guest with `packages.ROOT` as its folder. `on_line` is called, from another thread, with each
    line of the console as it appears. QEMU also dies with the process that started it, so that none is left behind.
    """

    def __init__(self, machine: Machine, command: str, on_line: Callable[[str], None] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vsock-guest-")
        self.share = Path(self._folder.name)
        """The folder that the guest sees as `image.SHARE`."""
        (self.share / "command").write_text(f"cd {shlex.quote(str(packages.ROOT))}\nexport {_ENVIRONMENT}\n{command}\n")
        self.lines: list[str] = []
        """What the console has shown."""
        self._on_line = on_line
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [*WITH_US, *_arguments(machine, self.share)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()

    def kill(self) -> None:
        """As if its power failed."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def wait_for_line(self, text: str, limit_s: float) -> str:
        """The first line of the console that holds `text`. Raises `NoVerdictError`."""
        deadline = time.monotonic() + limit_s
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if text in line:
                        return line
                seen = len(self.lines)
                if self._ended or not self._news.wait(deadline - time.monotonic()):
                    raise NoVerdictError(f"the guest did not print {text!r}:\n{self.console()}")

    def wait(self, limit_s: float) -> int:
        """The exit status of the command, once the guest is off. Raises `NoVerdictError`."""
        try:
            self._process.wait(limit_s)
            self._reader.join()
            return int((self.share / "status").read_text())
        except (subprocess.TimeoutExpired, OSError, ValueError):
            raise NoVerdictError(f"the guest gave no exit status:\n{self.console()}") from None

    def console(self) -> str:
        """The console's last lines, for a message."""
        return "\n".join(self.lines[-40:])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip("\r\n")
            if self._on_line is not None:
                self._on_line(text)
            with self._news:
                self.lines.append(text)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class HybridGuest(Guest):
    """A guest whose AF_VSOCK ends in UNIX sockets of this machine, as under Firecracker and Cloud Hypervisor.

    Its CID is 3. It is dialled at `socket_path` (`hvsock://{socket_path}:PORT`); where it dials the host's port N, the
    UNIX socket `{socket_path}_N` is connected to. Both are in `folder`.
    """

    def __init__(self, folder: Path, command: str, on_line: Callable[[str], None] | None = None) -> None:
        self.socket_path = folder / "v.sock"
        control = folder / "control.sock"
        control.unlink(missing_ok=True)
        self.socket_path.unlink(missing_ok=True)
        sockets = f"--socket={control}", f"--uds-path={self.socket_path}"
        self._backend = subprocess.Popen(
            [*WITH_US, packages.VHOST_DEVICE_VSOCK, "--guest-cid=3", *sockets],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_socket(control)
            super().__init__(_hybrid(control), command, on_line)
        except BaseException:
            self._stop_backend()
            raise

    def kill(self) -> None:
        super().kill()
        self._stop_backend()

    def _stop_backend(self) -> None:
        self._backend.kill()
        self._backend.wait()


def _hybrid(control: Path) -> Machine:
    """The backend reads and writes the guest's memory, which is therefore shared."""
    memory = ("-object", "memory-backend-memfd,id=memory,size=512M,share=on")
    socket = ("-chardev", f"socket,id=vsock,path={control}", "-device", "vhost-user-vsock-pci,chardev=vsock")
    return Machine("inner", 512, devices=(*memory, *socket), board=f"{_BARE_PC},memory-backend=memory")


def _wait_for_socket(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.is_socket():
        if time.monotonic() > deadline:
            raise NoVerdictError("vhost-device-vsock did not start")
        time.sleep(0.01)


def start(boot: Callable[[], Guest], line: str, limit_s: float) -> Guest:
    """A guest that has printed `line`. One that does not within `limit_s` is replaced once.

    Raises `NoVerdictError` when the second does not either.
    """
    try:
        return _started(boot(), line, limit_s)
    except NoVerdictError:
        return _started(boot(), line, limit_s)


def _started(guest: Guest, line: str, limit_s: float) -> Guest:
    try:
        guest.wait_for_line(line, limit_s)
    except BaseException:
        guest.close()
        raise
    return guest


def python(*arguments: str | Path) -> str:
    """The shell command that runs this project's interpreter."""
    return shlex.join(map(str, (PYTHON, *arguments)))


def _arguments(machine: Machine, share: Path) -> Iterable[str]:
    export = "security_model=none,multidevs=remap"
    return (
        packages.QEMU,
        *("-M", machine.board, "-smp", str(machine.processors), "-m", str(machine.memory_mib), *machine.processor),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(packages.KERNEL), "-initrd", str(packages.initramfs_path(machine.kind))),
        *("-append", machine.kernel_options),
        *("-fsdev", f"local,id=root,path=/,readonly=on,{export}", "-device", "virtio-9p-pci,fsdev=root,mount_tag=host"),
        *("-fsdev", f"local,id=share,path={share},{export}", "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"),
        *machine.devices,
    )
