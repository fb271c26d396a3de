"""Images that are really built and containers that really run, without a daemon of any engine.

Everything lies in one folder and goes with it: images in memory, for they are large, and volumes on
the disk, where the server wants to see them. The two images that a build
starts from are made here, under their names, out of Debian's packages and the uv of these tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.memory import on_disk
from tests.support.mounts import tmpfs
from tests.support.programs import need

BASE, UV = "docker.io/library/python", "ghcr.io/astral-sh/uv"
LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
# Podman says so wherever systemd does not run; the tests call each health check themselves.
NO_SYSTEMD = "unable to get systemd connection"
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
# As in the image whose place it takes, pip is there and is no package of Debian's.
PIP = 'cd /usr/share/python-wheels && w=$(echo pip-*.whl) && python3 "$w/pip" install -q --no-index'
HOOKS = (
    'chroot "$1" ln -sf python3 /usr/bin/python',
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    'mkdir -p "$1"/etc/uv && echo "system-certs = true" > "$1"/etc/uv/uv.toml',
    f'chroot "$1" sh -c \'{PIP} "./$w"\' 2>/dev/null',
    "copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs",
)


class Engine:
    """buildah and podman with a storage of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.podman, self.buildah = need("podman"), need("buildah")
        self._storage = ["--storage-driver", "overlay"]
        self._storage += ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
        (folder / "containers.conf").write_text(CONFIGURATION)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
        self._environment = {
            **kept,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "TMPDIR": str(folder),
        }

    def __call__(self, *arguments: str, timeout: int = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command of podman's; whether it went well is the caller's to say."""
        return self._run([self.podman, *self._storage, *arguments], timeout)

    def say(self, *arguments: str) -> str:
        """Returns what a command of podman's prints; it has to go well."""
        done = self(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def build(self, project: Path, tag: str, *arguments: str) -> None:
        """Builds the image of a project as its Dockerfile says."""
        how = ["build", "--isolation", "chroot", "--pull-never", "--format", "docker", "--layers"]
        command = [self.buildah, *self._storage, *how, "-t", tag, *arguments, "."]
        done = self._run(command, 300, project)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def make_bases(self, version: str = "3.13") -> None:
        """Makes what stands in for the images of Python and of uv, under their names."""
        archive, packages = self.folder / "base.tar", "python3,python3-venv,python3-pip-whl"
        command = [need("mmdebstrap"), "--variant=minbase", "--quiet"]
        command += [f"--include={packages},ca-certificates", "--dpkgopt=force-unsafe-io"]
        command += [f"--customize-hook={hook}" for hook in HOOKS]
        done = self._run([*command, "trixie", str(archive)], 300)
        assert done.returncode == 0, done.stderr
        self.say("import", "-c", 'CMD ["python3"]', str(archive), f"{BASE}:{version}-slim")
        archive.unlink()
        shutil.copy(Path(sys.executable).parent / "uv", self.folder / "uv")
        self._run(["tar", "-C", str(self.folder), "-cf", str(archive), "uv"], 60)
        self.say("import", str(archive), f"{UV}:0.13")
        archive.unlink()

    def close(self) -> None:
        """Stops and removes whatever is left, with its mounts."""
        self("rm", "--all", "--force", "--time", "1")
        self("volume", "rm", "--all", "--force")
        self._run([self.buildah, *self._storage, "rm", "--all"], 60)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            self._run(["umount", "--lazy", mount], 30)

    def _run(
        self, command: list[str], timeout: int, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        lines = done.stderr.splitlines(keepends=True)
        done.stderr = "".join(line for line in lines if NO_SYSTEMD not in line)
        return done


@contextmanager
def engine() -> Iterator[Engine]:
    """Makes an engine with the images that a build starts from, or skips the test."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can build and run an image without an engine's daemon")
    for program in ("podman", "buildah", "runc", "iptables", "mmdebstrap"):
        need(program)
    with tempfile.TemporaryDirectory(prefix="engine-", dir=on_disk()) as folder:
        kept = Path(folder) / "volumes"
        kept.mkdir()
        with tmpfs(Path(folder) / "images", size="6g") as images:
            volumes = images / "root/volumes"
            volumes.mkdir(parents=True)
            subprocess.run(["mount", "--bind", kept, volumes], check=True, timeout=30)
            made = Engine(images)
            try:
                made.make_bases()
                yield made
            finally:
                made.close()
