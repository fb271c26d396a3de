"""Who is not the owner gets nothing (the rows of docs/threat-model.md)."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personal_auth import Limits
from personal_auth.sealing import Sealer, to_text
from tests.support.asgi import AppServer
from tests.support.site import CALLBACK, PASSWORD, URL, App, Clock, Site, Visitor, approve
from tests.support.site import ticket as ticket_of


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["chosen", "generated"])
@pytest.mark.parametrize("redirect", ["http://localhost:1/cb", CALLBACK, "https://evil.example/cb"])
def test_three_requests_of_a_stranger_give_no_code_and_no_token(
    site: Site, stranger: Visitor, password: str | None, redirect: str
) -> None:
    site.restart(password=password)
    app = App.register(site, redirect)

    page = stranger.get("/authorize", params=app.query())
    token = app.redeem("pac_" + "A" * 43)

    assert page.status_code in {200, 400}
    assert "location" not in page.headers
    assert (token.status_code, token.json()["error"]) == (400, "invalid_grant")


def test_approving_without_the_password_gives_no_code(site: Site, stranger: Visitor) -> None:
    page = stranger.get("/authorize", params=App.register(site).query())

    for form in [{}, {"password": ""}, {"password": "guess"}, {"password": PASSWORD + " "}]:
        answer = stranger.submit(ticket=ticket_of(page), decision="approve", **form)
        assert answer.status_code == 403
        assert "location" not in answer.headers


def test_allowing_every_redirect_domain_widens_nothing_else(site: Site) -> None:
    site.restart(allowed_redirect_domains=None)
    app = App.register(site, "https://anything.example/cb")
    stranger = site.visitor()

    page = stranger.get("/authorize", params=app.query())
    denied = stranger.submit(ticket=ticket_of(page), decision="deny")

    assert page.status_code == 200
    assert "location" not in denied.headers  # no redirector to anybody's host
    assert app.redeem(approve(app)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_the_endpoint_asks_for_a_token_on_every_method(
    shared_site: Site, method: str, path: str
) -> None:
    answer = shared_site.visitor().request(method, path)

    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{URL}/.well-known/oauth-protected-resource/mcp"' in challenge
    assert "error=" not in challenge


@pytest.mark.parametrize("token", ["x", "pat_" + "A" * 43, "prt_x", "a b", "ü" * 10])
def test_a_made_up_token_is_refused(shared_site: Site, token: str) -> None:
    headers = {b"authorization": b"Bearer " + token.encode()}

    answer = shared_site.visitor().post("/mcp", headers=headers)  # type: ignore[arg-type]

    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "mcp.example.com.evil.example", "mcp.example.com:8443", "localhost.evil.com"],
)
def test_a_foreign_host_is_misdirected(shared_site: Site, host: str) -> None:
    visitor = shared_site.visitor(host=host)

    for path in ["/mcp", "/authorize", "/.well-known/oauth-authorization-server", "/token"]:
        assert visitor.get(path).status_code == 421


@pytest.mark.parametrize(
    "host", ["mcp.example.com", "MCP.Example.com", "mcp.example.com:443", "localhost:8050"]
)
def test_the_public_host_and_loopback_are_served(shared_site: Site, host: str) -> None:
    visitor = shared_site.visitor(host=host)

    assert visitor.get("/.well-known/oauth-authorization-server").status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://mcp.example.com", ""])
def test_a_foreign_origin_does_not_reach_the_endpoint(shared_site: Site, origin: str) -> None:
    answer = shared_site.visitor().call(None, origin=origin)

    assert answer.status_code == 403


@pytest.mark.parametrize("origin", [URL, "http://localhost:6274", "http://127.0.0.1:3000"])
def test_our_own_and_loopback_origins_may_call(site: Site, origin: str) -> None:
    app = App.register(site)
    token = app.redeem(approve(app)).json()["access_token"]

    answer = site.visitor().call(token, origin=origin)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin


def test_what_one_page_may_read_of_a_refusal_the_next_may_not(site: Site) -> None:
    of_a_page = site.visitor().post("/mcp", headers={"origin": "http://localhost:6274"})
    of_none = site.visitor().post("/mcp")

    assert (of_a_page.status_code, of_none.status_code) == (401, 401)
    assert of_a_page.headers["access-control-allow-origin"] == "http://localhost:6274"
    assert "access-control-allow-origin" not in of_none.headers
    assert of_a_page.headers["www-authenticate"] == of_none.headers["www-authenticate"]


def test_what_is_around_the_app_changes_one_refusal_and_not_the_next(tmp_path: Path) -> None:
    def marking(app: ASGIApp) -> ASGIApp:
        async def marked(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-mark", b"mine"))
                await send(message)

            await app(scope, receive, sending)

        return marked

    server = AppServer(tmp_path / "state", around=marking)
    try:
        answers = [server.visitor().post("/mcp") for _ in range(3)]
    finally:
        server.stop()

    assert [answer.status_code for answer in answers] == [401] * 3
    assert [answer.headers.get_list("x-mark") for answer in answers] == [["mine"]] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_decision_from_another_page_is_refused(
    shared_site: Site, headers: dict[str, str]
) -> None:
    visitor = shared_site.visitor()
    page = visitor.get("/authorize", params=App.register(shared_site).query())
    form = {"ticket": ticket_of(page), "password": PASSWORD, "decision": "approve"}

    answer = visitor.post("/authorize", data=form, headers=headers)

    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_ticket_of_another_browser_is_refused(site: Site, owner: Visitor) -> None:
    attacker = site.visitor()
    lure = ticket_of(attacker.get("/authorize", params=App.register(site).query()))
    approve(App.register(site), owner)  # signed in, with cookies of its own

    answer = owner.submit(ticket=lure, decision="approve")

    assert answer.status_code == 400
    assert "another browser" in answer.text


def test_an_altered_ticket_is_refused(shared_site: Site) -> None:
    visitor = shared_site.visitor()
    ticket = ticket_of(visitor.get("/authorize", params=App.register(shared_site).query()))
    body, mac = ticket.split(".")

    for bad in [f"{body}.{mac[:-2]}AA", f"{body[:-4]}AAAA.{mac}", body, "", "a.b", "ü.ü", "." * 9]:
        answer = visitor.submit(ticket=bad, password=PASSWORD, decision="approve")
        assert answer.status_code == 400, bad


def test_a_ticket_lives_for_ten_minutes(site: Site, owner: Visitor, clock: Clock) -> None:
    page = owner.get("/authorize", params=App.register(site).query())

    clock.advance(10 * 60)

    answer = owner.submit(ticket=ticket_of(page), password=PASSWORD, decision="approve")
    assert answer.status_code == 400
    assert "10 minutes" in answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge": "x"},
        {"code_challenge": "A" * 44},
        {"code_challenge": "=" * 43},
        {"response_type": "token"},
        {"response_type": None},
        {"client_id": None},
        {"client_id": "c1.made-up"},
        {"client_id": "c1-made-up"},
        {"redirect_uri": "https://claude.ai/elsewhere"},
        {"resource": "https://other.example/mcp"},
        {"state": "x" * 4097},
    ],
    ids=str,
)
def test_a_broken_request_is_a_page_and_never_a_redirect(
    shared_site: Site, change: dict[str, str | None]
) -> None:
    app = App.register(shared_site)

    answer = shared_site.visitor().get("/authorize", params=app.query(**change))

    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "location" not in answer.headers


@pytest.mark.parametrize("name", ["redirect_uri", "client_id", "state", "code_challenge"])
def test_a_parameter_given_twice_is_refused(shared_site: Site, name: str) -> None:
    query = App.register(shared_site).query()

    answer = shared_site.visitor().get("/authorize", params=[*query.items(), (name, query[name])])

    assert answer.status_code == 400


def test_a_flood_of_registrations_leaves_nothing_behind(site: Site) -> None:
    stored = (site.state_dir / "oauth_tokens.json").read_bytes()

    for number in range(50):
        App.register(site, client_name=f"flood {number}")

    assert (site.state_dir / "oauth_tokens.json").read_bytes() == stored


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://claude.ai/cb"}, "invalid_redirect_uri"),
        ({"redirect_uris": [1]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://claude.ai/#f"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://claude.ai/cb"] * 11}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://claude.ai/" + "a" * 1024]}, "invalid_redirect_uri"),
        ({"redirect_uris": [CALLBACK], "client_name": 1}, "invalid_client_metadata"),
        (
            {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "tls_client_auth"},
            "invalid_client_metadata",
        ),
        ([], "invalid_request"),
        ("text", "invalid_request"),
    ],
)
def test_a_bad_registration_is_refused(shared_site: Site, body: object, error: str) -> None:
    answer = shared_site.visitor().post("/register", json=body)

    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_huge_and_deep_bodies_are_refused(shared_site: Site) -> None:
    visitor = shared_site.visitor()

    huge = visitor.post("/register", json={"redirect_uris": [CALLBACK], "x": "y" * 20_000})
    deep = visitor.post("/register", content="[" * 16_000)
    form = visitor.post("/token", data={"grant_type": "x" * 20_000})
    line = visitor.get("/authorize?state=" + "x" * 9000)

    assert [a.status_code for a in (huge, deep, form, line)] == [413, 400, 413, 414]
    assert all(a.json()["error"] == "invalid_request" for a in (huge, deep, form, line))


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"grant_type=%ff%fe", b"a=b" * 3000, b"grant_type=\xc3\xbc", b"&&&=", b""],
)
@pytest.mark.parametrize("path", ["/token", "/revoke", "/register", "/authorize"])
def test_bad_bytes_are_refused_and_never_a_traceback(
    shared_site: Site, path: str, content: bytes
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": URL}

    answer = shared_site.visitor().post(path, content=content, headers=headers)

    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_control_and_direction_characters_leave_a_client_name(shared_site: Site) -> None:
    app = App.register(shared_site, client_name="\x1b]0;ok\x1b[2J \x9b31m \u202e evil \x00")

    assert app.registration["client_name"] == "]0;ok[2J 31m  evil "


@pytest.mark.parametrize("cookie", ["\\" * 8000, '"\\015\\012"' * 900, "a=b;" * 4000])
def test_hostile_cookies_are_not_echoed(shared_site: Site, cookie: str) -> None:
    app = App.register(shared_site)
    visitor = shared_site.visitor(cookie=f"__Host-pa_browser={cookie}")

    answer = visitor.get("/authorize", params=app.query())

    assert answer.status_code == 200
    assert "\\" not in "".join(answer.headers.get_list("set-cookie"))


def test_a_stolen_state_file_offers_no_fast_guess_at_a_chosen_password(site: Site) -> None:
    approve(App.register(site))
    stored = json.loads((site.state_dir / "oauth_tokens.json").read_text())["rows"]
    key = bytes.fromhex(stored["owner"]["key"]["value"]["key"])
    (session,) = stored["sessions"].values()

    fast = to_text(Sealer(key).mac("password", PASSWORD.encode())[:16])

    assert session["value"]["password"] != fast


def test_a_session_or_device_made_with_a_stolen_key_is_worthless(site: Site) -> None:
    stored = json.loads((site.state_dir / "oauth_tokens.json").read_text())["rows"]
    sealer = Sealer(bytes.fromhex(stored["owner"]["key"]["value"]["key"]))
    thief = site.visitor()
    thief.cookies["__Host-pa_session"] = sealer.seal("session", {"exp": 1e12, "id": "x"})

    page = thief.get("/authorize", params=App.register(site).query())

    assert 'type="password"' in page.text


@pytest.mark.parametrize(("path", "status"), [("/token", 413), ("/register", 413), ("/mcp", 401)])
def test_a_body_that_is_not_wanted_ends_the_connection(
    shared_site: Site, path: str, status: int
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}

    answer = shared_site.visitor().post(path, content=b"x" * 200_000, headers=headers)

    assert answer.status_code == status
    assert answer.headers["connection"] == "close"


def test_a_body_that_never_ends_is_given_up(tmp_path: Path, clock: Clock) -> None:
    site = Site(tmp_path / "state", clock, limits=Limits(body_seconds=0.2))
    try:
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
            connection.sendall(
                b"POST /token HTTP/1.1\r\nHost: mcp.example.com\r\nContent-Length: 100\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
    finally:
        site.stop()


def test_markup_in_a_client_name_is_text_on_the_page(shared_site: Site) -> None:
    name = "<script>alert(1)</script>\"'&{{7*7}}"
    app = App.register(shared_site, client_name=name)

    page = shared_site.visitor().get("/authorize", params=app.query())

    assert "<script" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "{{7*7}}" in page.text


def test_the_page_loads_nothing_and_cannot_be_framed(shared_site: Site) -> None:
    page = shared_site.visitor().get("/authorize", params=App.register(shared_site).query())

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "same-origin"
    assert not any(word in page.text for word in ("<script", "http:", "src=", "<link", "@import"))
    assert all("httponly" in cookie.lower() for cookie in page.headers.get_list("set-cookie"))
    assert all(
        cookie.startswith("__Host-") and "Secure" in cookie
        for cookie in page.headers.get_list("set-cookie")
    )


def test_wrong_passwords_make_everybody_new_wait_but_not_a_known_browser(
    site: Site, owner: Visitor, clock: Clock
) -> None:
    approve(App.register(site), owner)
    del owner.cookies["__Host-pa_session"]
    attacker = site.visitor()
    lure = ticket_of(attacker.get("/authorize", params=App.register(site).query()))

    answers = [attacker.submit(ticket=lure, password="guess", decision="approve") for _ in range(7)]
    right_too_early = attacker.submit(ticket=lure, password=PASSWORD, decision="approve")

    assert [a.status_code for a in answers] == [403] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert right_too_early.status_code == 429
    approve(App.register(site), owner)  # the owner's browser is not held up
    clock.advance(60)
    again = attacker.submit(ticket=lure, password=PASSWORD, decision="approve")
    assert again.status_code == 303


def test_the_wait_doubles_up_to_five_minutes(site: Site, clock: Clock) -> None:
    site.restart(trusted_proxies=["127.0.0.1"])
    visitor = site.visitor(**{"x-forwarded-for": "203.0.113.5"})
    ticket = ticket_of(visitor.get("/authorize", params=App.register(site).query()))
    waits = []

    for _ in range(16):
        answer = visitor.submit(ticket=ticket, password="guess", decision="approve")
        if answer.status_code == 429:
            waits.append(int(answer.headers["retry-after"]))
            clock.advance(waits[-1])
            page = visitor.get("/authorize", params=App.register(site).query())
            ticket = ticket_of(page)

    assert waits[:5] == [1, 2, 4, 8, 16]
    assert 15 < max(waits) <= 300


def test_a_flood_from_many_addresses_holds_a_new_browser_up_for_seconds_only(
    site: Site, clock: Clock
) -> None:
    site.restart(trusted_proxies=["127.0.0.1"])
    for number in range(30):
        visitor = site.visitor(**{"x-forwarded-for": f"203.0.113.{number}"})
        page = visitor.get("/authorize", params=App.register(site).query())
        visitor.submit(ticket=ticket_of(page), password="guess", decision="approve")
        clock.advance(15)
    owner = site.visitor(**{"x-forwarded-for": "198.51.100.7"})

    assert approve(App.register(site), owner)


def test_wrong_passwords_are_forgotten_with_time(site: Site, clock: Clock) -> None:
    visitor = site.visitor()
    for _ in range(20):
        page = visitor.get("/authorize", params=App.register(site).query())
        answer = visitor.submit(ticket=ticket_of(page), password="guess", decision="approve")
        assert answer.status_code == 403
        clock.advance(10 * 60)


def test_secrets_are_neither_stored_nor_logged(
    site: Site, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    app = App.register(site, token_endpoint_auth_method="client_secret_post")
    code = approve(app)
    tokens = app.redeem(code).json()
    fresh = app.refresh(tokens["refresh_token"]).json()
    site.visitor().call(fresh["access_token"])
    site.stop()
    site.start()

    stored = (site.state_dir / "oauth_tokens.json").read_text()
    ours = ("personal_auth", "fastmcp", "mcp", "uvicorn")
    lines = [r.getMessage() for r in caplog.records if r.name.startswith(ours)]
    logged = "".join([*capfd.readouterr(), *lines])
    secrets = [code, PASSWORD, app.registration["client_secret"], app.verifier]
    secrets += [t[k] for t in (tokens, fresh) for k in ("access_token", "refresh_token")]
    assert len(json.loads(stored)["rows"]["grants"]) == 1
    assert not [secret for secret in secrets if secret in stored or secret in logged]


def test_forwarded_addresses_are_believed_only_from_trusted_proxies(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    def guess(spoofed: str) -> str:
        caplog.clear()
        visitor = site.visitor(**{"x-forwarded-for": spoofed})
        page = visitor.get("/authorize", params=App.register(site).query())
        visitor.submit(ticket=ticket_of(page), password="guess", decision="approve")
        return caplog.text

    assert "address=127.0.0.1" in guess("203.0.113.9")
    site.restart(trusted_proxies=["127.0.0.0/8"])
    assert "address=203.0.113.9" in guess("198.51.100.1, 203.0.113.9")
    assert "address=127.0.0.1" in guess("127.0.0.1")
