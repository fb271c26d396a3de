"""The generated server as its owner runs it: real processes of a real render."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.owner import connect, rpc
from tests.support.process import (
    MAIN,
    Running,
    command,
    environment,
    free_port,
    wait_for_readiness,
)

Run = Callable[..., Running]


def test_the_defaults_serve_at_once_and_a_connected_client_survives_kill_9(run: Run) -> None:
    server = run()
    connection = connect(server.url, server.password)
    before = rpc(connection, "tools/list")

    server.kill()
    again = run(MCP_PORT=str(server.port))
    after = rpc(connection, "tools/list")

    assert before == after
    assert all(tool["name"].startswith("myserver_") for tool in after["tools"])
    assert connection.refresh().status_code == 200
    assert again.stop() == 0  # after it has closed everything:
    assert not (again.project / ".oauth-state" / "control.sock").exists()


def test_notes_are_kept_across_a_restart(run: Run) -> None:
    server = run()
    connection = connect(server.url, server.password)
    rpc(connection, "tools/call", name="myserver_save", arguments={"text": "Buy oat milk"})

    server.kill()
    run(MCP_PORT=str(server.port))
    found = rpc(connection, "tools/call", name="myserver_search", arguments={"query": "oat"})

    assert "oat" in json.dumps(found)
    assert found["isError"] is False


def test_the_instructions_name_the_prefix(run: Run) -> None:
    server = run()

    answer = rpc(
        connect(server.url, server.password),
        "initialize",
        protocolVersion="2025-11-25",
        capabilities={},
        clientInfo={"name": "test", "version": "1"},
    )

    assert "ALWAYS" in answer["instructions"]
    assert "myserver_" in answer["instructions"]
    assert "{prefix}" not in answer["instructions"]
    assert answer["serverInfo"]["name"] == "my-server"


def test_a_dropped_file_appears_prefixed_after_a_restart(run: Run, project: Path) -> None:
    tool = '''from fastmcp.tools import tool


@tool(annotations={"readOnlyHint": True})
def dice() -> int:
    """Rolls a die."""
    return 4
'''
    (project / "src" / "my_server" / "tools" / "games.py").write_text(tool)

    server = run()
    connection = connect(server.url, server.password)

    assert "myserver_dice" in [tool["name"] for tool in rpc(connection, "tools/list")["tools"]]


def test_the_collector_works_and_passes_over_what_starting_made(run: Run, project: Path) -> None:
    tool = '''import gc

from fastmcp.tools import tool


@tool(annotations={"readOnlyHint": True})
def collector() -> list[int]:
    """Says whether the garbage collector works, and how much it passes over."""
    return [gc.isenabled(), gc.get_freeze_count()]
'''
    (project / "src" / "my_server" / "tools" / "garbage.py").write_text(tool)
    server = run()
    connection = connect(server.url, server.password)

    answer = rpc(connection, "tools/call", name="myserver_collector", arguments={})

    works, passed_over = json.loads(answer["content"][0]["text"])
    assert works
    assert passed_over > 50_000


def test_extend_adds_what_is_no_tool_file(run: Run, project: Path) -> None:
    (project / "src" / "my_server" / "extend.py").write_text(
        "def extend(server):\n"
        "    @server.custom_route('/hello', methods=['GET'])\n"
        "    async def hello(request):\n"
        "        from starlette.responses import PlainTextResponse\n"
        "        return PlainTextResponse('hi')\n"
    )

    server = run()

    assert httpx.get(f"{server.url}/hello", trust_env=False).text == "hi"


def test_health_needs_no_token_and_shows_no_banner(run: Run) -> None:
    server = run()

    answer = httpx.get(f"{server.url}/healthz", trust_env=False)

    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert "server" not in answer.headers
    assert "FastMCP" not in server.log
    assert "Update available" not in server.log


def test_only_the_probe_of_balancers_answers_whoever_asks_by_address(run: Run) -> None:
    server, by_address = run(), {"host": "10.0.0.7:8050"}
    paths = ("/readyz", "/healthz", "/mcp", "/readyz/", "//readyz", "/readyz/../mcp")

    found = [
        httpx.get(f"{server.url}{path}", headers=by_address, trust_env=False) for path in paths
    ]

    assert [answer.status_code for answer in found] == [200, *[421] * (len(paths) - 1)]
    assert found[0].text == '{"status":"ready"}'


def test_no_spelling_of_a_probe_leads_past_the_door_to_anything_else(run: Run) -> None:
    server = run()
    paths = [
        *("/healthz/../mcp", "/healthz%2f..%2fmcp", "//readyz", "/readyz/", "/healthz;/mcp"),
        *("/healthz%00", "/HEALTHZ", "http://evil.example/readyz/mcp", "/readyz#/mcp", "/./mcp"),
    ]

    def status(method: str, path: str) -> int:
        asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        asked.putrequest(method, path, skip_host=True)
        asked.putheader("Host", "evil.example")
        asked.endheaders()
        with contextlib.closing(asked):
            return asked.getresponse().status

    assert {path: status("GET", path) for path in paths} == dict.fromkeys(paths, 421)
    assert {status(method, "/readyz") for method in ("POST", "PUT", "DELETE", "OPTIONS")} == {405}


def test_a_server_whose_state_cannot_be_written_says_so_until_it_can_be(run: Run) -> None:
    server = run()
    connection = connect(server.url, server.password)
    state, away = server.project / ".oauth-state", server.project / "away"

    before = httpx.get(f"{server.url}/readyz", trust_env=False)
    state.rename(away)
    refused = connection.refresh()
    without = wait_for_readiness(server.url, 503)
    alive = httpx.get(f"{server.url}/healthz", trust_env=False)
    away.rename(state)
    after = wait_for_readiness(server.url, 200)

    assert (before.status_code, before.json()) == (200, {"status": "ready"})
    assert refused.status_code == 503
    assert without.json() == refused.json()
    assert without.headers["retry-after"] == "5"
    assert (alive.status_code, after.status_code) == (200, 200)
    assert connection.refresh().status_code == 200


def test_the_log_names_the_file_with_the_password_and_not_the_password(run: Run) -> None:
    server = run()

    assert str(server.project / ".oauth-state" / "initial-password") in server.log
    assert server.password not in server.log


def test_the_log_can_be_json(run: Run) -> None:
    server = run(MCP_LOG_FORMAT="json")
    server.stop()

    lines = [json.loads(line) for line in server.log.splitlines()]

    assert lines[0].keys() == {"time", "level", "logger", "message"}


def test_the_password_is_shown_once_on_a_terminal_and_never_again(project: Path) -> None:
    def start_on_a_terminal() -> str:
        controller, terminal = pty.openpty()
        server = subprocess.Popen(
            [sys.executable, "-c", MAIN],
            cwd=project,
            env=environment(project, MCP_PORT=str(free_port())),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        shown = b""
        deadline = time.monotonic() + 30
        while b"Ctrl+C" not in shown and time.monotonic() < deadline:
            if select.select([controller], [], [], 0.5)[0]:
                shown += os.read(controller, 4096)
        while select.select([controller], [], [], 2)[0]:
            shown += os.read(controller, 4096)
        server.terminate()
        server.wait(15)
        os.close(controller)
        return shown.decode()

    first, second = start_on_a_terminal(), start_on_a_terminal()

    assert "shown only this once" in first
    assert "shown only this once" not in second
    assert not (project / ".oauth-state" / "initial-password").exists()


def test_the_password_command_works_while_the_server_runs(run: Run, project: Path) -> None:
    server = run()

    changed = command(project, "password", stdin="a much better password\n")

    assert changed.returncode == 0, changed.stderr
    assert connect(server.url, "a much better password").access_token
    assert not (project / ".oauth-state" / "initial-password").exists()


def test_the_password_command_works_before_the_first_start(run: Run, project: Path) -> None:
    generated = command(project, "password", stdin="\n")
    password = generated.stdout.split("once:")[1].split()[0]

    server = run()

    assert connect(server.url, password).access_token
    assert "password_made" not in server.log


def test_revoke_all_disconnects_every_client(run: Run, project: Path) -> None:
    server = run()
    connection = connect(server.url, server.password)

    command(project, "password", "--revoke-all", stdin="a much better password\n")

    assert connection.post({}).status_code == 401


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_connections_are_listed_and_revoked(run: Run, project: Path, running: bool) -> None:
    server = run()
    command(project, "password", stdin="a password to connect with\n")
    one, two = [connect(server.url, "a password to connect with") for _ in range(2)]
    if not running:
        server.stop()

    listed = json.loads(command(project, "connections", "--json").stdout)
    table = command(project, "connections").stdout
    revoked = command(project, "connections", "revoke", listed[0]["id"])
    unknown = command(project, "connections", "revoke", listed[0]["id"])
    unclear = command(project, "connections", "revoke")
    if not running:
        run(MCP_PORT=str(server.port))

    assert [row["client"] for row in listed] == ["Test", "Test"]
    assert all(row["id"] in table for row in listed)
    assert revoked.returncode == 0, revoked.stderr
    assert (unknown.returncode, unclear.returncode) == (2, 2)
    assert "There is no connection" in unknown.stderr
    assert sorted(c.post({}).status_code == 401 for c in (one, two)) == [False, True]


def test_the_password_command_says_where_a_configured_one_is_set(project: Path) -> None:
    done = command(project, "password", stdin="whatever it may be\n", MCP_PASSWORD="x" * 12)

    assert done.returncode == 2
    assert "MCP_PASSWORD" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_hash_command_prints_a_line_that_works(run: Run, project: Path) -> None:
    line = command(project, "password", "--hash", stdin="a much better password\n").stdout
    (project / ".env").write_text(line)

    server = run()

    assert line.startswith("MCP_PASSWORD='$argon2id$")
    assert connect(server.url, "a much better password").access_token


@pytest.mark.parametrize("arguments", [[], ["password"], ["clients"], ["serve"]], ids=str)
def test_a_bad_setting_is_one_sentence_and_exit_code_2(project: Path, arguments: list[str]) -> None:
    done = command(project, *arguments, MCP_PORT="many")

    assert done.returncode == 2
    assert done.stderr.startswith("MCP_PORT is refused")
    assert done.stderr.count("\n") == 1


def test_a_broken_tool_file_is_one_sentence_and_exit_code_2(project: Path) -> None:
    (project / "src" / "my_server" / "tools" / "mine.py").write_text("import nothing_like_this\n")

    done = command(project)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("src/my_server/tools/mine.py cannot be imported")
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_sentence(run: Run, project: Path) -> None:
    server = run()

    done = command(project, MCP_PORT=str(server.port), MCP_STATE_DIR="elsewhere")

    assert done.returncode == 2
    assert f"{server.port}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_second_server_on_one_state_is_one_sentence(run: Run, project: Path) -> None:
    run()

    done = command(project, MCP_PORT=str(free_port()))

    assert done.returncode == 2
    assert "Another server runs on the state directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_public_url_other_than_the_answers_is_said_at_start(run: Run) -> None:
    server = run(MCP_PUBLIC_URL="https://mcp.example.com")

    assert 'uvx copier update --defaults --data public_url="https://mcp.example.com"' in server.log


def test_answers_can_be_streams(run: Run) -> None:
    server = run(MCP_RESPONSES="sse")
    connection = connect(server.url, server.password)

    answer = connection.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "myserver_save" in answer.text


def test_the_state_is_private(run: Run, project: Path) -> None:
    run()

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (project / ".oauth-state").iterdir()}

    assert set(modes.values()) == {0o600}


def test_a_generated_password_that_is_hashed_is_shown(project: Path) -> None:
    done = command(project, "password", "--hash", stdin="\n")

    assert done.stdout.startswith("MCP_PASSWORD='$argon2id$")
    assert "shown only this once" in done.stderr


def test_a_broken_extension_is_one_sentence(project: Path) -> None:
    (project / "src" / "my_server" / "extend.py").write_text("def extend(server)\n")

    done = command(project)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("src/my_server/extend.py cannot be imported")
    assert "Traceback" not in done.stderr


def test_tools_find_their_secrets_of_the_env_file(run: Run, project: Path) -> None:
    (project / ".env").write_text("WEATHER_API_KEY=abc\n")
    (project / "src" / "my_server" / "tools" / "key.py").write_text(
        "import os\n\nKEY = os.environ['WEATHER_API_KEY']\n"
    )

    assert run().stop() == 0
