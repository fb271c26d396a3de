"""The owner's side by commands, for a server without a browser at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from personal_auth.owner import is_password
from tests.support import programs
from tests.support.authenticator import Authenticator, offered
from tests.support.home import Home, enrol
from tests.support.owner import connect, rpc
from tests.support.ownerpage import Desk, words

PASSWORD = "a password to begin with"
ANOTHER = "a much better password"
STORES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "file": lambda: nullcontext(""),
    "redis": programs.redis,
    "postgres": programs.postgres,
}


@pytest.fixture
def home(project: Path) -> Iterator[Home]:
    home = Home(project)
    home.said("password", stdin=f"{PASSWORD}\n")
    yield home
    home.stop()


@pytest.fixture
def desk(home: Home) -> Desk:
    """A browser that is signed in at a server that runs."""
    home.start()
    desk = home.browser()
    desk.sign_in(PASSWORD)
    assert is_signed_in(desk)
    return desk


def is_signed_in(desk: Desk) -> bool:
    """Tells whether the page shows its owner's side; a form that does nothing brings it."""
    return "Sign out" in words(desk.act("name", id="0" * 16, name=""))


def lets_in(home: Home, password: str) -> bool:
    desk = home.browser()
    desk.sign_in(password)
    return is_signed_in(desk)


@pytest.mark.parametrize("store", STORES)
def test_each_command_does_the_same_on_every_store_with_the_server_and_without(
    project: Path, store: str
) -> None:
    with STORES[store]() as url:
        home = Home(project, {"MCP_STORAGE_URL": url} if url else {})
        home.said("password", stdin=f"{PASSWORD}\n")
        home.start()
        try:
            clients = [connect(home.url, PASSWORD, name=name) for name in ("one", "two", "three")]
            desk = home.browser()
            desk.sign_in(PASSWORD)
            for name in ("one", "two"):
                enrol(desk, name)
            tokens = [every_command(home, "one")]
            home.stop()
            tokens.append(every_command(home, "two"))
            home.start()

            assert [client.post({}).status_code == 401 for client in clients] == [True, True, False]
            assert [home.script(token).post({}).status_code for token in tokens] == [401, 401]
            assert home.told("passkeys") == []
            assert lets_in(home, PASSWORD)
        finally:
            home.stop()


def every_command(home: Home, name: str) -> str:
    """Uses each command once, on what has a name; returns a token that it has ended."""
    gid = next(row["id"] for row in home.told("connections") if row["client"] == name)
    key = next(row["id"] for row in home.told("passkeys") if row["name"] == name)
    made = home.told("token", "create", "a script", "--days", "1")
    home.said("connections", "name", gid, "mine")
    home.said("connections", "read-only", gid)
    home.said("passkeys", "name", key, "renamed")
    off = home.told("password", "--off")["password_is_on"]
    signed_in = home.told("sessions")

    held = [row for row in home.told("connections") if row["name"] == "mine"]
    named = [row["id"] for row in home.told("passkeys") if row["name"] == "renamed"]
    home.said("connections", "revoke", gid)
    home.said("passkeys", "remove", key)
    home.said("token", "revoke", "a script")
    home.said("sessions", "end", "--all")
    on = home.told("password", stdin=f"{PASSWORD}\n")["password_is_on"]

    assert ([row["id"] for row in held], held[0]["read_only"], named) == ([gid], True, [key])
    assert (off, signed_in, on) == (False, [], True)
    assert gid not in [row["id"] for row in home.told("connections")]
    assert home.told("token") == []
    return str(made["token"])


def test_a_connection_is_named_and_held_to_reading_at_its_next_request(home: Home) -> None:
    home.start()
    connection = connect(home.url, PASSWORD, name="Claude")
    (before,) = home.told("connections")

    home.said("connections", "name", before["id"], "-[b]my phone")
    home.said("connections", "read-only", before["id"])
    table = home.said("connections")
    (held,) = home.told("connections")
    few = rpc(connection, "tools/list")["tools"]
    home.said("connections", "read-only", before["id"], "--off")
    all_again = rpc(connection, "tools/list")["tools"]
    home.said("connections", "name", before["id"], "")

    assert (before["name"], before["read_only"], before["kind"]) == ("", False, "client")
    assert (held["name"], held["read_only"], held["client"]) == ("-[b]my phone", True, "Claude")
    assert all(word in table for word in ("your name", "-[b]my phone", "read", "Claude"))
    assert len(few) < len(all_again)
    assert home.told("connections")[0]["name"] == ""


def test_it_is_told_when_how_often_and_from_where_a_connection_was_used(home: Home) -> None:
    home.start()
    connection = connect(home.url, PASSWORD)
    (unused,) = home.told("connections")
    for _ in range(3):
        rpc(connection, "tools/call", name="myserver_recent", arguments={})
    home.stop()

    (used,) = home.told("connections")

    assert (unused["last_used"], unused["calls"], unused["last_address"]) == (None, 0, "")
    assert used["last_used"] >= used["created"]
    assert used["last_address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["connections", "name", "abc", "x"],
            "There is no connection of that id: `connections` shows",
        ),
        (
            ["connections", "read-only", "abc"],
            "There is no connection of that id: `connections` shows",
        ),
        (["connections", "revoke", "pat_a-token"], "There is no connection of that id: `conn"),
        (["connections", "revoke", "0" * 16], f"There is no connection {'0' * 16}: `connections`"),
        (["passkeys", "remove", "abc"], "There is no passkey abc: `passkeys` shows their ids."),
        (["passkeys", "name", "abc", "x"], "There is no passkey abc: `passkeys` shows their ids."),
        (["passkeys", "name", "abc", " "], "A passkey needs a name"),
        (["sessions", "end", "abc"], "There is no session abc: `sessions` shows their ids."),
        (["sessions", "end"], "Name one session by its id, as `sessions` shows it, or say --all."),
        (["sessions", "end", "abc", "--all"], "Name one session by its id"),
        (["password", "--off"], "No passkey works here, so without the password nobody could"),
        (["password", "--off", "--on"], "--hash, --off and --on are one at a time."),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_sentence(
    rendered: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    home = Home(rendered, {"MCP_STATE_DIR": str(tmp_path / "state")})

    assert home.refused(*arguments).startswith(sentence)


def test_where_nothing_is_each_list_says_so(rendered: Path, tmp_path: Path) -> None:
    home = Home(rendered, {"MCP_STATE_DIR": str(tmp_path / "state")})

    assert home.said("connections") == "Nothing is connected.\n"
    assert home.said("sessions") == "No browser is signed in.\n"
    assert home.said("passkeys") == (
        f"There is no passkey: {home.url}/owner is where you enrol one.\n"
        "The password signs you in.\n"
    )


def test_browsers_that_are_signed_in_are_listed_and_signed_out(home: Home, desk: Desk) -> None:
    other, third = home.browser(), home.browser()
    for each in (other, third):
        each.sign_in(PASSWORD)
    newest_first = home.told("sessions")

    home.said("sessions", "end", newest_first[1]["id"])
    after_one = [is_signed_in(each) for each in (desk, other, third)]
    home.said("sessions", "end", "--all")
    after_all = [is_signed_in(each) for each in (desk, other, third)]

    assert len(newest_first) == 3
    assert {row["address"] for row in newest_first} == {"127.0.0.1"}
    assert (after_one, after_all) == ([True, False, True], [False] * 3)
    assert home.told("sessions") == []


def test_passkeys_are_listed_with_what_they_opened_and_removed_with_it(
    home: Home, desk: Desk
) -> None:
    device = enrol(desk, "My phone")
    phone = home.browser()
    by_passkey(phone, device)
    (key,) = home.told("passkeys")
    tables = home.said("passkeys"), home.said("sessions")
    opened = [row["passkey"] for row in home.told("sessions")]

    removed = home.said("passkeys", "remove", key["id"])

    assert (key["name"], key["works"], key["host"]) == ("My phone", True, "localhost")
    assert opened == [key["id"], None]
    assert all("My phone" in table for table in tables)
    assert removed == f"{key['id']} is removed. The password signs you in.\n"
    assert [is_signed_in(each) for each in (phone, desk)] == [False, True]
    assert home.told("passkeys") == []


def by_passkey(desk: Desk, device: Authenticator) -> None:
    options, challenge = offered(desk.open().text)
    desk.act("sign-in", challenge=challenge, assertion=json.dumps(device.get(options)))
    assert is_signed_in(desk)


def test_the_password_is_off_and_on_again_at_once(home: Home, desk: Desk) -> None:
    enrol(desk, "My phone")

    off = home.said("password", "--off")
    without = lets_in(home, PASSWORD)
    listed = home.said("passkeys")
    on = home.told("password", "--on")

    assert off == (
        "The password is off: only your passkeys sign you in. Every browser is signed out.\n"
    )
    assert not is_signed_in(desk)
    assert not without
    assert "The password is off." in listed
    assert on == {
        "password_is_on": True,
        "changed": False,
        "new_password": None,
        "revoked_all": False,
    }
    assert lets_in(home, PASSWORD)


def test_a_new_password_signs_the_owner_in_though_it_was_off(home: Home, desk: Desk) -> None:
    enrol(desk, "My phone")
    home.said("password", "--off")

    made = home.told("password", stdin="\n")

    assert (made["password_is_on"], made["changed"]) == (True, True)
    assert lets_in(home, made["new_password"])


def test_without_the_last_passkey_the_password_is_on(home: Home, desk: Desk) -> None:
    enrol(desk, "My phone")
    home.said("password", "--off")
    home.stop()

    said = home.said("passkeys", "remove", home.told("passkeys")[0]["id"])
    home.start()

    assert said.endswith("is removed. The password signs you in.\n")
    assert lets_in(home, PASSWORD)


def test_the_hash_for_the_settings_is_told_to_programs(rendered: Path) -> None:
    told = Home(rendered).told("password", "--hash", stdin=f"{ANOTHER}\n")

    assert is_password(ANOTHER, told["hash"])
    assert told["new_password"] is None
