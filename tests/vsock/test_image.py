"""The parts of a guest's image that need no QEMU: module order, the initramfs archive, the kernel inside a bzImage."""

from __future__ import annotations

import lzma
import stat
from pathlib import Path

import pytest

from tests.vsock import image

FOLDER, PROGRAM, PLAIN = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o640


def module(*names: str) -> bytes:
    """What a .ko file holds of its dependencies."""
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(names).encode() + b"\0retpoline=Y\0"


def test_modules_come_after_what_they_depend_on_and_once() -> None:
    dependencies = {"a": ["b", "c"], "b": ["d"], "c": ["b", "d"], "d": []}
    assert image.load_order(["c", "a"], dependencies) == ["d", "b", "c", "a"]


def test_a_module_that_depends_on_nothing_has_an_empty_list() -> None:
    assert image.depends(module()) == []
    assert image.depends(b"\x7fELF no such field") == []


def test_modules_are_known_by_their_loaded_names() -> None:
    assert image.depends(module("kvm-amd", "vsock")) == ["kvm_amd", "vsock"]


def test_reading_modules_brings_their_dependencies_and_unpacks_them(tmp_path: Path) -> None:
    for name in {name for names in image.MODULES.values() for name in names}:
        (tmp_path / f"{name.replace('_', '-')}.ko").write_bytes(module("shared"))
    (tmp_path / "shared.ko.xz").write_bytes(lzma.compress(module()))
    (tmp_path / "other.ko").write_bytes(module())
    found = image.read_modules(tmp_path)
    assert found["shared"] == module()
    assert "kvm_amd" in found
    assert "other" not in found


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """What an unpacker of the newc form reads: path → mode, content."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in range(13)]
        mode, content_bytes, name_bytes = numbers[1], numbers[6], numbers[11]
        name = archive[at + 110 : at + 110 + name_bytes]
        assert name[-1] == 0
        at = (at + 110 + name_bytes + 3) & ~3
        if name == b"TRAILER!!!\0":
            return found
        found[name[:-1].decode()] = mode, archive[at : at + content_bytes]
        at = (at + content_bytes + 3) & ~3


def test_an_archive_reads_back() -> None:
    files = [("etc", FOLDER, b""), *((f"etc/{'a' * size}", PLAIN, b"x" * size) for size in range(1, 6))]
    assert members(image.cpio(files)) == {path: (mode, content) for path, mode, content in files}


@pytest.mark.parametrize("kind", image.MODULES)
def test_an_initramfs_loads_its_modules_in_the_order_of_their_names(kind: str) -> None:
    wanted = image.MODULES[kind]
    modules = {name: module("virtio") for name in wanted} | {"virtio": module()}
    files = members(image.initramfs(kind, modules, b"busybox"))
    loaded = sorted(path for path in files if path.startswith("modules/"))
    assert loaded == [f"modules/{index:02}-{name}.ko" for index, name in enumerate(("virtio", *wanted))]
    assert files["bin/busybox"] == (PROGRAM, b"busybox")
    assert files["init"][1].startswith(b"#!/bin/busybox sh\n")


def test_the_kernel_comes_out_of_its_xz_wrapping() -> None:
    assert image.uncompressed_kernel(b"boot code" + lzma.compress(b"\x7fELF kernel") + b"after") == b"\x7fELF kernel"
    assert image.uncompressed_kernel(b"packed otherwise") == b"packed otherwise"
