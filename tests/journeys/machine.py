"""A person's computer, on which the page's commands are run as they stand there."""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.generate.project import GIT_ENVIRONMENT
from tests.support.process import environment, wait_until_healthy

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
PATIENCE_SECONDS = 60

# What cannot be here, as programs on the PATH.
STAND_INS = {
    # All is installed and must stay as it is, so that uv only starts the programs of a project.
    "uv": """
case "$1" in
run) shift; exec {uv} run --quiet --offline --no-project "$@" ;;
sync) exec {python} -c 'import tomllib; tomllib.load(open("pyproject.toml", "rb"))' ;;
*) echo "uv $1 is unknown here" >&2; exit 2 ;;
esac
""",
    # Downloads Copier; here it is the one of the environment.
    "uvx": """
[ "$1" = copier ] || exit 2
shift
exec {python} -I -S {here}/loaded.py call {keeper} copier "$@"
""",
    # An engine and images.
    "docker": 'exec {python} -I -S {here}/loaded.py call {keeper} docker "$@"\n',
    # What `uv sync` makes of [project.scripts] and of the group dev.
    "my-server": 'exec {python} -I -S {here}/loaded.py call {keeper} my-server "$@"\n',
    "pytest": 'exec {python} -I -S {here}/loaded.py call {keeper} pytest "$@"\n',
}


class Machine:
    """One computer with one project on it; its server is what the person starts there."""

    def __init__(self, folder: Path, project: Path, keeper: Path) -> None:
        self.folder, self.project = folder, project
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True)
        (folder / "engine").mkdir()
        uv, python = shlex.quote(str(BIN / "uv")), shlex.quote(sys.executable)
        for name, script in STAND_INS.items():
            path = self._bin / name
            path.write_text(
                "#!/bin/sh\n" + script.format(uv=uv, python=python, here=HERE, keeper=keeper)
            )
            path.chmod(0o755)
        self._server: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"

    def sh(
        self, command: str, given: str = "", *, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project's folder, as it stands on the page."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.project,
            env=self._environment() | variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert (done.returncode != 0) == fails, (command, done.stdout, done.stderr)
        return done

    def start(self, command: str, url: str) -> None:
        """Starts the server by a command that does not end, and waits until it answers at a URL."""
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait(url)

    def wait(self, url: str) -> None:
        """Waits until the server answers."""
        answers = wait_until_healthy(url, self._has_ended)
        assert answers, f"nothing answers at {url}\n{self.log}"

    def _has_ended(self) -> bool:
        return self._server is not None and self._server.poll() is not None

    def stop(self) -> None:
        """Presses Ctrl+C."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGINT)
            self._server.wait(PATIENCE_SECONDS)
            self._server = None

    def close(self) -> None:
        """Ends what still runs."""
        self.stop()
        if (self.folder / "engine/container.json").exists():
            self.sh("docker compose down")

    @property
    def log(self) -> str:
        """What the server that was started last has said on the terminal."""
        return self._log.read_text() if self._log.exists() else ""

    def _environment(self) -> dict[str, str]:
        return environment(
            self.project,
            **GIT_ENVIRONMENT,
            HOME=str(self.folder),
            PATH=os.pathsep.join([str(self._bin), str(BIN), os.environ["PATH"]]),
            STAND_IN_ENGINE=str(self.folder / "engine"),
            VIRTUAL_ENV=sys.prefix,
        )


def quiet_ports(count: int = 2) -> int:
    """Returns the first of some ports, 10 apart, that no connection takes by chance meanwhile."""
    while True:
        first = random.randrange(20000, 30000)
        if all(_free(first + 10 * i) for i in range(count)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
