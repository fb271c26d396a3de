"""The trail of a generated server: what a call leaves there, and that nothing waits for it."""

from __future__ import annotations

import json
import re
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from personal_server.settings import SettingRefused
from personal_server.trail import moment
from tests.support.owner import Connection, connect
from tests.support.process import Running, command

Run = Callable[..., Running]

FILE = Path(".oauth-state") / "trail.sqlite3"


def call(connection: Connection, tool: str, **arguments: Any) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    answer = connection.post({**message, "params": {"name": tool, "arguments": arguments}})
    found: dict[str, Any] = answer.json()
    return found


def entries(project: Path, *arguments: str, **settings: str) -> list[dict[str, Any]]:
    """Returns what the command shows, the newest first."""
    answer = command(project, "trail", "--json", *arguments, **settings)
    assert answer.returncode == 0, answer.stderr
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def calls_once_written(project: Path, number: int) -> list[dict[str, Any]]:
    """Waits for the calls that a running server writes within a second."""
    deadline = time.monotonic() + 20
    while len(found := [e for e in entries(project) if e["kind"] == "call"]) < number:
        assert time.monotonic() < deadline, found
    return found


def test_each_call_is_one_entry_with_who_what_how_it_ended_and_how_long(
    run: Run, project: Path
) -> None:
    server = run()
    connection = connect(server.url, server.password, name="Some client")
    call(connection, "myserver_save", text="an argument that nobody may keep")
    call(connection, "myserver_get", id=4711)
    call(connection, "myserver_nothing", id=4711)
    assert server.stop() == 0

    found = entries(project)[:3]

    assert [(e["tool"], e["outcome"]) for e in found] == [
        ("myserver_nothing", "unknown"),
        ("myserver_get", "error"),
        ("myserver_save", "ok"),
    ]
    assert {(e["kind"], e["client"], e["address"]) for e in found} == {
        ("call", "Some client", "127.0.0.1")
    }
    (grant,) = {e["connection"] for e in found}
    assert all(0 < e["milliseconds"] < 60_000 for e in found)
    assert all(e["arguments"] is None for e in found)
    ago = time.time() - datetime.fromisoformat(found[0]["time"]).timestamp()
    assert 0 <= ago < 60
    assert entries(project, "--connection", grant, "--limit", "3") == found
    state = json.loads((project / ".oauth-state" / "oauth_tokens.json").read_text())
    assert state["rows"]["seen"][grant]["value"]["calls"] == 3


def test_a_call_that_a_read_only_connection_may_not_make_is_one_that_was_refused(
    run: Run, project: Path
) -> None:
    server = run()
    made = command(project, "token", "create", "reader", "--read-only", MCP_PORT=str(server.port))
    token = made.stdout.strip()
    reader = Connection(server.url, "", token, "")
    call(reader, "myserver_save", text="something")
    call(reader, "myserver_list")
    assert server.stop() == 0

    found = [
        (e["tool"], e["outcome"], e["client"]) for e in entries(project) if e["kind"] == "call"
    ]

    assert found == [
        ("myserver_list", "ok", "reader"),
        ("myserver_save", "refused", "reader"),
    ]


def test_what_happens_at_the_door_is_there_too_and_no_secret_is(run: Run, project: Path) -> None:
    server = run(MCP_PASSWORD="the owner's password")
    with pytest.raises(AssertionError):  # the page is shown again
        connect(server.url, "a wrong password")
    connection = connect(server.url, "the owner's password", name="Some client")
    call(connection, "myserver_save", text="an argument that nobody may keep")
    Connection(server.url, "", "pat_of_nobody", "").post({})
    httpx.get(f"{server.url}/authorize", params={"q": "a_word_of_a_query"}, trust_env=False)
    revoked = command(project, "connections", "revoke", "--all")
    assert revoked.returncode == 0, revoked.stderr
    refused = connection.post({})
    assert refused.status_code == 401
    server.stop()

    found = entries(project)
    raw = (project / FILE).read_bytes()

    events = [e["event"] for e in found if e["kind"] == "gate"]
    assert {"client_registered", "approval_asked", "owner_signed_in", "wrong_password"} < {*events}
    assert {"connection_approved", "tokens_issued"} < {*events}
    assert events.index("connection_revoked") < events.index("connection_approved")
    whys = [e["fields"]["why"] for e in found if e["event"] == "request_refused"]
    assert whys.count("invalid_token") == 2
    assert b"Some client" in raw
    for secret in (
        *("the owner's password", "a wrong password", "an argument that nobody may keep"),
        *(connection.access_token, connection.refresh_token, "pat_of_nobody", "a_word_of_a_query"),
    ):
        assert secret.encode() not in raw, secret
        assert secret.encode() not in raw.replace(b"_", b" "), secret


def test_arguments_are_kept_of_the_tools_that_a_setting_names(run: Run, project: Path) -> None:
    server = run(MCP_TRAIL_ARGUMENTS="myserver_search, myserver_get")
    connection = connect(server.url, server.password)
    call(connection, "myserver_save", text="not this")
    call(connection, "myserver_search", query="Öl " * 1000)
    call(connection, "myserver_get", id=7)
    server.stop()

    get, search, save = (e["arguments"] for e in entries(project)[:3])

    assert json.loads(get) == {"id": 7}
    assert search.startswith('{"query": "Öl Öl ')
    assert len(search) == 2000
    assert save is None
    assert b"not this" not in (project / FILE).read_bytes()


@pytest.mark.parametrize("by", [[], ["doctor"]], ids=["the start", "doctor"])
def test_a_tool_that_there_is_not_stops_the_start_and_the_closest_is_proposed(
    project: Path, by: list[str]
) -> None:
    answer = command(project, *by, MCP_TRAIL_ARGUMENTS="myserver_save,myserver_serach")

    said = answer.stdout + answer.stderr
    assert answer.returncode in {1, 2}
    assert (
        "MCP_TRAIL_ARGUMENTS is refused: no tool is named 'myserver_serach':"
        " did you mean myserver_search?" in said
    )
    assert "Traceback" not in said


def test_the_command_shows_whole_lines_while_the_server_runs_and_touches_nothing(
    run: Run, project: Path
) -> None:
    before = command(project, "trail")
    server = run()
    connection = connect(server.url, server.password, name="A client with a long name " * 4)
    call(connection, "myserver_list")
    (called,) = calls_once_written(project, 1)
    looks = (project / FILE).stat(), {*(project / ".oauth-state").iterdir()}

    shown = command(project, "trail", "--since", "1h")
    last = command(project, "trail", "--limit", "1")
    whole = command(project, "trail", "--limit", f"{10**30}")
    later = command(project, "trail", "--since", "2100-01-01")

    assert before.stdout == "Nothing is in the trail yet.\n"
    head, first, *_ = [line for line in shown.stdout.splitlines() if line.strip()]
    assert re.split(r"\s{2,}", head.strip())[1:] == [
        *("connection", "client", "what", "outcome", "ms", "from", "more")
    ]
    assert re.search(rf"{called['connection']}  A client .+ myserver_list +ok +[0-9.]+", first)
    assert "owner_signed_in" in shown.stdout
    assert last.stderr == "There are older entries: --limit 10 shows more.\n"
    assert "owner_signed_in" not in last.stdout
    assert (whole.stdout, whole.stderr) == (shown.stdout, "")
    assert later.stdout == "There is no such entry in the trail.\n"
    assert looks[0].st_mtime_ns == (project / FILE).stat().st_mtime_ns
    assert looks[1] == {*(project / ".oauth-state").iterdir()}


def test_without_a_trail_all_answers_are_the_same_and_nothing_is_kept(
    run: Run, project: Path
) -> None:
    def answers(server: Running) -> list[dict[str, Any]]:
        connection = connect(server.url, "the owner's password")
        return [
            call(connection, "myserver_get", id=4711),
            call(connection, "myserver_get", wrong=True),
            call(connection, "myserver_nothing"),
            call(connection, "myserver_list"),
        ]

    off = run(MCP_TRAIL_DAYS="0", MCP_PASSWORD="the owner's password")
    without = answers(off)
    off.stop()
    assert not (project / FILE).exists()
    shown = command(project, "trail", MCP_TRAIL_DAYS="0")
    on = run(MCP_PASSWORD="the owner's password")

    assert answers(on) == without
    assert shown.stdout == "No trail is kept: MCP_TRAIL_DAYS is 0.\n"


def test_calls_go_on_where_the_trail_cannot_be_kept_and_it_is_said_once(
    run: Run, project: Path
) -> None:
    (project / FILE).mkdir(parents=True)
    server = run()
    connection = connect(server.url, server.password)

    answers = [call(connection, "myserver_save", text="kept all the same") for _ in range(5)]
    shown = command(project, "trail")
    assert server.stop() == 0

    assert [answer["result"]["isError"] for answer in answers] == [False] * 5
    assert server.log.count("[trail_not_kept]") == 1
    assert shown.returncode == 2
    assert "cannot be read" in shown.stderr
    assert "Traceback" not in shown.stderr + server.log


def test_a_killed_server_leaves_a_trail_that_the_next_one_writes_on(
    run: Run, project: Path
) -> None:
    server = run()
    connection = connect(server.url, server.password)
    call(connection, "myserver_list")
    calls_once_written(project, 1)

    server.kill()
    left = [e["tool"] for e in entries(project) if e["kind"] == "call"]
    again = run(MCP_PORT=str(server.port))
    call(connection, "myserver_search", query="x")
    again.stop()

    assert left == ["myserver_list"]
    assert [e["tool"] for e in entries(project, "--limit", "1")] == ["myserver_search"]
    assert "myserver_list" in {e["tool"] for e in entries(project)}
    assert "[trail_not_kept]" not in again.log


def test_a_backup_leaves_the_trail_out_and_a_restore_leaves_it_where_it_is(
    run: Run, project: Path, tmp_path: Path
) -> None:
    server = run()
    connection = connect(server.url, server.password)
    call(connection, "myserver_list")
    file = tmp_path / "made.tar.gz"
    made = command(project, "backup", str(file))
    assert made.returncode == 0, made.stderr
    server.stop()
    before = (project / FILE).read_bytes()

    restored = command(project, "restore", str(file), "--force")
    after = (project / FILE).read_bytes()
    again = run(MCP_PORT=str(server.port))

    assert restored.returncode == 0, restored.stderr
    assert after == before
    with tarfile.open(file) as archive:
        assert not [name for name in archive.getnames() if FILE.name in name]
    assert call(connection, "myserver_list")["result"]["isError"] is False
    again.stop()
    assert [e["tool"] for e in entries(project)].count("myserver_list") == 2


NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("3d", 3 * 86400), ("1w", 7 * 86400)],
)
def test_since_is_how_long_ago(text: str, ago: int) -> None:
    assert moment(text, NOW) == NOW - ago


def test_since_is_a_local_time_or_one_with_its_zone() -> None:
    assert moment("2026-03-01", NOW) == datetime(2026, 3, 1).timestamp()
    assert moment("2026-03-01T18:30", NOW) == datetime(2026, 3, 1, 18, 30).timestamp()
    assert (
        moment("2026-03-01T18:30:00Z", NOW) == datetime(2026, 3, 1, 18, 30, tzinfo=UTC).timestamp()
    )


@pytest.mark.parametrize(
    "text", ["", "2", "h", "2 h", "-2h", "2y", "yesterday", "2026-13-01", "20260301", "0001-01-01"]
)
def test_any_other_since_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(SettingRefused, match=r"--since is refused: .* such as 30m, 2h or 3d"):
        moment(text, NOW)


def test_the_command_refuses_in_one_sentence(project: Path) -> None:
    for arguments in (["--since", "soon"], ["--limit", "0"]):
        answer = command(project, "trail", *arguments)

        assert answer.returncode == 2
        assert answer.stderr.startswith(f"{arguments[0]} is refused: ")
        assert answer.stderr.count("\n") == 1
