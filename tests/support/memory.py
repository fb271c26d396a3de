"""The tests' temporary files in memory, where there is room: a disk takes its time with folders.

A run makes some 350,000 files, a gigabyte in all, and on a disk each new folder, and each removed
one, can wait for the file system's journal. Whoever sets TMPDIR has the files there.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED = 4 * 1024**3  # bytes
ON_DISK = "TESTS_ON_DISK"  # names the folder for what has to lie on a disk


def on_disk() -> str:
    """Returns the folder of temporary files that would be used without memory."""
    return os.environ.get(ON_DISK) or tempfile.gettempdir()


def keep_temporary_files() -> None:
    """Lets this process and those that it starts keep their temporary files in memory.

    They go with this process.
    """
    if "TMPDIR" in os.environ or not _has_room():
        return
    os.environ[ON_DISK] = tempfile.gettempdir()
    for left in MEMORY.glob("tests-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    folder = tempfile.mkdtemp(prefix=f"tests-{os.getpid()}-", dir=MEMORY)
    os.chmod(folder, 0o1777)  # as /tmp: some tests run programs as another user
    atexit.register(_remove, folder, os.getpid())
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def _remove(folder: str, of_process: int) -> None:
    if os.getpid() == of_process:  # and not a fork of it
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    try:
        place = os.statvfs(MEMORY)
        available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    except OSError:
        return False
    room = min(place.f_bavail * place.f_frsize, int(available[1]) * 1024 if available else 0)
    return room >= NEEDED and not place.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK)
