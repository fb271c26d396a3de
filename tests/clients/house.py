"""A freshly rendered server to which clients connect, on plain loopback or behind a TLS proxy."""

from __future__ import annotations

import os
import shutil
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.approve import browser
from tests.support.process import Running
from tests.support.programs import CLIENTS, caddy, free_port
from tests.support.publisher import Publisher
from tests.support.site import PASSWORD, QUICK_HASH

PROGRAM = Path(__file__).with_name("served.py")


@dataclass
class House:
    """The server as a process, at the public URL under which clients know it."""

    project: Path
    url: str
    server: Running
    authority: Path | None  # the certificate to trust, behind a TLS proxy
    settings: dict[str, str] = field(default_factory=dict)  # what the server is started with

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
        self.server = start(self.project, self.server.port, self.url, **self.settings)

    def advance(self, seconds: float) -> None:
        """Sets the server's clock forward."""
        clock = Path(self.settings["TESTS_CLOCK"])
        late = clock.with_suffix(".new")
        late.write_text(str(float(clock.read_text()) + seconds))
        late.rename(clock)

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


@dataclass(frozen=True)
class Internet:
    """The hosts that a server can reach, all of them one program on loopback."""

    publisher: Publisher
    hosts: tuple[str, ...]
    certificate: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "TESTS_HOSTS": " ".join(self.hosts),
            "TESTS_PORT": str(self.publisher.port),
            "SSL_CERT_FILE": str(self.certificate),
        }


def venv() -> str:
    """Returns the folder of the environment's programs, node among them."""
    return str(Path(sys.executable).parent)


def start(project: Path, port: int, url: str, **settings: str) -> Running:
    return Running(
        project,
        (str(PROGRAM),),
        MCP_PORT=str(port),
        MCP_PUBLIC_URL=url,
        MCP_PASSWORD=QUICK_HASH,
        MCP_TRUSTED_PROXIES="127.0.0.1",
        **settings,
    )


@contextmanager
def house(
    kind: str, project: Path, folder: Path, internet: Internet | None = None, **settings: str
) -> Iterator[House]:
    """Starts the server for one kind of place, "loopback" or "tls".

    Args:
        kind: The kind of place.
        project: A rendered project, which the server is to have for itself.
        folder: Where what belongs to the place is kept.
        internet: All that the server can reach of the world; nothing without it.
        settings: More of the server's settings.
    """
    port = free_port()
    clock = folder / "clock"
    clock.write_text("0")
    settings |= {"TESTS_CLOCK": str(clock), "TESTS_HOSTS": "", "TESTS_PORT": "0"}
    settings |= internet.settings if internet else {}
    with ExitStack() as stack:
        url, authority = f"http://localhost:{port}", None
        if kind == "tls":
            url, authority = stack.enter_context(caddy(folder, port))
        server = start(project, port, url, **settings)
        built = House(project, url, server, authority, settings)
        try:
            yield built
        finally:
            built.server.stop()
