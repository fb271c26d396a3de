"""How clients are connected: the page, one client of it, and the address as a QR code."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ
from typing import Any

import pytest
import segno

from personal_server import connect, qr, settings
from personal_server.settings import CLIENT_DOMAINS, SettingRefused, load
from tests.generate.answer_sets import DEFAULTS
from tests.support.process import MAIN, command, environment

PUBLIC = "https://mcp.example.com"
HEADINGS = {
    "claude": ["Claude"],
    "chatgpt": ["ChatGPT"],
    "cursor": ["Cursor"],
    "vscode": ["VS Code"],
    "local": [
        "Claude Desktop with mcp-remote",
        "Claude Code",
        "Codex",
        "Gemini CLI",
        "MCP Inspector",
    ],
}
BLACK, WHITE = True, False
COLOURS = {"16": BLACK, "231": WHITE}
HALVES = {" ": "bb", "█": "ff", "▀": "fb", "▄": "bf"}  # upper and lower: back- or foreground


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The answers of a project that runs in this process."""
    answers = {**DEFAULTS, "port": 8050}
    for module in (settings, connect):
        monkeypatch.setattr(module, "answers", lambda: answers)
    monkeypatch.setattr(settings, "project_root", lambda: tmp_path)
    return answers


# --- the page


def test_the_command_prints_the_document_of_its_own_project(project: Path) -> None:
    done = command(project, "clients")

    assert done.stdout == (project / "docs/clients.md").read_text()
    assert (done.returncode, done.stderr) == (0, "")


def test_the_settings_in_force_are_shown_and_not_the_answers(
    answered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_PUBLIC_URL", PUBLIC)
    monkeypatch.setenv("MCP_ALLOWED_REDIRECT_DOMAINS", "vscode.dev, chatgpt.com")

    text = connect.instructions(load())

    assert text == connect.page("my-server", PUBLIC, ["chatgpt", "vscode"])
    assert "localhost:8050" not in text


@pytest.mark.parametrize("chosen", [["claude", "local"], ["vscode"], [*CLIENT_DOMAINS]], ids=str)
def test_each_client_that_may_connect_has_its_steps(chosen: list[str]) -> None:
    text = connect.page("my-server", PUBLIC, chosen)

    for client, headings in HEADINGS.items():
        for heading in headings:
            assert (f"\n## {heading}\n" in text) is (client in chosen)


@pytest.mark.parametrize("chosen", [["claude", "local"], ["vscode"], [*CLIENT_DOMAINS]], ids=str)
def test_who_may_not_connect_is_named_with_the_way_to_add_it(chosen: list[str]) -> None:
    end = connect.page("my-server", PUBLIC, chosen).partition("## Other clients")[2]

    offers = re.findall(r"`([^`]+)`:\n  `uvx copier .* 'clients=\[([^]]+)\]'`", end)

    wanted = [client for client in CLIENT_DOMAINS if client not in chosen]
    assert [tuple(domains.split(",")) for domains, _ in offers] == [
        CLIENT_DOMAINS[client] for client in wanted
    ]
    for client, (_, answer) in zip(wanted, offers, strict=True):
        assert set(answer.split(", ")) == {*chosen, client}


@pytest.mark.parametrize("url", ["http://localhost:8050", "http://[::1]:9000", "https://localhost"])
def test_a_local_address_is_offered_to_no_client_in_a_cloud(url: str) -> None:
    text = connect.page("my-server", url, [*CLIENT_DOMAINS])

    assert f"**Only this computer reaches {url}.**" in text
    for hosted in ("Claude", "ChatGPT"):
        section = text.partition(f"\n## {hosted}\n")[2].partition("\n## ")[0]
        assert "with this address" in section
        assert f"{url}/mcp" not in section
    assert "--qr" not in text


@pytest.mark.parametrize("url", [PUBLIC, "https://localhost.example.com"])
def test_a_public_address_is_offered_to_clients_in_a_cloud(url: str) -> None:
    text = connect.page("my-server", url, [*CLIENT_DOMAINS])

    assert "Only this computer" not in text
    for hosted in ("Claude", "ChatGPT"):
        assert f"{url}/mcp" in text.partition(f"\n## {hosted}\n")[2].partition("\n## ")[0]
    assert "my-server clients --qr" in text


def test_mcp_remote_is_not_sent_to_an_address_that_it_refuses() -> None:
    text = connect.page("my-server", "http://[::1]:9000", ["local"])

    assert "mcp-remote takes no address" in text
    assert "mcp-remote-client" not in text


def test_every_terminal_can_show_the_page() -> None:
    assert connect.page("my-server", PUBLIC, [*CLIENT_DOMAINS]).isascii()


# --- one client


@pytest.mark.parametrize(
    ("word", "headings"),
    [
        ("claude", ["Claude"]),
        ("claude-code", ["Claude Code"]),
        ("Claude Desktop", ["Claude Desktop with mcp-remote"]),
        ("mcp-remote", ["Claude Desktop with mcp-remote"]),
        ("codex", ["Codex"]),
        ("gemini", ["Gemini CLI"]),
        ("inspector", ["MCP Inspector"]),
        ("code", ["Claude Code", "Codex"]),  # VS Code is not among the clients
        ("vscode", ["Other clients"]),
        ("chatgpt", ["Other clients"]),
    ],
)
def test_one_client_is_found_by_a_part_of_its_name(
    answered: dict[str, Any], word: str, headings: list[str]
) -> None:
    text = connect.instructions(load(), word)

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == headings
    assert text in connect.instructions(load())


@pytest.mark.parametrize("word", ["netscape", "-", "http"])
def test_an_unknown_client_is_one_sentence(answered: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingRefused, match=r"^Name one of these, or a part of it: Claude, .*\.$"):
        connect.instructions(load(), word)


# --- the QR code


class Terminal(io.TextIOWrapper):
    """A terminal with an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True


def drawn(address: str, encoding: str, monkeypatch: pytest.MonkeyPatch, columns: int = 200) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    return qr.drawn(address, Terminal(encoding))


def seen(text: str) -> list[list[bool]]:
    """Returns what appears on a terminal of unknown colours, as rows of half a line's height."""
    rows: list[list[bool]] = []
    for line in text.splitlines():
        upper, lower = [], []
        colours: dict[str, bool] = {}
        for escape, character in re.findall(r"\x1b\[([\d;]*)m|(.)", line):
            if character:
                top, bottom = HALVES[character]
                upper.append(colours[top])  # fails for a colour that is the terminal's own
                lower.append(colours[bottom])
            elif escape == "0":
                colours = {}
            else:
                for ground, number in re.findall(r"([34])8;5;(\d+)", escape):
                    colours["f" if ground == "3" else "b"] = COLOURS[number]
        assert not colours, "the colours go on behind the line"
        rows += [upper, lower]
    return rows


def modules(address: str) -> list[list[bool]]:
    """Returns the code with the four light modules around it that its standard demands."""
    return [
        [bool(module) for module in row]
        for row in segno.make_qr(address, error="l").matrix_iter(border=4)
    ]


ADDRESSES = [f"https://{host}/mcp" for host in ("a.bc", "mcp.example.com", "x" * 63 + ".example")]


@pytest.mark.parametrize("address", ADDRESSES, ids=len)
def test_the_code_is_black_on_white_whatever_the_terminals_colours(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = seen(drawn(address, "utf-8", monkeypatch))

    expected = modules(address)
    assert rows[: len(expected)] == expected
    assert rows[len(expected) :] == [[BLACK] * len(expected)]  # half a line, outside the code


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("address", ADDRESSES, ids=len)
def test_the_code_needs_no_block_characters(
    address: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = drawn(address, encoding, monkeypatch)

    assert text.isascii()
    assert seen(text) == [
        [module for module in row for _ in "12"] for row in modules(address) for _ in "12"
    ]


@pytest.mark.parametrize(("encoding", "needed"), [("utf-8", 33), ("ascii", 66)])
def test_a_terminal_too_narrow_is_one_sentence(
    encoding: str, needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{PUBLIC}/mcp"
    lines = drawn(address, encoding, monkeypatch, columns=needed).splitlines()

    with pytest.raises(SettingRefused, match=rf"{needed} columns wide.*{address}$"):
        drawn(address, encoding, monkeypatch, columns=needed - 1)

    assert len(lines) in {17, 33}  # it fits a terminal of 24 lines, with blocks


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_without_colours_gets_one_sentence(
    term: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term:
        monkeypatch.setenv("TERM", term)

    with pytest.raises(SettingRefused, match=f"needs a terminal with colours.*{PUBLIC}"):
        qr.drawn(PUBLIC, Terminal("utf-8"))


def test_where_there_is_no_terminal_the_code_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")

    with pytest.raises(SettingRefused, match=rf"needs a terminal.*{PUBLIC}/mcp$"):
        connect.qr_code(PUBLIC)


def test_a_local_address_is_no_code_for_a_phone(project: Path) -> None:
    done = command(project, "clients", "--qr")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("A phone does not reach http://localhost:8050")
    assert done.stderr.count("\n") == 1


def test_the_code_is_only_printed_when_it_is_asked_for(project: Path) -> None:
    page = on_a_terminal(project, ["clients"])
    code = on_a_terminal(project, ["clients", "--qr"])

    assert "\x1b" not in page
    assert "█" not in page
    *lines, address = code.splitlines()
    assert address == f"{PUBLIC}/mcp"
    assert seen("\n".join(lines))[:33] == modules(address)


def on_a_terminal(project: Path, arguments: Sequence[str]) -> str:
    """Runs a command on a terminal of 80 columns; returns what it prints."""
    controller, terminal = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=project,
        env=environment(
            project, MCP_PUBLIC_URL=PUBLIC, TERM="xterm-256color", PYTHONIOENCODING="utf-8"
        ),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while some := os.read(controller, 65536):
            shown += some
    except OSError:  # the command has ended
        pass
    os.close(controller)
    assert process.wait(30) == 0, shown
    return shown.decode().replace("\r\n", "\n")
