"""Each fenced block that `clients` prints and docs/clients.md has is executed by its client.

The server looks up no metadata documents, so that clients register themselves: nothing here needs
the internet, and what a client might look for there is refused by a proxy that is none.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import textwrap
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from personal_server.settings import CLIENT_DOMAINS, domains_of
from tests.clients.conftest import KINDS
from tests.clients.house import House, house
from tests.support.process import command
from tests.support.programs import CLIENTS, free_port, need_client

SECONDS = 40
NAME = "my-server"
EVERYBODY = ",".join(domains_of(CLIENT_DOMAINS))
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

# Each fenced block of the page, by its heading and its beginning, and the test that executes it.
TESTED = {
    ("Connecting clients", "http"): "test_the_address_is_where_the_server_answers",
    ("Claude Desktop with mcp-remote", "npx"): "test_mcp_remote_signs_in_before_its_first_start",
    ("Claude Desktop with mcp-remote", "{"): "test_claude_desktop_starts_mcp_remote",
    ("Claude Code", "claude"): "test_claude_code_adds_the_server_and_signs_in",
    ("Codex", "codex mcp add"): "test_codex_adds_the_server_and_signs_in",
    ("Codex", "[mcp_servers"): "test_codex_reads_its_file_and_signs_in",
    ("Codex", "codex mcp login"): "test_codex_reads_its_file_and_signs_in",
    ("VS Code", "{"): "test_vs_code_has_what_its_format_requires",
    ("Cursor", "{"): "test_cursor_has_what_its_format_requires",
    ("Gemini CLI", "gemini"): "test_gemini_writes_the_file_that_the_page_shows",
    ("Gemini CLI", "{"): "test_gemini_writes_the_file_that_the_page_shows",
    ("MCP Inspector", "npx"): "test_the_inspector_starts",
}


@dataclass
class Page:
    """What the command prints."""

    text: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """Returns heading and content of each fenced block."""
        found = []
        for match in FENCED.finditer(self.text):
            headings = re.findall(r"^##? (.+)$", self.text[: match.start()], re.MULTILINE)
            found.append((headings[-1], textwrap.dedent(match[3]).strip()))
        return found

    def block(self, heading: str, beginning: str) -> str:
        (text,) = [text for of, text in self.blocks if of == heading and text.startswith(beginning)]
        return text


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest, rendered: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp(request.param)
    project = folder / NAME
    shutil.copytree(rendered, project)
    (project / ".env").write_text("MCP_CLIENT_DOCUMENTS=false\n")
    with house(request.param, project, folder) as built:
        yield built


@pytest.fixture(scope="module")
def page(place: House) -> Page:
    done = command(
        place.project,
        "clients",
        MCP_PUBLIC_URL=place.url,
        MCP_ALLOWED_REDIRECT_DOMAINS=EVERYBODY,
    )
    assert done.returncode == 0, done.stderr
    return Page(done.stdout)


@pytest.fixture
def person(place: House, tmp_path: Path) -> Person:
    return Person(place, tmp_path / "home")


class Person:
    """Somebody at a terminal in a home of their own, with a browser that approves."""

    def __init__(self, place: House, home: Path) -> None:
        nowhere = "http://127.0.0.1:9"
        self.home = home
        self.environment = place.environment(
            home,
            HTTPS_PROXY=nowhere,
            HTTP_PROXY=nowhere,
            NO_PROXY="localhost,127.0.0.1,::1",
            npm_config_offline="true",
            npm_config_update_notifier="false",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
            DISABLE_TELEMETRY="1",
            DISABLE_ERROR_REPORTING="1",
            GEMINI_CLI_TRUST_WORKSPACE="true",
            GEMINI_TELEMETRY_ENABLED="false",
            TERM="xterm-256color",
        )
        if place.authority:
            self.environment["SSL_CERT_FILE"] = str(place.authority)

    @property
    def approvals(self) -> list[str]:
        """Returns what came of each sign-in in the browser."""
        log = self.home / "browser.log"
        return log.read_text().splitlines() if log.exists() else []

    def types(self, lines: str, folder: Path | None = None) -> str:
        """Enters lines into a shell on a terminal; returns what appears when all have succeeded."""
        with self.shell(lines, folder) as terminal:
            shown, status = terminal.until_the_end()
        assert status == 0, shown
        return shown

    @contextmanager
    def shell(self, lines: str, folder: Path | None = None) -> Iterator[Terminal]:
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-ec", lines],
            cwd=folder or self.home,
            env=self.environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        try:
            yield Terminal(controller, process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(controller)


@dataclass
class Terminal:
    """A running program and what it shows."""

    controller: int
    process: subprocess.Popen[bytes]
    shown: str = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Waits until something appears."""
        deadline = time.monotonic() + SECONDS
        while not (match := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, self.shown
            assert self._more(), self.shown
        return match

    def until_the_end(self) -> tuple[str, int]:
        deadline = time.monotonic() + SECONDS
        while self._more():
            assert time.monotonic() < deadline, self.shown
        return self.shown, self.process.wait(5)

    def _more(self) -> bool:
        if not select.select([self.controller], [], [], SECONDS)[0]:
            return False
        try:
            some = os.read(self.controller, 65536)
        except OSError:  # everybody on the terminal has left
            return False
        self.shown += some.decode(errors="replace")
        return bool(some)


def test_every_fenced_block_is_executed_by_a_test(page: Page) -> None:
    known = {
        (heading, text): [key for key in TESTED if key[0] == heading and text.startswith(key[1])]
        for heading, text in page.blocks
    }

    assert all(len(keys) == 1 for keys in known.values()), known
    assert {key for keys in known.values() for key in keys} == TESTED.keys()
    assert all(callable(globals()[name]) for name in TESTED.values())


def test_the_address_is_where_the_server_answers(place: House, page: Page) -> None:
    address = page.block("Connecting clients", "http")

    answer = httpx.post(address, verify=place.tls, trust_env=False)

    assert address == place.mcp
    assert answer.status_code == 401
    assert "resource_metadata" in answer.headers["www-authenticate"]


def test_mcp_remote_signs_in_before_its_first_start(page: Page, person: Person) -> None:
    need_client("mcp-remote")

    shown = person.types(page.block("Claude Desktop with mcp-remote", "npx"), CLIENTS)
    tools = started_as_claude_desktop_does(page, person)

    assert "Connected successfully!" in shown
    assert '"myserver_save"' in shown
    assert "myserver_save" in tools
    assert len(person.approvals) == 1


def test_claude_desktop_starts_mcp_remote(page: Page, person: Person) -> None:
    need_client("mcp-remote")

    tools = started_as_claude_desktop_does(page, person)

    assert "myserver_save" in tools
    assert len(person.approvals) == 1


def test_claude_code_adds_the_server_and_signs_in(place: House, page: Page, person: Person) -> None:
    install_claude_code(person)

    person.types(page.block("Claude Code", "claude"))
    listed = person.types(f"claude mcp get {NAME} | cat; claude mcp list | cat")

    stored = json.loads((person.home / ".claude.json").read_text())
    assert stored["mcpServers"] == {NAME: {"type": "http", "url": place.mcp}}
    assert len(person.approvals) == 1
    assert listed.count("Connected") == 2
    assert "all your projects" in listed


def test_codex_adds_the_server_and_signs_in(place: House, page: Page, person: Person) -> None:
    need_client("codex")

    person.types(page.block("Codex", "codex mcp add"))
    listed = person.types("codex mcp list --json 2>/dev/null")

    written = tomllib.loads((person.home / ".codex/config.toml").read_text())
    assert written == tomllib.loads(page.block("Codex", "[mcp_servers"))
    assert len(person.approvals) == 1
    assert_signed_in_to_codex(listed, place)


def test_codex_reads_its_file_and_signs_in(place: House, page: Page, person: Person) -> None:
    need_client("codex")
    (person.home / ".codex").mkdir()
    (person.home / ".codex/config.toml").write_text(page.block("Codex", "[mcp_servers"))

    person.types(page.block("Codex", "codex mcp login"))
    listed = person.types("codex mcp list --json 2>/dev/null")

    assert len(person.approvals) == 1
    assert_signed_in_to_codex(listed, place)


def test_gemini_writes_the_file_that_the_page_shows(
    place: House, page: Page, person: Person
) -> None:
    need_client("gemini")

    person.types(page.block("Gemini CLI", "gemini"))
    listed = person.types("gemini mcp list")

    written = json.loads((person.home / ".gemini/settings.json").read_text())
    assert written == json.loads(page.block("Gemini CLI", "{"))
    assert f"{NAME}: {place.mcp} (http)" in listed


def test_vs_code_has_what_its_format_requires(place: House, page: Page) -> None:
    given = json.loads(page.block("VS Code", "{"))

    # code.visualstudio.com/docs/agents/reference/mcp-configuration: type and url are required
    assert given == {"servers": {NAME: {"type": "http", "url": place.mcp}}}


def test_cursor_has_what_its_format_requires(place: House, page: Page) -> None:
    given = json.loads(page.block("Cursor", "{"))

    # cursor.com/docs/mcp: a url without a command is a remote server
    assert given == {"mcpServers": {NAME: {"url": place.mcp}}}


def test_the_inspector_starts(page: Page, person: Person) -> None:
    need_client("mcp-inspector")
    person.environment |= {
        "CLIENT_PORT": str(free_port()),
        "SERVER_PORT": str(free_port()),
        "MCP_AUTO_OPEN_ENABLED": "false",
        "MCP_INSPECTOR_SECRET_STORE": "memory",
    }

    with person.shell(page.block("MCP Inspector", "npx"), CLIENTS) as terminal:
        address = terminal.until(r"http://127\.0\.0\.1:\d+/?\?\S+")[0]
        answer = httpx.get(address, trust_env=False)

    assert answer.status_code == 200
    assert "<title>MCP Inspector" in answer.text


def started_as_claude_desktop_does(page: Page, person: Person) -> list[str]:
    """Starts what claude_desktop_config.json names; returns the tools that it lists."""
    config = json.loads(page.block("Claude Desktop with mcp-remote", "{"))
    server = config["mcpServers"][NAME]
    transport = StdioTransport(
        server["command"], server["args"], env=person.environment, cwd=str(CLIENTS)
    )

    async def ask() -> list[str]:
        async with Client(transport, timeout=SECONDS, init_timeout=SECONDS) as client:
            return [tool.name for tool in await client.list_tools()]

    return asyncio.run(ask())


def install_claude_code(person: Person) -> None:
    """Puts the program itself on the person's path; npm's installation ran no scripts."""
    programs = list(CLIENTS.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
    if not programs:
        pytest.skip("the npm package of claude for this platform is not installed")
    folder = person.home / "bin"
    folder.mkdir()
    (folder / "claude").symlink_to(programs[0])
    person.environment["PATH"] = f"{folder}{os.pathsep}{person.environment['PATH']}"


def assert_signed_in_to_codex(listed: str, place: House) -> None:
    (server,) = json.loads(listed)
    expected: dict[str, Any] = {"type": "streamable_http", "url": place.mcp}
    assert server["name"] == NAME
    assert expected.items() <= server["transport"].items()
    assert server["auth_status"] == "o_auth"
