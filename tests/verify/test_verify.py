"""verify.py as a program, in front of a server in which nothing is broken."""

from __future__ import annotations

import ast
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from personal_verify import cli, project
from personal_verify.answers import plain
from personal_verify.checks import CHECKS, GROUPS, every_check
from personal_verify.unreachable import why_unreachable
from tests.generate.project import ROOT
from tests.support.process import Running, free_port
from tests.verify.faults.making import event_stream
from tests.verify.house import PASSWORD, House, Report, without_settings
from tests.verify.proxy import Answer, Asked, Fault, Hold

Verify = Callable[..., Report]

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43


# ---- As the owner --------------------------------------------------------------------------------


def test_everything_passes_and_nothing_is_left(house: House, verify: Verify) -> None:
    report = verify(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert (report.code, report.err) == (0, "")
    assert report.with_status("pass") == [check.id for check in every_check() if not check.option]
    assert house.connections == set()


def test_the_json_has_the_agreed_form(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url, "--json")

    assert set(report.json) == {"url", "ok", "ours", "checks"}
    assert report.json["ours"] is True
    assert report.json["url"] == house.url
    assert report.json["ok"] is True
    for check in report.json["checks"]:
        assert set(check) == {"id", "status", "detail", "cure"}
        assert check["status"] in {"pass", "fail", "skip"}
        assert check["detail"]
        assert check["cure"] == ""


def test_the_password_may_come_from_a_file(
    house: House, verify_here: Verify, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\r\n")

    report = verify_here(house.url, "--json", "--password-file", str(file))

    assert report.code == 0
    assert report.with_status("skip") == []


def test_the_password_of_the_first_start_signs_in_and_its_loss_is_said(
    rendered: Path, verify: Verify
) -> None:
    server = Running(rendered, MCP_STATE_DIR=".first-state")
    password = rendered / ".first-state" / "initial-password"

    report = verify(server.url, "--password-file", str(password))
    server.kill()

    assert report.code == 0, report.out
    assert not password.exists()
    assert "uv run my-server password" in report.err


def test_a_wrong_password_fails_the_sign_in(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url, "--json", MCP_PASSWORD="not the password")

    assert report.code == 1
    assert report.with_status("fail") == ["owner.sign_in"]
    assert report.checks["owner.sign_in"]["detail"].startswith("The server does not take")
    assert "`uv run my-server password`" in report.checks["owner.sign_in"]["cure"]


def test_who_mistyped_the_password_needs_no_second_run_to_get_in(
    house: House, verify_here: Verify
) -> None:
    for _ in range(2):
        verify_here(house.url, "--json", MCP_PASSWORD="not the password")

    report = verify_here(house.url, "--json", "--only", "owner.sign_in", MCP_PASSWORD=PASSWORD)

    assert report.with_status("pass") == ["owner.sign_in"], report.out


def test_a_person_at_a_terminal_is_asked_for_the_password(
    house: House, verify_here: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PASSWORD

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(cli, "getpass", ask)

    report = verify_here(house.url, "--only", "owner.sign_in")

    assert (len(asked), report.code) == (1, 0)
    assert "1 passed, 0 failed, 0 skipped" in report.out


@pytest.mark.parametrize("arguments", [["--json"], ["--only", "reach.health"]])
def test_nobody_is_asked_for_a_password_that_is_not_needed(
    house: House,
    verify_here: Verify,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(cli, "getpass", pytest.fail)

    assert verify_here(house.url, *arguments).code == 0


def test_answers_may_be_event_streams(house: House, verify_here: Verify) -> None:
    class Streaming(Fault):
        def after(self, asked: Asked, answer: Answer) -> None:
            event_stream(asked, answer)

    house.proxy.fault = Streaming()

    report = verify_here(house.url, "--json", MCP_PASSWORD=PASSWORD)

    assert report.code == 0, report.out


def interrupted(house: House, number: signal.Signals, hold: Hold, *, go_on: bool) -> Report:
    """Starts verify.py, and sends it a signal while it waits for an answer."""
    house.proxy.fault = hold
    process = subprocess.Popen(
        [sys.executable, "verify.py", house.url],
        cwd=house.project,
        env=without_settings(MCP_PASSWORD=PASSWORD),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hold.came.wait(30)
    process.send_signal(number)
    if go_on:
        hold.go_on.set()
    out, err = process.communicate(timeout=30)
    hold.go_on.set()
    return Report(process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_interrupts_it_finds_nothing_left(house: House, number: signal.Signals) -> None:
    hold = Hold(lambda asked: asked.message.get("method") == "tools/list")

    report = interrupted(house, number, hold, go_on=False)

    assert (report.code, house.connections) == (130, set())
    assert report.err == "verify.py: interrupted; what was granted is revoked.\n"


def test_what_is_granted_during_the_interruption_is_revoked_too(house: House) -> None:
    hold = Hold(lambda asked: asked.path == "/token" and asked.form["code"].startswith("pac_"))

    report = interrupted(house, signal.SIGINT, hold, go_on=True)

    assert (report.code, house.connections) == (130, set())


# ---- Without the password ------------------------------------------------------------------------


def test_without_the_password_it_does_what_a_stranger_can(house: House, verify: Verify) -> None:
    report = verify(house.url, "--json")

    inside = ("owner.", "protocol.", "grant.")
    assert report.code == 0
    assert report.with_status("skip") == [
        check.id for check in every_check() if check.id.startswith(inside) and not check.option
    ]
    reasons = {report.checks[name]["detail"] for name in report.with_status("skip")}
    assert reasons == {"needs the owner: --password-file, MCP_PASSWORD or --browser"}


def test_a_hash_cannot_sign_in_and_it_says_what_can(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url, "--json", MCP_PASSWORD=HASH)

    assert report.code == 0
    assert report.checks["owner.sign_in"]["status"] == "skip"
    assert "MCP_PASSWORD is a hash" in report.checks["owner.sign_in"]["detail"]
    assert "--password-file" in report.checks["owner.sign_in"]["detail"]


# ---- What is checked, and how it is shown --------------------------------------------------------


def test_only_runs_what_it_names_and_shows_nothing_else(house: House, verify_here: Verify) -> None:
    report = verify_here(
        house.url, "--json", "--only", "protocol.call, reach.health", MCP_PASSWORD=PASSWORD
    )

    assert list(report.checks) == ["reach.health", "protocol.call"]
    assert report.with_status("pass") == ["reach.health", "protocol.call"]


def test_only_takes_a_group(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url, "--json", "--only", "reach,edge.agents")

    asked = [check.id for check in every_check() if check.group == "reach"]
    assert list(report.checks) == [*asked, "edge.agents"]


def test_only_shows_what_failed_on_the_way(house: House, verify_here: Verify) -> None:
    report = verify_here(
        house.url, "--json", "--only", "protocol.call", MCP_PASSWORD="not the password"
    )

    assert report.code == 1
    assert report.with_status("fail") == ["owner.sign_in"]
    assert report.checks["protocol.call"]["detail"] == "needs owner.sign_in"


def test_list_names_every_check(verify: Verify) -> None:
    report = verify("--list")

    assert report.code == 0
    lines = [line.split(maxsplit=1) for line in report.out.splitlines()]
    assert lines == [[check.id, check.title] for check in every_check()]


def test_ids_titles_and_areas_are_of_use() -> None:
    for check in every_check():
        assert re.fullmatch(r"[a-z]+\.[a-z0-9_]+", check.id)
        assert check.group in GROUPS
        assert len(check.title) <= 34, "one line of the table"
        assert set(check.needs) <= set(CHECKS)


def test_the_table_reads_well_on_eighty_columns_without_colour(
    house: House, verify: Verify
) -> None:
    report = verify(house.url)

    assert all(len(line) <= 80 for line in report.out.splitlines())
    assert "\x1b" not in report.out
    assert re.search("^✓ pass  A stranger gets no token  ", report.out, re.MULTILINE)
    assert re.search(r"^– skip  \d+ checks +needs the owner: ", report.out, re.MULTILINE)
    checks = [check for check in every_check() if not check.option]
    inside = [check for check in checks if check.group in {"owner", "protocol", "grant"}]
    told = f"{len(checks) - len(inside)} passed, 0 failed, {len(inside)} skipped"
    closing = rf"No fault was seen: {told}, in \d+\.\d s\.$"
    assert re.search(closing, report.out.strip())


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252"])
def test_a_console_that_knows_few_characters_is_served(
    house: House, verify: Verify, encoding: str
) -> None:
    report = verify(house.url, "--only", "reach.health", PYTHONIOENCODING=encoding)

    assert report.code == 0
    assert "+ pass  The server answers" in report.out


def test_a_failure_is_shown_with_cause_and_cure(verify: Verify) -> None:
    url = f"http://localhost:{free_port()}"

    report = verify(url)

    assert report.code == 1
    assert f"Cause: Nothing listens at {url[7:]}." in report.out
    assert "Cure:  Start the server with `uv run my-server`, or correct the URL." in report.out


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    assert plain("\x1b[31mred\x07\n\u202eover") == "[31mred over"
    assert len(plain("x" * 10_000)) == 400


# ---- What cannot be reached, and what cannot be run ----------------------------------------------


def test_a_server_that_does_not_run_fails_one_check(verify_here: Verify) -> None:
    report = verify_here(f"http://127.0.0.1:{free_port()}", "--json", MCP_PASSWORD=PASSWORD)

    assert report.code == 1
    assert report.with_status("fail") == ["reach.health"]
    assert {check.partition(".")[0] for check in report.with_status("pass")} == {"reach"}
    assert report.checks["protocol.tools"]["detail"] == "needs a server that can be reached"


def test_https_where_http_is_spoken_is_named(house: House, verify_here: Verify) -> None:
    report = verify_here(house.url.replace("http:", "https:"), "--json")

    assert report.with_status("fail") == ["reach.certificate"]
    assert "does not speak TLS" in report.checks["reach.certificate"]["detail"]


def test_a_name_that_is_not_known_is_named() -> None:
    error = httpx2.ConnectError("connection failed")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")

    cause, cure = why_unreachable(error, "https://mcp.example.com")

    assert cause == "The name mcp.example.com is not known."
    assert "DNS" in cure


@pytest.mark.parametrize(
    "url",
    [
        "mcp.example.com",
        "localhost:8050",
        "ftp://mcp.example.com",
        "https://",
        "https://mcp.example.com/path",
        "https://mcp.example.com?x=1",
        "https://name:hush@mcp.example.com",
        "https://name:hush@mcp.example.com/path",
        "https://name:hush@[mcp.example.com",
        "https://mcp.example.com:99999",
        "https://[::1",
        "",
    ],
)
def test_a_url_that_is_none_cannot_be_verified(
    verify_here: Verify, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "FOLDER", Path("/nowhere"))

    report = verify_here(url, "--json")

    assert (report.code, report.out) == (2, "")
    assert re.fullmatch(r"verify\.py: [^\n]+\.\n", report.err)
    assert "hush" not in report.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "reach.health,protocol.nope"], "protocol.nope"),
        (["--only", ","], "--list"),
        (["--nope"], "--nope"),
        (["--password-file", "no-such-file"], "no-such-file"),
        (["--password-file", "."], "cannot be read"),
        (["--password-file", "hash"], "a hash"),
        (["--password-file", "empty"], "is empty"),
        (["--password-file", "binary"], "UTF-8"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    verify_here: Verify,
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hash").write_text(HASH)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")

    report = verify_here("http://localhost:1", *arguments)

    assert (report.code, report.out) == (2, "")
    assert told in report.err
    assert re.fullmatch(r"verify\.py: [^\n]+\.\n", report.err)


def test_plain_python_is_told_to_use_uv(verify: Verify) -> None:
    report = verify(python=("-I", "-S"))

    assert (report.code, report.out) == (2, "")
    assert report.err == (
        "verify.py needs the packages of its project: start it with `uv run verify.py`.\n"
    )


# ---- Where the URL comes from --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "dotenv", "url"),
    [
        ({}, "", "http://localhost:8050"),
        ({}, "MCP_PUBLIC_URL=https://mcp.example.com", "https://mcp.example.com"),
        ({}, "export MCP_PUBLIC_URL = 'https://mcp.example.com/' # ours", "https://mcp.example.com"),
        ({}, "MCP_PORT=9000", "http://localhost:9000"),
        ({"MCP_PORT": "9001"}, "MCP_PORT=9000", "http://localhost:9001"),
        ({"MCP_PUBLIC_URL": "https://a.example"}, "MCP_PUBLIC_URL=https://b.example\nMCP_PORT=1",
         "https://a.example"),
    ],
)  # fmt: skip
def test_the_url_comes_from_the_settings(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    dotenv: str,
    url: str,
) -> None:
    monkeypatch.setattr(project, "FOLDER", tmp_path)
    monkeypatch.delenv("MCP_PUBLIC_URL", raising=False)
    monkeypatch.delenv("MCP_PORT", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".env").write_text(dotenv)
    (tmp_path / ".env.example").write_text(
        "#MCP_PUBLIC_URL=http://localhost:8050\n#MCP_PORT=8050\n"
    )

    assert project.public_url(None) == url


@pytest.mark.parametrize(
    "given",
    ["https://mcp.example.com/", "https://MCP.example.com:443/mcp", " https://mcp.example.com"],
)
def test_the_url_is_taken_as_people_write_it(given: str) -> None:
    assert project.public_url(given) == "https://mcp.example.com"


# ---- What it is made of --------------------------------------------------------------------------


def test_it_judges_from_outside_and_needs_nothing_new() -> None:
    sources = [ROOT / "template/verify.py", *(ROOT / "template/src/personal_verify").glob("*.py")]
    imported = {
        (alias.name if isinstance(node, ast.Import) else str(node.module)).partition(".")[0]
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    others = {"httpx2", "rich", "personal_verify"}
    assert imported - set(sys.stdlib_module_names) == others
    assert not imported & {"fcntl", "pwd", "termios", "resource"}
