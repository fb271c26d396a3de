"""Codes, refresh tokens and revocation: what may be presented how often (RFC 6749, RFC 9700)."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fastmcp.server.dependencies import get_access_token

from personal_auth import Limits
from personal_auth.statedir import STATE_FILE, StateDir
from tests.support.asgi import AppServer
from tests.support.site import CALLBACK, URL, App, Clock, Site, Visitor, approve, connect


def rows(site: Site) -> dict[str, dict[str, Any]]:
    """Returns what is on the disk at this moment."""
    stored: dict[str, dict[str, Any]] = json.loads((site.state_dir / STATE_FILE).read_text())
    return stored["rows"]


def test_a_code_opens_once(site: Site, stranger: Visitor) -> None:
    app = App.register(site)
    code = approve(app)

    first, second = app.redeem(code), app.redeem(code)

    assert (first.status_code, second.status_code) == (200, 400)
    assert second.json()["error"] == "invalid_grant"
    assert stranger.call(first.json()["access_token"]).status_code == 200


def test_one_of_many_simultaneous_redeemers_wins(site: Site) -> None:
    app = App.register(site)
    code = approve(app)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: app.redeem(code), range(20)))

    assert sorted(a.status_code for a in answers) == [200] + [400] * 19


def test_a_code_presented_again_late_revokes_the_grant(
    site: Site, stranger: Visitor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    app = App.register(site)
    code = approve(app)
    tokens = app.redeem(code).json()

    clock.advance(11)
    app.redeem(code)

    assert stranger.call(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).status_code == 400
    assert "code_replayed" in caplog.text


def test_a_code_is_burned_on_disk_before_it_is_refused(site: Site) -> None:
    app = App.register(site)
    code = approve(app)
    waiting = rows(site)["live"]

    answer = app.redeem(code, code_verifier="A" * 43)

    assert answer.status_code == 400
    assert len(waiting) == 1
    assert rows(site)["live"] == {}


def test_a_code_and_what_it_opens_are_on_disk_before_the_answer(site: Site) -> None:
    app = App.register(site)
    code = approve(app)

    answer = app.redeem(code)

    stored = rows(site)
    assert answer.status_code == 200
    assert stored["live"] == {}
    assert [len(stored[name]) for name in ("tokens", "refresh", "grants")] == [1, 1, 1]


@pytest.mark.parametrize("verifier", [None, "A" * 43], ids=["too late", "and wrong"])
def test_a_code_that_was_refused_stays_refused_when_the_clock_goes_back(
    site: Site, clock: Clock, verifier: str | None
) -> None:
    app = App.register(site)
    code = approve(app)

    clock.now += 2 * Limits().code_seconds + 1
    late = app.redeem(code, **({"code_verifier": verifier} if verifier else {}))
    clock.now -= 2 * Limits().code_seconds
    again = app.redeem(code)

    assert [answer.json()["error"] for answer in (late, again)] == ["invalid_grant"] * 2


def test_a_redemption_that_cannot_be_written_leaves_no_connection(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App.register(site)
    code = approve(app)

    with monkeypatch.context() as full:
        full.setattr(StateDir, "write", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        answer = app.redeem(code)
    connect(site)

    stored = rows(site)
    assert answer.status_code == 503
    assert [len(stored[name]) for name in ("tokens", "refresh", "grants")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_verifier": "A" * 43}, "invalid_grant"),
        ({"redirect_uri": "https://claude.ai/other"}, "invalid_grant"),
    ],
    ids=["verifier", "redirect"],
)
def test_a_code_with_something_wrong_is_burned(
    site: Site, change: dict[str, str], error: str
) -> None:
    app = App.register(site)
    code = approve(app)

    wrong, right = app.redeem(code, **change), app.redeem(code)

    assert (wrong.status_code, wrong.json()["error"]) == (400, error)
    assert right.status_code == 400


def test_a_code_of_another_client_is_burned(site: Site) -> None:
    app, thief = App.register(site), App.register(site)
    thief.verifier = app.verifier
    code = approve(app)

    assert thief.redeem(code).status_code == 400
    assert app.redeem(code).status_code == 400


@pytest.mark.parametrize(
    "verifier", [None, "short", "A" * 129, "A" * 42 + "ü", "A" * 42 + " "], ids=str
)
def test_a_malformed_verifier_is_refused(site: Site, verifier: str | None) -> None:
    app = App.register(site)

    assert app.redeem(approve(app), code_verifier=verifier).status_code == 400


def test_a_code_lives_for_a_minute(site: Site, clock: Clock) -> None:
    app = App.register(site)
    in_time, late = approve(app), approve(app)

    clock.advance(60)
    assert app.redeem(in_time).status_code == 200
    clock.advance(1)
    assert app.redeem(late).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "resource", [f"{URL}/mcp", f"{URL}/mcp/", "https://MCP.example.com:443/mcp", None]
)
def test_our_resource_is_known_in_every_spelling(site: Site, resource: str | None) -> None:
    app = App.register(site)

    assert app.redeem(approve(app, resource=resource), resource=resource).status_code == 200


@pytest.mark.parametrize(
    "resource", [URL, "https://other.example/mcp", f"{URL}/mcp2", "mcp", "x:y"]
)
def test_another_resource_is_no_target(site: Site, resource: str) -> None:
    app = App.register(site)
    code = approve(app)

    answer = app.redeem(code, resource=resource)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert app.redeem(code).status_code == 200  # nothing was claimed


def test_a_refresh_gives_new_tokens_and_leaves_the_old_access_token_alive(
    site: Site, stranger: Visitor
) -> None:
    app, tokens = connect(site)

    fresh = app.refresh(tokens["refresh_token"]).json()

    assert fresh["access_token"] != tokens["access_token"]
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert stranger.call(tokens["access_token"]).status_code == 200
    assert stranger.call(fresh["access_token"]).status_code == 200


def test_a_repeated_refresh_gets_the_same_answer_for_two_minutes(site: Site, clock: Clock) -> None:
    app, tokens = connect(site)
    first = app.refresh(tokens["refresh_token"]).json()

    clock.advance(120)
    again = app.refresh(tokens["refresh_token"]).json()

    assert again == {**first, "expires_in": first["expires_in"] - 120}


def test_simultaneous_refreshes_all_get_the_same_answer(site: Site) -> None:
    app, tokens = connect(site)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: app.refresh(tokens["refresh_token"]).json(), range(20)))

    assert all(answer == answers[0] for answer in answers)
    assert "access_token" in answers[0]


def test_a_late_replay_of_a_refresh_token_revokes_the_grant(
    site: Site, stranger: Visitor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    app, tokens = connect(site)
    fresh = app.refresh(tokens["refresh_token"]).json()

    clock.advance(121)
    replay = app.refresh(tokens["refresh_token"])

    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert stranger.call(fresh["access_token"]).status_code == 401
    assert app.refresh(fresh["refresh_token"]).status_code == 400
    assert "refresh_token_replayed" in caplog.text


def test_a_replay_is_recognised_after_a_restart(site: Site, clock: Clock) -> None:
    app, tokens = connect(site)
    fresh = app.refresh(tokens["refresh_token"]).json()

    site.restart()
    clock.advance(121)
    app.refresh(tokens["refresh_token"])

    assert app.refresh(fresh["refresh_token"]).status_code == 400


def test_a_refresh_token_of_another_client_is_refused(site: Site) -> None:
    app, tokens = connect(site)

    assert App.register(site).refresh(tokens["refresh_token"]).status_code == 400
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_refresh_cannot_widen_the_scope(site: Site) -> None:
    app, tokens = connect(site)

    wider = app.refresh(tokens["refresh_token"], scope="tools offline_access")
    same = app.refresh(tokens["refresh_token"], scope="tools claudeai")

    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    assert same.status_code == 200


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_connection(
    site: Site, stranger: Visitor, which: str
) -> None:
    app, tokens = connect(site)

    answer = stranger.post("/revoke", data={"token": tokens[which], "client_id": app.id})

    assert answer.status_code == 200
    assert stranger.call(tokens["access_token"]).status_code == 401
    assert app.refresh(tokens["refresh_token"]).status_code == 400


def test_another_client_revokes_nothing(site: Site, stranger: Visitor) -> None:
    _, tokens = connect(site)
    other = App.register(site)

    answers = [
        stranger.post("/revoke", data={"token": token, "client_id": other.id})
        for token in (tokens["access_token"], tokens["refresh_token"], "made up")
    ]

    assert [a.status_code for a in answers] == [200, 200, 200]
    assert stranger.call(tokens["access_token"]).status_code == 200


def test_a_revoked_grant_stays_revoked_after_a_restart(site: Site, stranger: Visitor) -> None:
    app, tokens = connect(site)
    stranger.post("/revoke", data={"token": tokens["refresh_token"], "client_id": app.id})

    site.restart()

    assert stranger.call(tokens["access_token"]).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "authorization_code"}, 400, "invalid_request"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "unknown"}, 401, "invalid_client"),
    ],
)
def test_token_errors_have_the_status_of_the_rfc(
    shared_site: Site, form: dict[str, str | None], status: int, error: str
) -> None:
    app = App.register(shared_site, CALLBACK)

    answer = app.token(**{"grant_type": "refresh_token", "refresh_token": None, **form})

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


def test_a_token_for_another_public_url_opens_nothing_until_that_url_is_back(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    app, tokens = connect(site)

    site.restart(base_url="https://other.example.com")
    moved = site.visitor(host="other.example.com").call(tokens["access_token"])
    site.restart(base_url=URL)

    assert moved.status_code == 401
    assert f"changed from {URL} to https://other.example.com." in caplog.text
    assert f"Connections made for {URL}: 1." in caplog.text
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_a_redirect_uri_may_be_left_out_at_the_token_endpoint(site: Site) -> None:
    app = App.register(site)

    assert app.redeem(approve(app), redirect_uri=None).status_code == 200


def test_what_a_tool_does_to_its_access_token_ends_with_the_call(tmp_path: Path) -> None:
    def spoil() -> str:
        token = get_access_token()
        assert token is not None
        seen = f"{len(token.scopes)} {sorted(token.claims)}"
        token.scopes.clear()
        token.claims.clear()
        return seen

    server = AppServer(tmp_path / "state", add=lambda built, _: built.tool(spoil))
    try:
        _, tokens = connect(server)
        answers = [
            server.visitor().post(
                "/mcp",
                json={
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "spoil"},
                },
                headers={
                    "authorization": f"Bearer {tokens['access_token']}",
                    "accept": "application/json, text/event-stream",
                },
            )
            for _ in range(2)
        ]
    finally:
        server.stop()

    first, second = (answer.json()["result"]["content"][0]["text"] for answer in answers)
    assert first == second
    assert "'grant_id', 'read_only'" in first
