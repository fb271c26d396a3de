"""A rendered server as a process of its own, started as forks.py does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support import forks
from tests.support.programs import free_port

START_SECONDS = 60
# A person's project installs pytest without the plugins that these tests have.
ONLY_PYTEST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
MAIN = "from personal_server.cli import main; main()"


def environment(project: Path, **settings: str) -> dict[str, str]:
    """Returns an environment without the tests' own settings, with the given MCP_ ones."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MCP_", "FASTMCP_"))}
    return {**kept, "PYTHONPATH": str(project / "src"), "NO_COLOR": "1", **settings}


def command(
    project: Path, *arguments: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs one of the server's commands as the owner would."""
    return forks.run(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=project,
        env=environment(project, **settings),
        input=stdin,
        timeout=60,
    )


def wait_until_healthy(url: str, ended: Callable[[], bool]) -> bool:
    """Waits until a server answers; returns False when it has ended or is silent for a minute."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(trust_env=False, verify=False) as client:  # without what TLS needs: 20 ms
        while not ended() and time.monotonic() < deadline:
            try:
                if client.get(f"{url}/healthz").status_code == 200:
                    return True
            except httpx.TransportError:
                time.sleep(0.03)
    return False


def wait_for_readiness(url: str, status: int, seconds: float = 20) -> httpx.Response:
    """Returns the answer of `/readyz` once it has this status; it may change once a second."""
    deadline = time.monotonic() + seconds
    while True:
        answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=seconds)
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, f"/readyz says {answer.status_code}: {answer.text}"
        time.sleep(0.05)


class Running:
    """A server that was started and answers."""

    def __init__(
        self,
        project: Path,
        program: tuple[str, ...] = ("-c", MAIN),
        start: type[subprocess.Popen[Any]] = forks.Popen,
        **settings: str,
    ) -> None:
        self.project = project
        self.port = int(settings.pop("MCP_PORT", 0)) or free_port()
        self.url = f"http://localhost:{self.port}"
        self.log_file = project.parent / f"server-{self.port}.log"
        with self.log_file.open("ab") as log:
            self.process = start(
                [sys.executable, *program],
                cwd=project,
                env=environment(project, MCP_PORT=str(self.port), **settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def password(self) -> str:
        return (self.project / ".oauth-state" / "initial-password").read_text().strip()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _wait(self) -> None:
        answers = wait_until_healthy(self.url, lambda: self.process.poll() is not None)
        assert answers, f"the server does not answer:\n{self.log}"
