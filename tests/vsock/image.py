"""What a guest boots: an uncompressed kernel, and an initramfs that mounts this machine's files and runs one command.

In: a kernel package that was unpacked, and busybox. Out: the bytes of files. Imports the standard library only.
"""

from __future__ import annotations

import lzma
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

BASE_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""Every guest: the PCI devices, the file system shared by the host, and a writable layer over it."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "loopback": (*BASE_MODULES, "vsock_loopback"),
    "outer": (*BASE_MODULES, "vhost_vsock", "kvm_amd"),
    "inner": (*BASE_MODULES, "vmw_vsock_virtio_transport"),
}
"""Kind of guest → the kernel modules it loads."""

SHARE = "/share"
"""Where a guest sees the folder that it shares, writable, with its host."""

_INIT = """#!/bin/busybox sh
# Files: the host's root, read-only, under a layer in memory; /share, which both write.
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod "$module"; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro,noatime host /lower
busybox mount -t tmpfs tmpfs /upper
busybox mkdir /upper/files /upper/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
busybox mkdir -p /root/share
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none share /root/share
busybox mount -t tmpfs tmpfs /root/run
for kernel in proc sys dev; do busybox mount --move /$kernel /root/$kernel; done
busybox mkdir -p /root/dev/pts /root/dev/shm
busybox mount -t devpts devpts /root/dev/pts
busybox mount -t tmpfs tmpfs /root/dev/shm
busybox ip link set lo up
[ -e /root/dev/vsock ] && busybox chmod 666 /root/dev/vsock
# Through a pipe: on a terminal programs would draw.
{ busybox chroot /root /bin/sh /share/command; echo $? > /root/share/status; } 2>&1 | busybox cat
echo 0 > /root/proc/sys/kernel/printk
busybox poweroff -f
"""

_FOLDERS = ("bin", "dev", "proc", "sys", "modules", "lower", "upper", "root")
_XZ_MAGIC = b"\xfd7zXZ\x00"
_DEPENDS = re.compile(rb"(?:^|\x00)depends=([^\x00]*)\x00")


def cpio(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An archive in cpio's "newc" form of (path, mode with file type, content).

    Described in the kernel's document "initramfs buffer format".
    """
    parts: list[bytes] = []
    for inode, (path, mode, content) in enumerate((*files, ("TRAILER!!!", 0, b"")), start=1):
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        numbers = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % number for number in numbers) + name
        parts += (header, bytes(-len(header) % 4), content, bytes(-len(content) % 4))
    return b"".join(parts)


def depends(module: bytes) -> list[str]:
    """The modules that one module, as the bytes of its .ko file, names as loaded before it."""
    found = _DEPENDS.search(module)
    return found[1].decode().replace("-", "_").split(",") if found and found[1] else []


def load_order(wanted: Iterable[str], dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """`wanted` and all they depend on, each once and after what it depends on."""
    order: list[str] = []

    def add(name: str) -> None:
        for dependency in dependencies[name]:
            add(dependency)
        if name not in order:
            order.append(name)

    for name in wanted:
        add(name)
    return order


def uncompressed_kernel(vmlinuz: bytes) -> bytes:
    """The ELF kernel packed inside a bzImage with XZ, as Debian's is; what is packed otherwise comes back as it is.

    QEMU enters an ELF kernel directly (PVH), which spares the guest the unpacking: 2.7 s of emulation.
    """
    start = vmlinuz.find(_XZ_MAGIC)
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(vmlinuz[start:]) if start >= 0 else vmlinuz


def read_modules(folder: Path) -> dict[str, bytes]:
    """Name → content of all that the guests' modules need of the tree `folder`, which holds .ko or .ko.xz files."""
    paths = {path.name.split(".")[0].replace("-", "_"): path for path in folder.rglob("*") if ".ko" in path.suffixes}
    modules: dict[str, bytes] = {}
    missing = [name for names in MODULES.values() for name in names]
    while missing:
        name = missing.pop()
        if name not in modules:
            content = paths[name].read_bytes()
            modules[name] = lzma.decompress(content) if paths[name].suffix == ".xz" else content
            missing += depends(modules[name])
    return modules


def initramfs(kind: str, modules: Mapping[str, bytes], busybox: bytes) -> bytes:
    """The archive that a guest of this kind (a key of `MODULES`) starts from."""
    order = load_order(MODULES[kind], {name: depends(content) for name, content in modules.items()})
    folder, program, plain = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    return cpio(
        [
            *((name, folder, b"") for name in _FOLDERS),
            ("bin/busybox", program, busybox),
            ("init", program, _INIT.encode()),
            *((f"modules/{index:02}-{name}.ko", plain, modules[name]) for index, name in enumerate(order)),
        ]
    )
