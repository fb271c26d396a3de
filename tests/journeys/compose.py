"""Stands in for `docker compose`, for there is no engine: what its commands do to a project.

A container is a process of the project's own program. It sees what the real one sees: the files
that the image was built from, the environment of compose.yml over .env as both were when it was
made, and a root folder with the two volumes, which outlive it. What is not known here is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from dotenv import dotenv_values

FLAGS = {
    "build": set(),
    "up": {"-d", "--build"},
    "down": set(),
    "restart": set(),
    "logs": set(),
    "exec": set(),
    "run": {"--rm", "-T", "--no-deps"},
}
NEEDED = {"up": {"-d"}, "run": {"--rm", "-T"}}
SERVICE = "server"
VARIABLE = re.compile(r"\$(?:\$|\{(\w+):-([^{}]*)\})")


class Refused(Exception):
    """Docker would refuse it, or nobody has taught it here."""


class Engine:
    """The engine of one machine: one image, one container, two volumes."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.image, self.root = folder / "image", folder / "root"
        self.container, self.log = folder / "container.json", folder / "log"
        self.alive = folder / "alive"
        self.project = project
        self.service = yaml.safe_load((project / "compose.yml").read_text())["services"][SERVICE]

    def build(self) -> None:
        shutil.rmtree(self.image, ignore_errors=True)
        self.image.mkdir(parents=True)
        shutil.copy2(self.project / "pyproject.toml", self.image)  # as .dockerignore lets in
        shutil.copytree(self.project / "src", self.image / "src")

    def up(self, *flags: str) -> None:
        if "--build" in flags or not self.image.exists():
            self.build()
        self.down()
        address, port, _ = self.service["ports"][0].split(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, int(port)))
            except OSError:
                raise Refused(
                    f"Bind for {address}:{port} failed: port is already allocated"
                ) from None
        self.start(self.environment())

    def start(self, environment: dict[str, str]) -> None:
        with self.log.open("ab") as log, self.alive.open("wb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)  # held by the process for as long as it lives
            process = subprocess.Popen(
                [self.service["image"]],  # the command has the name of the image
                cwd=self.image,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[alive.fileno()],
                start_new_session=True,
            )
        self.container.write_text(json.dumps({"pid": process.pid, "environment": environment}))

    def down(self) -> None:
        if self.container.exists():
            self.stop(json.loads(self.container.read_text())["pid"])
            self.container.unlink()
            self.log.unlink()

    def restart(self, service: str) -> None:
        known = self.running()
        self.stop(known["pid"])
        self.start(known["environment"])

    def logs(self, service: str) -> None:
        sys.stdout.write(self.log.read_text())

    def exec(self, service: str, *command: str) -> int:
        return self.within(self.running()["environment"], command)

    def run(self, *arguments: str) -> int:
        _, *command = [part for part in arguments if part not in FLAGS["run"]]
        if not self.image.exists():
            self.build()
        return self.within(self.environment(), command)

    def within(self, environment: dict[str, str], command: list[str] | tuple[str, ...]) -> int:
        parts = [self.inside(part) for part in command]
        return subprocess.run(parts, cwd=self.image, env=environment).returncode

    def environment(self) -> dict[str, str]:
        for volume in self.service["volumes"]:
            self.root.joinpath(volume.split(":/")[1]).mkdir(parents=True, exist_ok=True)
        own = {name: os.environ[name] for name in ("PATH", "PYTHONWARNINGS") if name in os.environ}
        given = dotenv_values(self.project / self.service["env_file"][0]["path"])
        set_here = self.service["environment"].items()
        settings = {
            **given,
            **{name: filled_in(str(value), given) for name, value in set_here},
            "MCP_HOST": "127.0.0.1",  # of which compose.yml publishes the port to no other
        }
        seen = {name: self.inside(value or "") for name, value in settings.items()}
        return {**own, **seen, "PYTHONPATH": str(self.image / "src")}

    def inside(self, text: str) -> str:
        """Returns an absolute path of the container as one of this machine."""
        return f"{self.root}{text}" if text.startswith("/") else text

    def running(self) -> dict:
        if not self.container.exists():
            raise Refused(f'service "{SERVICE}" is not running')
        return json.loads(self.container.read_text())

    def stop(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        signal.alarm(15)
        with self.alive.open("wb") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
        signal.alarm(0)


def filled_in(text: str, variables: Mapping[str, str | None]) -> str:
    """Returns a value of compose.yml with its variables, such as ${NAME:-default}, filled in."""
    return VARIABLE.sub(lambda m: variables.get(m[1]) or m[2] if m[1] else "$", text)


def main() -> int:
    engine = Engine(Path(os.environ["STAND_IN_ENGINE"]), Path.cwd())
    try:
        group, command, *arguments = sys.argv[1:]
        flags = set(arguments[: _first_word(arguments)])
        if group != "compose" or command not in FLAGS or flags - FLAGS[command]:
            raise Refused(f"unknown here: {sys.argv[1:]}")
        if NEEDED.get(command, set()) - flags:
            raise Refused(f"without {NEEDED[command]} it would wait for somebody: {sys.argv[1:]}")
        words = arguments[_first_word(arguments) :]
        if (words[:1] == [SERVICE]) != (command in {"exec", "run", "restart", "logs"}):
            raise Refused(f"the service is {SERVICE}: {sys.argv[1:]}")
        return getattr(engine, command)(*arguments) or 0
    except Refused as error:
        print(error, file=sys.stderr)
        return 1


def _first_word(arguments: list[str]) -> int:
    return next((i for i, part in enumerate(arguments) if not part.startswith("-")), len(arguments))
