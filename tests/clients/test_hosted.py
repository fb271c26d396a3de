"""What the clients of other makers do, against a server behind a TLS proxy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients import hosted
from tests.clients.house import House, Internet, house
from tests.clients.scripted import Client, OAuthRefused, SignInRefused, Unauthorized
from tests.generate.project import copy, snapshot

MINUTE = 60
MONTH = 31 * 24 * 60 * MINUTE


@pytest.fixture(scope="module")
def place(internet: Internet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server whose owner chose every client."""
    folder = tmp_path_factory.mktemp("everyone")
    everyone = ["claude", "chatgpt", "cursor", "vscode", "local"]
    copy(snapshot(folder / "template"), folder / "my-server", clients=everyone)
    with house("tls", folder / "my-server", folder, internet) as built:
        yield built


@pytest.fixture(scope="module")
def choosy(
    rendered: Path, internet: Internet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A server with the answers as they are given, Claude and loopback, that reads no documents."""
    folder = tmp_path_factory.mktemp("choosy")
    shutil.copytree(rendered, folder / "my-server")
    settings = {"MCP_CLIENT_DOCUMENTS": "false"}
    with house("loopback", folder / "my-server", folder, internet, **settings) as built:
        yield built


Start = Callable[..., list[Any]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts clients against a server, each a script of its kind."""
    with ExitStack() as open_connections:

        def start(place: House, *kinds: type[Client]) -> list[Client]:
            clients = [kind(place) for kind in kinds]
            for client in clients:
                open_connections.enter_context(client.http)
            return clients

        yield start


@pytest.fixture
def connect(start: Start) -> Start:
    """Starts clients and takes them through the sign-in."""

    def connect(place: House, *kinds: type[Client]) -> list[Client]:
        clients: list[Client] = start(place, *kinds)
        for client in clients:
            client.connect()
        return clients

    return connect


@pytest.mark.parametrize("kind", hosted.EVERYONE)
def test_it_finds_its_way_signs_in_and_uses_tools(
    place: House, connect: Start, kind: type[Client]
) -> None:
    [client] = connect(place, kind)

    tools = client.use()

    assert len(tools) >= 2
    assert client.registered == (kind in hosted.REGISTERING)
    assert set(client.tokens["scope"].split()) <= {"tools", "offline_access"}


@pytest.mark.parametrize("kind", [hosted.Claude, hosted.ChatGpt, hosted.Codex, hosted.GeminiCli])
def test_wherever_it_may_look_it_finds_the_same(
    place: House, start: Start, kind: type[Client]
) -> None:
    [client] = start(place, kind)
    client.discover()

    found = [client.get(url, {}) for url in client.resource_places()]
    servers = [client.get(url, {}) for url in client.server_places(place.url)]

    assert found == [client.resource] * 2
    assert servers == [client.server] * len(servers)
    assert len(servers) >= 2


def test_the_endpoints_stand_where_clients_guess_them(place: House, start: Start) -> None:
    [client] = start(place, hosted.Claude)
    client.discover()

    guessed = {name: f"{place.url}/{name}" for name in ("authorize", "token", "register")}

    assert client.server["authorization_endpoint"] == guessed["authorize"]
    assert client.server["token_endpoint"] == guessed["token"]
    assert client.server["registration_endpoint"] == guessed["register"]


def test_no_one_is_sent_to_the_sign_in_again_when_months_pass_and_the_server_restarts(
    place: House,
    connect: Start,
) -> None:
    clients = connect(place, *hosted.EVERYONE)

    for _ in range(2):
        place.advance(MONTH)
        for client in clients:
            client.work()
    place.restart()
    for client in clients:
        client.work()
        client.refresh()
        client.work()

    assert [client.signed_in for client in clients] == [1] * len(clients)
    assert [client.registered for client in clients] == [
        kind in hosted.REGISTERING for kind in hosted.EVERYONE
    ]


def test_when_the_state_is_lost_each_comes_back_in_its_own_way(
    place: House, connect: Start
) -> None:
    clients = connect(place, *hosted.EVERYONE)
    place.lose_state()

    [codex] = [client for client in clients if type(client) is hosted.Codex]
    others = [client for client in clients if client is not codex]
    for client in others:
        with pytest.raises(Unauthorized):
            client.use()
        client.work()
    with pytest.raises(SignInRefused) as told:
        codex.work()
    codex.connect()
    codex.use()

    assert [client.signed_in for client in clients] == [2] * len(clients)
    assert [client.registered for client in clients] == [
        2 * (kind in hosted.REGISTERING) for kind in hosted.EVERYONE
    ]
    assert "This server does not know the app" in str(told.value)
    assert "codex mcp logout" in str(told.value)


def test_a_lost_registration_is_answered_so_that_clients_register_anew(
    place: House, connect: Start
) -> None:
    clients = connect(place, hosted.Claude, hosted.OlderClaude, hosted.ConfidentialClaude)
    place.lose_state()

    for client in clients:
        with pytest.raises(OAuthRefused) as refused:
            client.refresh()

        assert (refused.value.status, refused.value.error) == (401, "invalid_client")


def test_two_backends_that_renew_at_once_hold_the_same_tokens(place: House, connect: Start) -> None:
    [claude] = connect(place, hosted.Claude)
    before, form = claude.tokens["access_token"], claude.tokens["refresh_token"]
    place.advance(MONTH / 2)

    with ThreadPoolExecutor(2) as backends:
        answers = list(backends.map(claude.refresh, [form, form]))
    after = [answer["access_token"] for answer in answers]
    claude.use()
    claude.tokens = {**claude.tokens, "access_token": before}

    assert after[0] == after[1] != before
    assert claude.use()  # calls that are under way have the one before


def test_sessions_that_race_for_one_refresh_token_all_go_on(
    place: House, start: Start, connect: Start
) -> None:
    [first] = connect(place, hosted.ClaudeCode)
    sessions = start(place, *[hosted.ClaudeCode] * 6)
    for session in sessions:
        vars(session).update({**vars(first), "http": session.http})
    place.advance(MONTH)

    *racing, late = sessions
    with ThreadPoolExecutor(len(racing)) as at_once:
        list(at_once.map(lambda session: session.work(), racing))
    place.advance(1.5 * MINUTE)
    late.work()

    assert {session.tokens["access_token"] for session in sessions} == {late.tokens["access_token"]}
    assert {session.signed_in for session in sessions} == {1}


def test_a_refresh_token_from_long_ago_ends_the_connection_and_a_new_login_is_all_it_takes(
    place: House,
    connect: Start,
) -> None:
    [codex] = connect(place, hosted.Codex)
    old = codex.tokens["refresh_token"]
    renewed = codex.refresh()["access_token"]
    repeated = codex.refresh(old)["access_token"]
    place.advance(10 * MINUTE)
    codex.use()

    with pytest.raises(OAuthRefused) as refused:
        codex.refresh(old)
    with pytest.raises(Unauthorized):
        codex.use()
    codex.work()

    assert repeated == renewed
    assert (refused.value.status, refused.value.error) == (400, "invalid_grant")
    assert "refresh_token_replayed_connection_revoked" in place.log
    assert codex.signed_in == 2


@pytest.mark.parametrize("kind", hosted.EVERYONE)
def test_a_denial_reaches_it_with_its_state_and_who_says_so(
    place: House, start: Start, kind: type[Client]
) -> None:
    [client] = start(place, kind)
    client.discover()
    client.identify()

    answer = client.ask("deny")

    assert answer["error"] == "access_denied"
    assert "code" not in answer


def test_where_no_documents_are_read_claude_registers_anew_each_time_and_keeps_them_all(
    choosy: House,
    connect: Start,
) -> None:
    clients = connect(choosy, *[hosted.Claude] * 3)

    assert len({client.client_id for client in clients}) == 3
    for client in clients:
        client.use()
        client.refresh()
        client.use()
        assert (client.registered, client.signed_in) == (1, 1)


@pytest.mark.parametrize(
    "kind", [hosted.RegisteringVsCode, hosted.Cursor, hosted.Codex, hosted.GeminiCli]
)
def test_one_foreign_callback_beside_a_loopback_one_does_no_harm(
    choosy: House, connect: Start, kind: type[Client]
) -> None:
    [client] = connect(choosy, kind)

    assert client.use()


@pytest.mark.parametrize(
    "kind",
    [
        *(hosted.RegisteringVsCodeInsiders, hosted.RegisteringChatGpt),
        *(hosted.OlderCursor, hosted.CursorAgents),
    ],
)
def test_a_callback_of_a_client_that_the_owner_did_not_choose_gets_a_page(
    choosy: House, start: Start, kind: type[Client]
) -> None:
    [client] = start(choosy, kind)
    client.discover()
    client.identify()

    with pytest.raises(SignInRefused, match="This app may not connect"):
        client.sign_in()
