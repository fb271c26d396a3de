"""A machine that systemd boots, with a rendered project installed on it as its page says."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.process import wait_until_healthy
from tests.support.programs import need

SYSTEMD = Path("/lib/systemd/systemd")
BOOT = Path(__file__).with_name("boot.sh")
# What a whole system would bring up before the server; here there is nothing to bring up.
TARGETS = ("sysinit", "basic", "network-online", "multi-user", "shutdown")
SCRIPT = """#!/opt/{name}/.venv/bin/python
import sys

sys.path.insert(0, "/opt/{name}/src")  # as the editable install of `uv sync` does
from personal_server.cli import main

main()
"""


class Machine:
    """What root can do there."""

    def __init__(self, process: int, name: str, port: int, folder: Path) -> None:
        self._process, self.name, self.port, self._folder = process, name, port, folder
        self.url = f"http://localhost:{port}"

    def sh(self, command: str) -> str:
        """Runs a command as root; returns what it printed."""
        enter = ["nsenter", "--all", f"--target={self._process}", "sh", "-c", command]
        done = subprocess.run(enter, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def systemctl(self, verb: str) -> None:
        self.sh(f"systemctl {verb} {self.name}")

    def show(self, name: str) -> str:
        return self.sh(f"systemctl show --value --property={name} {self.name}").strip()

    @property
    def log(self) -> str:
        """What the server has said."""
        return (self._folder / "server.log").read_text()

    def wait_until_healthy(self) -> None:
        assert wait_until_healthy(self.url, self._has_failed), self.log

    def _has_failed(self) -> bool:
        return self.show("ActiveState") == "failed"


def prepare(project: Path, name: str) -> None:
    """Makes what `uv sync` makes, of the tests' own packages."""
    library = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    (project / ".venv" / library).mkdir(parents=True)
    (project / ".venv/bin").mkdir()
    (project / ".python").mkdir()
    python = f"/opt/{name}/.python/bin/python{sysconfig.get_python_version()}"
    (project / ".venv/bin/python").symlink_to(python)
    (project / ".venv/pyvenv.cfg").write_text(f"home = {Path(python).parent}\n")
    script = project / ".venv/bin/my-server"
    script.write_text(SCRIPT.format(name=name))
    script.chmod(0o755)


@contextmanager
def booted(project: Path, folder: Path, name: str, port: int, install: str) -> Iterator[Machine]:
    """Boots a machine after the commands that install the project there; skips where none can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can boot a systemd")
    if not SYSTEMD.exists():
        pytest.skip("the program systemd is not installed")
    units, work = folder / "units", folder / "work"
    units.mkdir()
    work.mkdir()
    for target in TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDescription=a stand-in\n")
    (folder / "install.sh").write_text(install)
    settings = {
        "WORK": str(work),
        "NAME": name,
        "PROJECT": str(project),
        "PYTHON": sys.base_prefix,
        "PACKAGES": sysconfig.get_path("purelib"),
        "LIBRARY": str(Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)),
        "INSTALL": str(folder / "install.sh"),
        "UNITS": str(units),
    }
    with _cgroup() as group, (folder / "boot.log").open("wb") as log:
        unshare = [need("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
        command = [*unshare, "--cgroup", "sh", str(BOOT)]
        process = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group, *command],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            machine = Machine(_first_child(process, folder), name, port, folder)
            yield machine
        finally:
            process.kill()
            process.wait()


def _first_child(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Waits until the machine's first process is a systemd that listens; returns its id here."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        for child in children.read_text().split():
            with suppress(OSError):
                if Path(f"/proc/{child}/root/run/systemd/private").exists():
                    return int(child)
        time.sleep(0.02)
    said = (folder / "boot.log").read_text()
    if "permission denied" in said.lower() or "Operation not permitted" in said:
        pytest.skip(f"no machine can be booted here: {said.splitlines()[-1]}")
    raise AssertionError(said)


@contextmanager
def _cgroup() -> Iterator[str]:
    """Makes a control group, below which the machine makes its own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [where for _, where, kind, *_ in mounts if kind == "cgroup2"]
    if not roots:
        pytest.skip("this machine has no cgroup2")
    group = Path(roots[0]) / f"tests-{os.getpid()}"
    group.mkdir()
    try:
        yield str(group)
    finally:
        deadline = time.monotonic() + 10
        for folder in [*sorted(group.rglob("*/"), reverse=True), group]:
            if folder.is_dir():
                _remove(folder, deadline)


def _remove(group: Path, deadline: float) -> None:
    """Removes a control group, once its last process has ended."""
    while True:
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
