"""Small file systems of a test's own: they fill up and turn read-only for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@contextmanager
def tmpfs(place: Path, size: str = "1m") -> Iterator[Path]:
    """Mounts an empty file system of memory, or skips the test with the reason."""
    _need("mount")
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place))
    try:
        yield place
    finally:
        _run("umount", "--lazy", str(place))


@contextmanager
def ext4(place: Path) -> Iterator[Path]:
    """Mounts an ext4 of 8 MB that turns read-only at its first error, or skips the test."""
    _need("mount", "mkfs.ext4")
    place.mkdir()
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    _run("mkfs.ext4", "-q", str(image))
    _mount("-o", "loop,errors=remount-ro", str(image), str(place))
    try:
        yield place
    finally:
        _run("umount", "--lazy", str(place))


def fail(place: Path) -> None:
    """Lets an ext4 meet an error, so that the kernel makes it read-only."""
    device = os.path.basename(_source(place))
    switch = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not switch.exists():
        pytest.skip("this kernel cannot be told to find an error in an ext4")
    switch.write_text("asked for by a test")


def remount(place: Path, how: str) -> None:
    """Mounts a file system again, `ro` or `rw`."""
    _run("mount", "-o", f"remount,{how}", str(place))


def immutable(folder: Path, *, on: bool) -> None:
    """Keeps everybody, root included, from changing what a folder of an ext4 holds."""
    _need("chattr")
    _run("chattr", "+i" if on else "-i", str(folder))


def fill(place: Path) -> Path:
    """Fills a file system to the last byte; returns the file that does it."""
    filler = place / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    with pytest.raises(OSError, match="No space left"):
        (place / "probe").write_bytes(b"x" * 4096)
    (place / "probe").unlink()
    return filler


def _need(*programs: str) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a file system")
    for program in programs:
        if shutil.which(program, path=PROGRAMS) is None:
            pytest.skip(f"the program {program} is not installed")


def _mount(*arguments: str) -> None:
    done = _try("mount", *arguments)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def _run(*command: str) -> None:
    done = _try(*command)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def _try(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": PROGRAMS}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


def _source(place: Path) -> str:
    for line in Path("/proc/mounts").read_text().splitlines():
        device, where, *_ = line.split()
        if where == str(place):
            return device
    raise AssertionError(f"nothing is mounted at {place}")
