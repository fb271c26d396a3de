"""A freshly rendered server to which clients connect, on plain loopback or behind a TLS proxy."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.approve import browser
from tests.support.process import Running
from tests.support.programs import CLIENTS, caddy, free_port

PASSWORD = "a password of some length"


@dataclass
class House:
    """The server as a process, at the public URL under which clients know it."""

    project: Path
    url: str
    server: Running
    authority: Path | None  # the certificate to trust, behind a TLS proxy

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def tls(self) -> ssl.SSLContext:
        """Returns what trusts the certificate of the place, for httpx's `verify`."""
        return ssl.create_default_context(cafile=self.authority)

    @property
    def log(self) -> str:
        return self.server.log

    def restart(self) -> None:
        """Stops the server and starts it again on its state."""
        self.server.stop()
        self._start()

    def lose_state(self) -> None:
        """Stops the server, deletes its state, and starts it again."""
        self.server.stop()
        shutil.rmtree(self.project / ".oauth-state")
        self._start()

    def _start(self) -> None:
        self.server = start(self.project, self.server.port, self.url)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Returns what a client's program is started with: a home of its own, our browser."""
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MCP_", "FASTMCP_"))}
        trusted = {"NODE_EXTRA_CA_CERTS": str(self.authority)} if self.authority else {}
        return {
            **kept,
            **trusted,
            "HOME": str(home),
            "PATH": os.pathsep.join([str(CLIENTS / "node_modules/.bin"), venv(), kept["PATH"]]),
            "BROWSER": browser(home, PASSWORD, self.authority),
            **more,
        }


def venv() -> str:
    """Returns the folder of the environment's programs, node among them."""
    return str(Path(sys.executable).parent)


def start(project: Path, port: int, url: str) -> Running:
    return Running(
        project,
        MCP_PORT=str(port),
        MCP_PUBLIC_URL=url,
        MCP_PASSWORD=PASSWORD,
        MCP_TRUSTED_PROXIES="127.0.0.1",
    )


@contextmanager
def house(kind: str, project: Path, folder: Path) -> Iterator[House]:
    """Starts the server for one kind of place, "loopback" or "tls"."""
    port = free_port()
    with ExitStack() as stack:
        url, authority = f"http://localhost:{port}", None
        if kind == "tls":
            url, authority = stack.enter_context(caddy(folder, port))
        built = House(project, url, start(project, port, url), authority)
        try:
            yield built
        finally:
            built.server.kill()
