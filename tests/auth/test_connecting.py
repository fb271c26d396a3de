"""The whole way of an app that registers itself, over real HTTP."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.site import CALLBACK, URL, App, Clock, Site, Visitor, answer_of, approve, connect
from tests.support.site import PASSWORD as RIGHT
from tests.support.site import ticket as ticket_of


def test_an_approved_app_calls_tools(site: Site, stranger: Visitor) -> None:
    _, tokens = connect(site)

    answer = stranger.call(tokens["access_token"])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "pong"


def test_the_code_comes_with_state_and_issuer(site: Site, owner: Visitor) -> None:
    app = App.register(site)
    page = owner.get("/authorize", params=app.query(state="a&b=ü"))

    answer = owner.submit(ticket=ticket_of(page), password=RIGHT, decision="approve")

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    assert answer_of(answer) | {"code": ""} == {"code": "", "state": "a&b=ü", "iss": URL}


def test_a_token_answer_has_every_member_and_no_null(site: Site) -> None:
    app = App.register(site)

    answer = app.redeem(approve(app, scope="claudeai offline_access"))

    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (body["token_type"], body["scope"]) == ("Bearer", "tools offline_access")
    assert body["expires_in"] == 30 * 24 * 60 * 60
    assert answer.headers["cache-control"] == "no-store"


def test_a_signed_in_browser_is_not_asked_for_the_password_again(
    site: Site, owner: Visitor
) -> None:
    approve(App.register(site), owner)
    app = App.register(site)

    page = owner.get("/authorize", params=app.query())
    answer = owner.submit(ticket=ticket_of(page), decision="approve")

    assert 'type="password"' not in page.text
    assert answer.status_code == 303


def test_a_session_ends_after_twelve_hours(site: Site, owner: Visitor, clock: Clock) -> None:
    approve(App.register(site), owner)

    clock.advance(12 * 60 * 60)

    page = owner.get("/authorize", params=App.register(site).query())
    assert 'type="password"' in page.text


def test_a_changed_password_ends_the_session(site: Site, owner: Visitor) -> None:
    approve(App.register(site), owner)

    site.restart(password="quite another password")

    page = owner.get("/authorize", params=App.register(site).query())
    assert 'type="password"' in page.text


def test_approving_twice_gives_the_one_code(site: Site, owner: Visitor) -> None:
    app = App.register(site)
    form = {"ticket": ticket_of(owner.get("/authorize", params=app.query())), "password": RIGHT}

    first = owner.submit(**form, decision="approve")
    second = owner.submit(**form, decision="approve")
    app.redeem(answer_of(first)["code"])
    third = owner.submit(**form, decision="approve")

    assert second.headers["location"] == first.headers["location"]
    assert third.status_code == 200
    assert "close this page" in third.text


def test_denying_sends_the_app_away_and_tells_it_why(site: Site, owner: Visitor) -> None:
    page = owner.get("/authorize", params=App.register(site).query())

    answer = owner.submit(ticket=ticket_of(page), decision="deny")

    assert answer.status_code == 303
    assert answer_of(answer) == {
        "error": "access_denied",
        "error_description": "The connection was denied on the server's page.",
        "iss": URL,
        "state": "some state",
    }


def test_the_same_request_may_be_opened_again_and_again(site: Site, owner: Visitor) -> None:
    app = App.register(site)
    stored = (site.state_dir / "oauth_tokens.json").read_bytes()

    pages = [owner.get("/authorize", params=app.query()) for _ in range(3)]

    assert [page.status_code for page in pages] == [200, 200, 200]
    assert (site.state_dir / "oauth_tokens.json").read_bytes() == stored
    code = answer_of(owner.submit(ticket=ticket_of(pages[0]), password=RIGHT, decision="approve"))
    assert app.redeem(code["code"]).status_code == 200


@pytest.mark.parametrize("port", ["", ":1", ":65535"])
def test_a_loopback_app_may_come_back_on_any_port(site: Site, port: str) -> None:
    app = App.register(site, "http://127.0.0.1:33418/callback")
    app.redirect_uri = f"http://127.0.0.1{port}/callback"

    assert app.redeem(approve(app)).status_code == 200


def test_a_list_with_a_foreign_redirect_is_registered_and_refused_only_when_used(
    site: Site, owner: Visitor
) -> None:
    app = App.register(site, CALLBACK, "https://elsewhere.example/callback")

    allowed = owner.get("/authorize", params=app.query())
    foreign = owner.get(
        "/authorize", params=app.query(redirect_uri=app.registration["redirect_uris"][1])
    )

    assert allowed.status_code == 200
    assert foreign.status_code == 400
    assert "location" not in foreign.headers


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_a_confidential_app_proves_itself(site: Site, method: str) -> None:
    app = App.register(site, token_endpoint_auth_method=method)
    code, secret = approve(app), app.registration["client_secret"]

    wrong = app.redeem(code, client_secret="wrong")
    missing = app.redeem(code, client_secret=None)
    right = app.redeem(code)

    assert secret
    assert [a.status_code for a in (wrong, missing, right)] == [401, 401, 200]
    assert wrong.json()["error"] == missing.json()["error"] == "invalid_client"


def test_basic_authentication_works_without_client_id_in_the_body(site: Site) -> None:
    app = App.register(site, token_endpoint_auth_method="client_secret_basic")
    code, secret = approve(app), app.registration["client_secret"]
    pair = f"{quote(app.id, safe='')}:{quote(secret, safe='')}".encode()

    form = {"grant_type": "authorization_code", "code": code, "code_verifier": app.verifier}
    answer = site.visitor(authorization=f"Basic {base64.b64encode(pair).decode()}").post(
        "/token", data={**form, "redirect_uri": app.redirect_uri}
    )

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("spelling", [quote, str], ids=["encoded", "as it is"])
def test_a_secret_with_odd_characters_may_be_sent_in_either_spelling(
    site: Site, spelling: Callable[[str], str]
) -> None:
    secret = "abc+def/ghi=jk%41:zz"
    site.restart(
        clients=[{"client_id": "mine", "client_secret": secret, "redirect_uris": [CALLBACK]}]
    )
    app = App(site, {"client_id": "mine"})
    pair = base64.b64encode(f"mine:{spelling(secret)}".encode()).decode()
    form = {"grant_type": "authorization_code", "code": approve(app)}

    answer = site.visitor(authorization=f"Basic {pair}").post(
        "/token", data={**form, "code_verifier": app.verifier}
    )

    assert answer.status_code == 200, answer.text


def test_a_restart_changes_nothing_for_a_connected_app(site: Site, stranger: Visitor) -> None:
    app, tokens = connect(site)

    site.restart()

    assert stranger.call(tokens["access_token"]).status_code == 200
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_an_app_registered_before_a_restart_can_still_be_approved(site: Site) -> None:
    app = App.register(site)

    site.restart()

    assert app.redeem(approve(app)).status_code == 200


def test_a_registration_too_long_for_its_id_is_kept_in_a_bounded_table(site: Site) -> None:
    noise = [f"https://claude.ai/{'%x' % (7**90 * i)}" for i in range(1, 9)]

    app = App.register(site, CALLBACK, *noise)
    site.restart()

    assert len(app.id) <= 255
    assert app.redeem(approve(app)).status_code == 200


def test_an_access_token_lives_as_long_as_the_owner_set(site: Site, clock: Clock) -> None:
    site.restart(access_token_expiry_seconds=1000)
    app, tokens = connect(site)
    fresh = app.refresh(tokens["refresh_token"]).json()

    clock.advance(999)
    alive = site.visitor().call(fresh["access_token"])
    clock.advance(1)
    expired = site.visitor().call(fresh["access_token"])

    assert tokens["expires_in"] == fresh["expires_in"] == 1000
    assert (alive.status_code, expired.status_code) == (200, 401)


def test_refresh_tokens_do_not_expire_by_default(site: Site, clock: Clock) -> None:
    app, tokens = connect(site)

    clock.advance(10 * 365 * 24 * 60 * 60)

    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_refresh_tokens_expire_when_the_owner_says_so(site: Site, clock: Clock) -> None:
    site.restart(refresh_token_expiry_seconds=100)
    app, tokens = connect(site)

    clock.advance(101)

    answer = app.refresh(tokens["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_generated_password_is_kept_in_a_file_until_the_first_sign_in(
    tmp_path, clock: Clock
) -> None:
    site = Site(tmp_path / "state", clock, password=None)
    try:
        file = site.state_dir / "initial-password"
        password, mode = file.read_text().strip(), file.stat().st_mode & 0o777
        owner, app = site.visitor(), App.register(site)
        page = owner.get("/authorize", params=app.query())
        answer = owner.submit(ticket=ticket_of(page), password=password, decision="approve")
        assert (answer.status_code, mode) == (303, 0o600)
        assert not file.exists()
        site.restart()
        assert not file.exists()
    finally:
        site.stop()


def test_an_approval_that_was_never_completed_does_not_say_connected(
    site: Site, owner: Visitor, clock: Clock
) -> None:
    page = owner.get("/authorize", params=App.register(site).query())
    form = {"ticket": ticket_of(page), "password": RIGHT}
    owner.submit(**form, decision="approve")

    clock.advance(90)
    again = owner.submit(**form, decision="approve")

    assert again.status_code == 400
    assert "was not completed" in again.text


@pytest.mark.parametrize("path", ["/mcp%0a", "/mcp%0A/", "/mcp%00", "/token%0a"])
def test_a_path_with_a_control_character_is_nobodys(site: Site, path: str) -> None:
    _, tokens = connect(site)

    bare = site.visitor().post(path)
    known = site.visitor().post(path, headers={"authorization": f"Bearer {tokens['access_token']}"})

    # The router takes the end of a line for the path's, and what compares paths does not.
    assert [answer.status_code for answer in (bare, known)] == [404, 404]
    assert bare.json()["error"] == "not_found"


def test_a_route_of_the_owners_with_a_trailing_slash_is_left_alone(site: Site) -> None:
    answer = site.visitor().get("/somewhere/")

    assert answer.status_code == 404
