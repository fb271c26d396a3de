"""Several servers of one project on one store, and a balancer before them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.engines import Engine
from tests.support.process import Running, command, wait_for_readiness
from tests.support.programs import free_port, need, wait_for
from tests.support.site import URL, Visitor


@dataclass
class Door:
    """A port behind which `https://mcp.example.com` answers: a replica's, or a balancer's."""

    port: int

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def visitor(self, **headers: str) -> Visitor:
        return Visitor(self, headers)


class Replica(Door):
    """One server with a state directory of its own, on a store that it shares."""

    def __init__(self, project: Path, store: str, name: str, **settings: str) -> None:
        super().__init__(free_port())
        self.state_dir = project.parent / f"state-{name}"
        self._project = project
        self._settings = {
            "MCP_PORT": str(self.port),
            "MCP_PUBLIC_URL": URL,
            "MCP_STORAGE_URL": store,
            "MCP_STATE_DIR": str(self.state_dir),
            "MCP_TRUSTED_PROXIES": "127.0.0.0/8",
            **settings,
        }
        self._running: Running | None = None

    def start(self) -> None:
        self._running = Running(self._project, **self._settings)

    @property
    def running(self) -> Running:
        assert self._running is not None, "it was never started"
        return self._running

    @property
    def log(self) -> str:
        return self.running.log

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()


@dataclass
class Crowd:
    """Four replicas that were started at once on an empty store."""

    project: Path
    engine: Engine
    replicas: list[Replica]
    doors: dict[int, Door] = field(default_factory=dict)

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Runs one of the owner's commands beside the replicas; returns what it prints."""
        settings = {"MCP_STORAGE_URL": self.engine.url, "MCP_PUBLIC_URL": URL}
        state = str(self.project.parent / "state-command")
        done = command(self.project, *arguments, stdin=stdin, MCP_STATE_DIR=state, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait_until_balanced(self, count: int) -> None:
        """Waits until the balancer before so many replicas goes to each of them."""
        missing, deadline = {each.name for each in self.replicas[:count]}, time.monotonic() + 20
        while missing:
            answer = httpx.get(f"{self.doors[count].url}/healthz", trust_env=False)
            missing.discard(answer.headers.get("x-replica", ""))
            assert time.monotonic() < deadline, f"not balanced to: {missing}"


def replicas(project: Path, store: str, names: Sequence[str], **settings: str) -> list[Replica]:
    """Starts replicas at the same moment; returns them once all are ready."""
    made = [Replica(project, store, name, **settings) for name in names]
    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(Replica.start, made))
    for replica in made:
        wait_for_readiness(replica.url, 200)
    return made


@contextmanager
def balanced(project: Path, folder: Path, doors: Sequence[Door]) -> Iterator[Door]:
    """Starts the project's balancer before several doors; yields its own.

    It also says in a header which of them has answered.
    """
    program, door = need("caddy"), Door(free_port())
    folder.mkdir()
    config = folder / "Caddyfile"
    text = (project / "deploy/scale/Caddyfile").read_text()
    named = "header_down X-Replica {http.reverse_proxy.upstream.hostport}"
    config.write_text(text.replace("lb_policy", f"{named}\n\t\tlb_policy", 1))
    settings = {
        "PORT": str(door.port),
        "REPLICAS": " ".join(each.name for each in doors),
        "HEALTH_INTERVAL": "250ms",
        "SERVER_NETWORK": "127.0.0.0/8",
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "run", "--config", str(config), "--adapter", "caddyfile"],
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(door.port)
        yield door
    finally:
        process.terminate()
        process.wait(10)
