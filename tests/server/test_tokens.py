"""`my-server token`: for scripts that can only send a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.home import Home
from tests.support.owner import connect, rpc
from tests.support.site import PASSWORD


@pytest.fixture
def home(project: Path) -> Iterator[Home]:
    home = Home(project)
    yield home
    home.stop()


def test_a_token_opens_the_running_server_at_once_and_nothing_once_it_is_revoked(
    home: Home,
) -> None:
    home.start()

    script = home.script(home.said("token", "create", "backup").strip())
    tools = rpc(script, "tools/list")["tools"]
    home.said("token", "revoke", "backup")
    refused = script.post({})

    assert [tool["name"] for tool in tools if tool["name"] == "myserver_save"]
    assert refused.status_code == 401


def test_a_token_made_while_nothing_runs_opens_the_server_afterwards(home: Home) -> None:
    token = home.said("token", "create", "backup").strip()
    home.start()
    script = home.script(token)

    assert rpc(script, "tools/list")["tools"]
    home.stop()
    home.said("token", "revoke", home.told("token")[0]["id"])
    home.start()
    assert script.post({}).status_code == 401


def test_standard_output_has_the_token_alone_and_how_to_use_it_stands_beside(home: Home) -> None:
    done = home.ask("token", "create", "backup")

    token = done.stdout.removesuffix("\n")
    assert token.startswith("pat_")
    assert token.isprintable()
    assert " " not in token
    assert f"Send it with each request to {home.url}/mcp as the header" in done.stderr
    assert "\n    Authorization: Bearer TOKEN\n" in done.stderr
    assert f"token revoke {home.told('token')[0]['id']}\n" in done.stderr


def test_the_token_is_nowhere_else(home: Home) -> None:
    home.start()
    done = home.ask("token", "create", "backup")
    token = done.stdout.strip()
    rpc(home.script(token), "tools/list")

    shown = [home.said(*words) for words in (["token"], ["connections"], ["token", "--json"])]
    assert home.server is not None
    stored = [path.read_text() for path in (home.project / ".oauth-state").glob("*.json")]

    assert all("backup" in text for text in shown)
    assert not [text for text in [done.stderr, home.server.log, *shown, *stored] if token in text]


def test_a_token_is_told_to_programs_as_it_is_listed(home: Home) -> None:
    made = home.told("token", "create", "Nightly backup", "--read-only", "--days", "3")
    token = made.pop("token")

    (listed,) = home.told("token")
    assert token.startswith("pat_")
    assert made == listed == home.told("connections")[0]
    assert (made["kind"], made["client"], made["name"]) == ("token", "Nightly backup", "")
    assert (made["read_only"], made["scopes"]) == (True, ["tools:read"])
    assert made["address"] == f"{home.url}/mcp"
    begin, end = (datetime.fromisoformat(made[key]) for key in ("created", "expires"))
    assert end - begin == timedelta(days=3)


def test_a_read_only_token_sees_and_calls_only_what_reads(home: Home) -> None:
    home.start()
    script = home.script(home.said("token", "create", "reader", "--read-only").strip())

    tools = rpc(script, "tools/list")["tools"]
    save = {"name": "myserver_save", "arguments": {"text": "something new"}}
    saved = script.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": save})

    assert {tool["annotations"]["readOnlyHint"] for tool in tools} == {True}
    assert "myserver_save" not in [tool["name"] for tool in tools]
    assert "unknown tool" in saved.text.lower()


def test_only_tokens_are_listed_and_only_tokens_are_ended_as_tokens(home: Home) -> None:
    home.settings["MCP_PASSWORD"] = PASSWORD
    home.start()
    connection = connect(home.url, PASSWORD, name="Claude")
    home.said("token", "create", "backup")
    claude = next(row["id"] for row in home.told("connections") if row["kind"] == "client")

    listed = [row["client"] for row in home.told("token")]
    refusals = [home.refused("token", "revoke", which) for which in (claude, "Claude")]

    assert listed == ["backup"]
    assert set(refusals) == {"There is no such token: `token` shows their ids and names."}
    assert rpc(connection, "tools/list")["tools"]


def test_a_name_that_several_tokens_have_ends_none_of_them(home: Home) -> None:
    ids = [home.told("token", "create", "backup")["id"] for _ in range(2)]

    sentence = home.refused("token", "revoke", "backup")
    home.said("connections", "name", ids[0], "the older one")
    home.said("token", "revoke", "the older one")

    assert "Several tokens have that name: say which by id" in sentence
    assert all(each in sentence for each in ids)
    assert [row["id"] for row in home.told("token")] == ids[1:]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "x", "--days", "0"], "A token lives 1 to 3650 days, and --days says how many."),
        (["create", "x", "--days", "3651"], "A token lives 1 to 3650 days"),
        (["create", " \n"], "The token needs a name"),
        (["revoke", "x"], "There is no such token"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_sentence(
    rendered: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    home = Home(rendered, {"MCP_STATE_DIR": str(tmp_path / "state")})

    assert home.refused("token", *arguments).startswith(sentence)
    assert home.said("token") == "There is no token: `token create NAME` makes one.\n"
    assert json.loads(home.said("token", "--json")) == []
