"""An owner at home: a server that runs or does not, its commands, and a browser at its page."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.support.authenticator import Authenticator, offered
from tests.support.owner import Connection
from tests.support.ownerpage import Desk
from tests.support.process import Running, command
from tests.support.programs import free_port
from tests.support.site import Place, Visitor


@dataclass
class Home:
    """One project with its settings."""

    project: Path
    settings: dict[str, str] = field(default_factory=dict)
    server: Running | None = None

    def __post_init__(self) -> None:
        self.settings = {"MCP_PORT": str(free_port()), **self.settings}

    @property
    def url(self) -> str:
        return f"http://localhost:{self.settings['MCP_PORT']}"

    def start(self) -> None:
        self.server = Running(self.project, **self.settings)

    def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            assert server.stop() == 0, server.log

    def ask(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command."""
        return command(self.project, *arguments, stdin=stdin, **self.settings)

    def said(self, *arguments: str, stdin: str = "") -> str:
        """Returns what a command that does its work prints on standard output."""
        done = self.ask(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def told(self, *arguments: str, stdin: str = "") -> Any:
        """Returns what a command tells programs."""
        return json.loads(self.said(*arguments, "--json", stdin=stdin))

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Returns the one sentence of a command that refuses."""
        done = self.ask(*arguments, stdin=stdin)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
        return done.stderr.strip()

    def script(self, token: str) -> Connection:
        """Returns a script that has a token."""
        return Connection(self.url, "", token, "")

    def browser(self) -> Desk:
        """Returns a browser that has never been here."""
        port = self.settings["MCP_PORT"]
        return Desk(Visitor(cast(Place, _Port(int(port))), {"host": f"localhost:{port}"}), self.url)


@dataclass(frozen=True)
class _Port:
    port: int


def enrol(desk: Desk, name: str) -> Authenticator:
    """Lets a browser that is signed in enrol a passkey."""
    options, challenge = offered(desk.act("name", id="0" * 16, name="").text)
    device = Authenticator(desk.origin)
    assertion = json.dumps(device.create(options))
    page = desk.act("add-passkey", challenge=challenge, assertion=assertion, name=name)
    assert "The passkey is added" in page.text
    return device
