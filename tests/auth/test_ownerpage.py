"""The page `/owner`: who may open it, and what each of its forms does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import FastMCP

from personal_auth import PersonalAuthProvider
from personal_auth.audit import Event
from personal_auth.client import Client
from personal_auth.moments import moment
from personal_auth.owneractions import SAID
from personal_auth.reading import HeldToReading
from personal_auth.trail import LOST, Trail
from personal_auth.trailfile import Entry
from personal_auth.trailview import EVENTS, lines
from tests.support.asgi import AppServer
from tests.support.authenticator import Authenticator, offered
from tests.support.authenticator import enrol as enrol_device
from tests.support.household import (
    CHATGPT,
    CLAUDE,
    CLAUDE_CODE,
    CURSOR,
    DAY,
    HOUR,
    MINUTE,
    PHONE,
    connect,
    enrol,
    furnish,
    sign_in_elsewhere,
    token,
)
from tests.support.ownerpage import DEEDS, LOCAL, Desk, desk, words
from tests.support.site import PASSWORD, URL, App, Clock

NEW = "another password of some length"
CHANGE = {"new-password": NEW, "again": NEW}


@pytest.fixture(params=[URL, LOCAL], ids=["public", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AppServer]:
    """A server on https, and one on plain loopback; each keeps its password in its state."""
    server = AppServer(
        tmp_path / "state", base_url=request.param, password=None, server_name="my-server"
    )
    server.run(server.provider.service.owner.change_password(PASSWORD))
    yield server
    server.stop()


@pytest.fixture
def public(tmp_path: Path) -> Iterator[AppServer]:
    """A server on https whose settings name the password."""
    server = AppServer(tmp_path / "state", server_name="my-server")
    yield server
    server.stop()


@pytest.fixture
def here(place: AppServer) -> Desk:
    return desk(place)


def forms(page: str) -> dict[str, dict[str, str]]:
    """Returns the hidden fields of every form on a page, by what it does."""
    found = {}
    for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
        found[fields["do"]] = fields
    return found


def state(server: AppServer) -> Any:
    """Returns what is stored, but for when a connection was seen."""
    rows = json.loads(server.provider.service.records.store.dump())["rows"]
    rows.pop("seen", None)
    return rows


# Who may open it


def test_the_owner_signs_in_and_sees_what_is_connected(here: Desk, place: AppServer) -> None:
    connect(place)

    before, page = here.open(), here.sign_in()

    assert "Claude" not in before.text
    assert (before.status_code, page.status_code) == (200, 200)
    assert "Claude claude.ai verified" in words(page)


def test_on_https_the_page_is_there_again_without_a_password(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state")
    owner = desk(server)
    answer = owner.post("sign-in", password=PASSWORD)

    again = owner.open()

    assert (answer.status_code, answer.headers["location"]) == (303, "/owner")
    assert "Connected apps" in again.text
    assert 'name="session"' not in again.text
    server.stop()


def test_on_plain_loopback_no_session_cookie_ever_exists(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state", base_url=LOCAL)
    owner = desk(server)

    answers = [owner.open(), owner.post("sign-in", password="x"), owner.sign_in()]
    answers += [owner.act("end-other-sessions"), owner.act("sign-out")]

    cookies = [line for answer in answers for line in answer.headers.get_list("set-cookie")]
    assert [line.partition("=")[0] for line in cookies] == ["pa_device_8050"]
    assert "Connected apps" in answers[3].text
    server.stop()


def test_on_plain_loopback_a_session_in_a_cookie_opens_nothing(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state", base_url=LOCAL)
    owner = desk(server)
    owner.sign_in()

    owner.visitor.cookies["pa_session_8050"] = owner.carried
    owner.carried = ""

    assert "Password of this server" in owner.open().text
    assert owner.post("revoke-all").status_code == 403
    server.stop()


def test_on_https_a_session_in_a_form_opens_nothing(public: AppServer) -> None:
    owner, other = desk(public), desk(public)
    owner.sign_in()

    other.carried = owner.visitor.cookies["__Host-pa_session"]

    assert other.post("revoke-all").status_code == 403


def test_a_wrong_password_leads_back_to_the_field(here: Desk) -> None:
    answer = here.post("sign-in", password="a wrong password")

    assert answer.status_code == 403
    assert "That is not the password of this server." in words(answer)
    assert 'aria-invalid="true" autofocus' in answer.text


def test_no_password_is_a_wrong_one(here: Desk) -> None:
    answer = here.post("sign-in")

    assert answer.status_code == 403
    assert "Enter the password of this server." in words(answer)


def test_guessing_has_to_wait_and_is_told_how_long(here: Desk, place: AppServer) -> None:
    tries = [desk(place).post("sign-in", password="a guess") for _ in range(6)]

    assert [answer.status_code for answer in tries] == [403] * 5 + [429]
    assert tries[5].headers["retry-after"] == "1"
    assert "wait 1 s" in words(tries[5])


def test_strangers_leave_nothing_in_the_state(here: Desk, place: AppServer) -> None:
    before = state(place)

    here.open()
    here.post("sign-in", password="a guess")
    here.post("revoke-all")

    assert state(place) == before


def test_a_bearer_token_sees_the_sign_in_page_and_does_nothing(
    here: Desk, place: AppServer
) -> None:
    _, tokens = connect(place)
    gid, access = token(place, "A script")
    before = state(place)
    for bearer in (tokens.access, access):
        here.visitor.headers["authorization"] = f"Bearer {bearer}"

        page, answer = here.open(), here.post("revoke", id=gid)

        assert page.status_code == 200
        assert "Connected apps" not in page.text
        assert answer.status_code == 403
    assert state(place) == before


# What only the owner can do


@pytest.fixture
def furnished(place: AppServer) -> AppServer:
    furnish(place)
    return place


def every_form(server: AppServer) -> dict[str, dict[str, str]]:
    """Returns each form of the page as a signed-in owner would send it."""
    owner = desk(server)
    found = forms(owner.sign_in().text)
    owner.act("sign-out")
    keyring = server.provider.service.owner
    server.run(keyring.switch_password_off())
    server.run(keyring.switch_password_on())
    found |= {"password-on": {"do": "password-on"}}
    found["name"]["name"] = found["name-passkey"]["name"] = "another name"
    found["change-password"] |= CHANGE
    for form in found.values():
        form.pop("session", None)
    return found


def test_an_ended_session_a_token_or_another_page_can_do_none_of_it(furnished: AppServer) -> None:
    found = every_form(furnished)
    assert set(found) == set(DEEDS) - {"sign-in"}
    owner, thief = desk(furnished), desk(furnished)
    owner.sign_in()
    thief.carried, thief.visitor.cookies = owner.carried, dict(owner.visitor.cookies)
    evil = {"origin": "https://evil.example"}
    foreign = [evil, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
    foreign += [{}, {"origin": "null"}, {**evil, "sec-fetch-site": "same-origin"}]
    before = state(furnished)

    for form in found.values():
        for headers in foreign:
            sent = {"session": owner.carried, **form}
            answer = owner.visitor.post("/owner", data=sent, headers=headers)
            assert (answer.status_code, state(furnished)) == (400, before), (form, headers)
    owner.act("sign-out")
    before = state(furnished)
    for form in found.values():
        answer = thief.post(**form)
        assert answer.status_code == 403, form
        assert "You are signed out. Nothing was changed" in words(answer)
        assert state(furnished) == before, form


def test_a_form_without_an_origin_needs_to_say_that_it_is_ours(here: Desk) -> None:
    form = {"do": "sign-in", "password": PASSWORD}

    answer = here.visitor.post("/owner", data=form, headers={"sec-fetch-site": "same-origin"})

    assert answer.status_code in {200, 303}


def change_elsewhere(server: AppServer) -> None:
    server.run(server.provider.service.owner.change_password(NEW))


def twelve_hours_later(server: AppServer) -> None:
    server.clock.advance(12 * HOUR)


def end_others(server: AppServer) -> None:
    other = desk(server)
    other.sign_in()
    other.act("end-other-sessions")


@pytest.mark.parametrize("ending", [change_elsewhere, twelve_hours_later, end_others])
def test_a_session_ends(here: Desk, place: AppServer, ending: Callable[[AppServer], None]) -> None:
    gid, tokens = connect(place)
    here.sign_in()

    ending(place)
    answer = here.post("revoke", id=gid)

    assert answer.status_code == 403
    assert "Password of this server" in answer.text
    assert "Claude" not in answer.text
    assert here.visitor.call(tokens.access).status_code == 200


def test_what_matters_most_needs_a_sign_in_of_the_last_ten_minutes(furnished: AppServer) -> None:
    found, owner = every_form(furnished), desk(furnished)
    owner.sign_in()
    furnished.clock.advance(10 * MINUTE)
    before = state(furnished)

    for do in ("change-password", "add-passkey", "remove-passkey", "password-off", "password-on"):
        answer = owner.post(**found[do])
        assert answer.status_code == 403
        assert "Sign in again to do this. Nothing was changed." in words(answer)
        assert state(furnished) == before, do
    owner.sign_in()
    page = owner.act(**found["change-password"])

    assert "The password is changed." in words(page)


def test_no_page_of_others_may_frame_it_or_keep_it(here: Desk) -> None:
    for answer in (here.open(), here.sign_in(), here.post("nothing")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    for answer in (here.open(), here.sign_in()):
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "form-action 'self'" in answer.headers["content-security-policy"]


def test_the_page_holds_no_secret(furnished: AppServer) -> None:
    _, tokens = connect(furnished)
    _, access = token(furnished, "A script")
    owner = desk(furnished)

    page = owner.sign_in().text

    stored = json.dumps(state(furnished))
    hashes = set(re.findall(r"[0-9a-f]{64}|\$argon2id[^\"]+", stored))
    cookies = [value for name, value in owner.visitor.cookies.items() if "said" not in name]
    assert len(hashes) > 5
    for secret in (tokens.access, tokens.refresh, access, PASSWORD, *hashes, *cookies):
        assert secret not in page


# What the page shows


def test_it_says_who_is_connected_and_where_access_goes(here: Desk, place: AppServer) -> None:
    for client in (CLAUDE, CLAUDE_CODE, CHATGPT, CURSOR):
        connect(place, client)
    token(place, "Nightly backup", days=30)

    said = words(here.sign_in())

    assert "Claude claude.ai verified Access goes to claude.ai" in said
    assert "Claude Code only its description is verified Access goes to a program on your" in said
    assert "ChatGPT unverified Access goes to chatgpt.com" in said
    assert "Cursor unverified Access goes to the app that opens cursor: links, a program" in said
    assert "Nightly backup token for a script It may use every tool" in said
    assert "Ends in 1 month 14 Feb 2027, 08:00 UTC" in said


def test_it_says_when_and_from_where_an_app_was_used(here: Desk, place: AppServer) -> None:
    connect(place, calls=3)
    connect(place, CHATGPT)
    place.clock.advance(2 * HOUR + MINUTE)

    page = here.sign_in()

    said = words(page)
    assert "Tools called 3 Last used 2 hours ago 15 Jan 2027, 08:00 UTC from 160.79.104.7" in said
    assert "Tools called 0 Last used never Connected 2 hours ago 15 Jan 2027, 08:00 UTC" in said
    assert '<time datetime="2027-01-15T08:00:00Z">' in page.text


def test_an_app_of_another_address_is_pointed_out(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state", base_url="https://old.example.com")
    connect(server)
    server.stop()

    server = AppServer(tmp_path / "state")
    said = words(desk(server).sign_in())

    assert "It was connected to https://old.example.com/mcp, which is not this server’s" in said
    server.stop()


@pytest.mark.parametrize(
    "name", ["<b>claude.ai</b> verified", "\u05d0\u05d1\u05d2", "W" * 100, '’"><script>']
)
def test_a_name_stays_a_name(here: Desk, place: AppServer, name: str) -> None:
    connect(place, Client("c1.x", name, CHATGPT.redirect_uris))

    page = here.sign_in()

    assert f"{name} unverified" in words(page)
    assert page.text.count("<script") == 1  # ours
    assert "<bdi>" in page.text


def test_who_has_no_name_is_shown_without_one(here: Desk, place: AppServer) -> None:
    connect(place, Client("c1.x", "", CHATGPT.redirect_uris))

    assert "An app without a name unverified" in words(here.sign_in())


def test_with_nothing_connected_it_says_how_to_connect(here: Desk) -> None:
    said = words(here.sign_in())

    assert "Nothing is connected yet." in said
    assert f"{here.origin}/mcp" in said
    assert "Disconnect every app" not in said


def test_an_address_that_nobody_can_read_is_shown_as_it_is(here: Desk, place: AppServer) -> None:
    odd = "https://claude.ai/a b<i>"
    connect(place, Client("c1.x", "Old", (odd,)))

    assert f"Access goes to {odd}" in words(here.sign_in())


# Connections


def test_a_disconnected_app_is_refused_at_its_next_request(here: Desk, place: AppServer) -> None:
    gid, tokens = connect(place)
    _, access = token(place, "A script")
    here.sign_in()
    before = here.visitor.call(tokens.access).status_code

    page = here.act("revoke", id=gid)

    assert (before, here.visitor.call(tokens.access).status_code) == (200, 401)
    assert here.visitor.call(access).status_code == 200
    assert "The app is disconnected. Its next request is refused." in words(page)
    assert "Claude claude.ai verified" not in words(page)


def test_all_apps_can_be_disconnected_at_once(here: Desk, place: AppServer) -> None:
    _, tokens = connect(place)
    _, access = token(place, "A script")
    page = here.sign_in()

    assert "Disconnect all 2 now" in words(page)
    page = here.act("revoke-all")

    assert [here.visitor.call(each).status_code for each in (tokens.access, access)] == [401, 401]
    assert "Nothing is connected yet." in words(page)


def test_an_app_gets_a_name_and_loses_it_again(here: Desk, place: AppServer) -> None:
    gid, _ = connect(place)
    here.sign_in()

    named = words(here.act("name", id=gid, name="On  the <phone>\n"))
    unnamed = words(here.act("name", id=gid, name=""))

    assert "On the <phone> claude.ai verified It calls itself Claude" in named
    assert "Claude claude.ai verified Access goes to" in unnamed


def test_an_app_is_held_to_reading_and_let_go_again(here: Desk, place: AppServer) -> None:
    gid, tokens = connect(place)
    place.provider.service.can_narrow = True

    def scopes() -> list[str]:
        found = place.run(place.provider.verify_token(tokens.access))
        assert found is not None
        return list(found.scopes)

    page = here.sign_in()
    narrowed, reading = here.act("narrow", id=gid), scopes()
    widened, everything = here.act("widen", id=gid), scopes()

    assert "Let it only read" in words(page)
    assert "It may only read" in words(narrowed)
    assert "It may use every tool" in words(widened)
    assert (reading, everything) == (["tools:read"], ["tools"])


def hold_to_reading(server: FastMCP[Any], auth: PersonalAuthProvider) -> None:
    server.add_middleware(HeldToReading(auth))


def test_a_tool_that_may_change_something_is_gone_at_the_next_request(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state", add=hold_to_reading)
    gid, tokens = connect(server)
    owner = desk(server)
    page = owner.sign_in()

    before = owner.visitor.call(tokens.access).text
    owner.act("narrow", id=gid)
    held = owner.visitor.call(tokens.access).text
    owner.act("widen", id=gid)
    after = owner.visitor.call(tokens.access).text

    assert "Let it only read" in words(page)
    assert ("pong" in before, "Unknown tool" in held, "pong" in after) == (True, True, True)
    assert "pong" not in held
    server.stop()


def test_what_nothing_enforces_is_not_offered(here: Desk, place: AppServer) -> None:
    gid, tokens = connect(place)
    place.provider.service.can_narrow = False

    page, answer = here.sign_in(), here.post("narrow", id=gid)

    assert "only read" not in words(page)
    assert answer.status_code == 400
    assert here.visitor.call(tokens.access).status_code == 200


@pytest.mark.parametrize("do", ["revoke", "name", "narrow", "widen"])
@pytest.mark.parametrize("gid", ["0" * 16, "epoch", "x/reading", "../..", "\u202e", "A" * 999])
def test_a_connection_that_is_not_there_is_no_error(
    here: Desk, place: AppServer, do: str, gid: str
) -> None:
    place.provider.service.can_narrow = True
    here.sign_in()
    before = state(place)

    page = here.act(do, id=gid, name="x")

    assert page.status_code == 200
    assert "That connection had ended already." in words(page)
    assert state(place) == before


# Sessions, password, passkeys


def test_another_browser_is_signed_out(here: Desk, place: AppServer) -> None:
    sign_in_elsewhere(place)
    other = desk(place)
    other.visitor.headers["user-agent"] = PHONE.replace("iPhone", "iPad")
    other.sign_in()
    page = here.sign_in()
    at = page.text.index("Safari on iPad")
    found = re.search(r'name="id" value="([0-9a-f]{16})"', page.text[at:])
    assert found

    page = here.act("end-session", id=found[1])

    assert "That browser is signed out." in words(page)
    assert "Safari on iPad" not in page.text
    assert "Safari on iPhone" in page.text
    assert other.post("revoke-all").status_code == 403


def test_every_other_browser_is_signed_out(here: Desk, place: AppServer) -> None:
    others = [desk(place) for _ in range(2)]
    for other in others:
        other.sign_in()
    here.sign_in()

    page = here.act("end-other-sessions")

    assert "Every other browser is signed out." in words(page)
    assert "this one" in words(page)
    assert [other.post("revoke-all").status_code for other in others] == [403, 403]
    assert here.act("end-other-sessions").status_code == 200


def test_signing_out_ends_the_session(here: Desk, place: AppServer) -> None:
    here.sign_in()
    kept = here.carried, dict(here.visitor.cookies)

    page = here.act("sign-out")

    assert "You are signed out." in words(page)
    here.carried, here.visitor.cookies = kept
    assert here.post("revoke-all").status_code == 403


def test_a_new_password_holds_at_once_and_signs_every_other_browser_out(
    here: Desk, place: AppServer
) -> None:
    other = desk(place)
    other.sign_in()
    here.sign_in()

    page = here.act("change-password", **CHANGE)

    assert "The password is changed. Every other browser is signed out." in words(page)
    assert other.post("revoke-all").status_code == 403
    assert here.act("end-other-sessions").status_code == 200
    assert desk(place).post("sign-in", password=PASSWORD).status_code == 403
    assert "Connected apps" in desk(place).sign_in(NEW).text


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({}, "at least 12 characters"),
        ({"new-password": "eleven char"}, "at least 12 characters"),
        ({"new-password": NEW}, "The two passwords differ"),
        ({"new-password": NEW, "again": NEW + " "}, "The two passwords differ"),
        ({"new-password": f"{NEW}\t", "again": f"{NEW}\t"}, "on one line"),
        ({"new-password": "$argon2id$v=19$m=8", "again": "$argon2id$v=19$m=8"}, "was cut"),
    ],
)
def test_a_password_that_cannot_be_taken_is_refused_beside_its_field(
    here: Desk, place: AppServer, form: dict[str, str], why: str
) -> None:
    here.sign_in()
    before = state(place)

    answer = here.post("change-password", **form)

    assert answer.status_code == 400
    assert why in words(answer)
    assert 'aria-invalid="true" autofocus' in answer.text
    assert "<details open>" in answer.text
    assert NEW not in answer.text
    assert state(place) == before


def test_a_password_of_the_settings_is_changed_there(public: AppServer) -> None:
    owner = desk(public)

    page, answer = owner.sign_in(), owner.post("change-password", **CHANGE)

    assert "The setting MCP_PASSWORD says what it is" in words(page)
    assert "new-password" not in page.text
    assert answer.status_code == 400
    assert desk(public).post("sign-in", password=NEW).status_code == 403


@pytest.fixture
def device(here: Desk, place: AppServer) -> Authenticator:
    """A phone with a passkey that is enrolled."""
    device = Authenticator(here.origin)
    place.run(enrol_device(place.provider.service.owner, device))
    return device


def answered(device: Authenticator, page: httpx.Response) -> dict[str, str]:
    """Returns what a device answers to a page that offers to sign in by passkey."""
    options, challenge = offered(page.text)
    return {"assertion": json.dumps(device.get(options)), "challenge": challenge}


def made(device: Authenticator, page: httpx.Response) -> dict[str, str]:
    """Returns what a device answers to a page that offers to make a passkey."""
    options, challenge = offered(page.text)
    return {"assertion": json.dumps(device.create(options)), "challenge": challenge}


def test_a_passkey_signs_in_on_the_page_that_offered_it(
    here: Desk, place: AppServer, device: Authenticator
) -> None:
    other, answer = desk(place), answered(device, here.open())
    other.open()

    elsewhere = other.post("sign-in", **answer)
    signed_in = here.act("sign-in", **answer)
    again = here.post("sign-in", **answer)

    assert (elsewhere.status_code, again.status_code) == (403, 403)
    assert "by the passkey A phone" in words(signed_in)


def test_a_passkey_of_the_consent_page_is_not_taken_here(public: AppServer) -> None:
    owner, device = desk(public), Authenticator(URL)
    public.run(enrol_device(public.provider.service.owner, device))
    app = App.register(public)
    answer = answered(device, owner.visitor.get("/authorize", params=app.query()))

    assert owner.post("sign-in", **answer).status_code == 403


def test_a_passkey_is_made_for_the_session_that_asked(here: Desk, place: AppServer) -> None:
    other = desk(place)
    other.sign_in()
    new = Authenticator(here.origin)
    answer = made(new, here.sign_in())

    elsewhere = other.post("add-passkey", **answer)
    added = here.act("add-passkey", name="My <phone>", **answer)

    assert elsewhere.status_code == 403
    assert 'role="alert" tabindex="-1" autofocus' in elsewhere.text
    assert "The passkey is added: it signs you in from now on." in words(added)
    assert "My <phone> Never used" in words(added)
    desk_of_phone = desk(place)
    answer = answered(new, desk_of_phone.open())
    assert "Connected apps" in desk_of_phone.act("sign-in", **answer).text


def test_without_javascript_no_passkey_is_made(here: Desk) -> None:
    here.sign_in()

    answer = here.post("add-passkey", name="x")

    assert answer.status_code == 403
    assert "A passkey is made by JavaScript: allow it for this page." in words(answer)


def test_a_passkey_is_named_and_removed(here: Desk, place: AppServer) -> None:
    first, _ = enrol(place, "First"), enrol(place, "Second")
    page = here.sign_in()

    renamed = here.act("name-passkey", id=first, name="The <phone>")
    removed = here.act("remove-passkey", id=first)

    assert "First Never used" in words(page)
    assert "The <phone> Never used" in words(renamed)
    assert "The passkey is removed." in words(removed)
    assert "The <phone>" not in words(removed)
    assert "Second Never used" in words(removed)


@pytest.mark.parametrize("do", ["name-passkey", "remove-passkey"])
def test_a_passkey_that_is_not_there_is_no_error(here: Desk, do: str) -> None:
    here.sign_in()

    page = here.act(do, id="0" * 16, name="x")

    assert "There is no such passkey any more" in words(page)


def test_a_session_that_ends_by_what_it_does_is_told(here: Desk, place: AppServer) -> None:
    passkey = enrol(place, "iPhone")
    here.sign_in()
    session = sign_in_elsewhere(place, passkey=passkey)
    if here.carried:
        here.carried = session
    else:
        here.visitor.cookies["__Host-pa_session"] = session

    page = here.act("remove-passkey", id=passkey)

    assert "The passkey is removed. What it signed in is signed out." in words(page)
    assert "Password of this server" in page.text


def test_the_password_is_switched_off_only_while_a_passkey_works(
    here: Desk, place: AppServer
) -> None:
    page, refused = here.sign_in(), here.post("password-off")
    enrol(place, "iPhone")

    off = here.act("password-off")
    turned_away = desk(place).post("sign-in", password=PASSWORD).status_code
    on = here.act("password-on")

    assert "Sign in by passkey only" not in words(page)
    assert refused.status_code == 400
    assert "It is switched off: only your passkeys sign you in." in words(off)
    assert turned_away == 403
    assert "The password signs you in again." in words(on)
    assert "Connected apps" in desk(place).sign_in().text


# The trail


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[AppServer]:
    """A server that keeps a trail."""
    clock = Clock()
    trail = Trail(tmp_path / "trail.sqlite3", clock=clock)
    server = AppServer(tmp_path / "state", trail=trail, clock=clock)
    server.clock = clock
    yield server
    server.stop()


def test_without_a_trail_there_is_no_such_part(public: AppServer) -> None:
    page = desk(public).sign_in()

    assert "Trail" not in words(page)
    assert 'href="#trail"' not in page.text


def test_each_call_is_a_line_with_its_outcome_and_how_long_it_took(kept: AppServer) -> None:
    furnish(kept)

    said = words(desk(kept).sign_in())

    assert "Claude called my_notes_search done 5 minutes ago, 13 Feb 2027, 10:04 UTC · 4 ms" in said
    assert "called my_notes_search failed" in said
    assert "· 2.1 s · from 160.79.104.7" in said
    assert "Claude called my_notes_delete refused" in said
    assert "Claude called my_note no such tool" in said
    assert "· under 1 ms ·" in said


def test_what_happened_at_the_door_is_said_in_words(kept: AppServer) -> None:
    gid, _ = connect(kept)
    owner = desk(kept)
    kept.provider.service.can_narrow = True
    owner.post("sign-in", password="a guess")
    owner.sign_in()
    owner.act("name", id=gid, name="On the phone")

    said = words(owner.act("narrow", id=gid))

    assert "A wrong password was tried" in said
    assert "You signed in" in said
    assert "The app was connected: On the phone" in said
    assert "a guess" not in said


def test_what_strangers_do_again_and_again_is_one_line() -> None:
    def gate(event: str, address: str = "") -> Entry:
        return Entry(0.0, "gate", event=event, address=address)

    entries = [gate("request_refused")] * 30 + [gate("request_refused", "192.0.2.1")]
    entries += [gate("passkey_added")] * 2 + [gate("request_refused")]

    found = [(line.what, line.times) for line in lines(entries, {}, 50)]

    assert found == [
        ("A request was refused", 30),
        ("A request was refused", 1),
        ("A passkey was added", 1),
        ("A passkey was added", 1),
        ("A request was refused", 1),
    ]


def test_at_most_fifty_lines_are_shown(kept: AppServer) -> None:
    trail = kept.provider.trail
    assert trail is not None
    for number in range(60):
        trail.note(Entry(kept.clock(), "call", client="X", tool=f"tool_{number}", outcome="ok"))

    page = desk(kept).sign_in().text

    assert page.count("called <code>tool_") == 49  # and that the owner signed in
    assert "tool_59" in page
    assert "tool_10<" not in page


def test_what_a_client_wrote_stays_text(kept: AppServer) -> None:
    trail = kept.provider.trail
    assert trail is not None
    odd = {"client": "<b>x", "tool": "<i>y", "arguments": '{"q": "<script>"}'}
    trail.note(Entry(kept.clock(), "call", outcome="ok", **odd))

    page = desk(kept).sign_in()

    assert '<b>x called <i>y done With what {"q": "<script>"}' in words(page)
    assert page.text.count("<script") == 1


def test_a_trail_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    server = AppServer(tmp_path / "state", trail=Trail(tmp_path))

    page = desk(server).sign_in()

    assert page.status_code == 200
    assert f"{tmp_path} cannot be read" in words(page)
    assert "Connected apps" in words(page)
    server.stop()


@pytest.mark.parametrize("event", [*Event, LOST])
def test_every_event_has_words_for_the_owner(event: str) -> None:
    if event in {Event.TRAIL_FAILED, Event.TRAIL_BACK}:  # never in the trail
        return

    assert event in EVENTS


def test_an_event_of_a_later_version_is_shown_by_its_name() -> None:
    (line,) = lines([Entry(0.0, "gate", event="something_new")], {}, 50)

    assert line.what == "Something new"


# How a time is said


@pytest.mark.parametrize(
    ("seconds", "distance"),
    [
        (0, "just now"),
        (-59, "just now"),
        (-60, "1 minute ago"),
        (-3 * HOUR + 1, "2 hours ago"),
        (-2 * DAY, "2 days ago"),
        (-59 * DAY, "1 month ago"),
        (-800 * DAY, "2 years ago"),
        (30, "in less than a minute"),
        (DAY, "in 1 day"),
        (90 * DAY, "in 3 months"),
    ],
)
def test_a_time_is_said_by_how_far_away_it_is(seconds: float, distance: str) -> None:
    said = moment(1_800_000_000 + seconds, 1_800_000_000)

    assert said.distance == distance


def test_a_time_is_said_by_its_day_and_minute_in_utc() -> None:
    said = moment(1_801_234_567, 1_900_000_000)

    assert said.day == "29 Jan 2027, 14:56 UTC"
    assert said.iso == "2027-01-29T14:56:07Z"


# Requests that are not as they should be


def test_what_was_done_is_said_once_and_never_by_the_address(public: AppServer) -> None:
    owner = desk(public)
    gid, _ = connect(public)
    owner.sign_in()

    once, again = owner.act("revoke", id=gid), owner.open()
    lured = owner.visitor.get("/owner?said=password-changed")

    assert SAID["revoked"] in words(once)
    assert 'role="status"' not in again.text
    assert 'role="status"' not in lured.text


def test_only_sentences_of_ours_are_said(public: AppServer) -> None:
    owner = desk(public)
    owner.sign_in()
    owner.visitor.cookies["__Host-pa_said"] = "Pay.at.evil.example"

    page = owner.open()

    assert "evil" not in page.text
    assert 'role="status"' not in page.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"do=", 400),
        (b"do=nothing", 400),
        (b"do=revoke", 400),
        (b"do=name&id=", 400),
        (b"do=revoke&id=a&id=b", 400),
        (b"do=revoke&do=revoke-all", 400),
        (b"do=revoke&id=%ff", 400),
        (b"do=name&id=" + b"a" * 20_000, 413),
    ],
    ids=ascii,
)
def test_a_form_that_is_not_ours_is_answered_by_a_page(
    public: AppServer, body: bytes, status: int
) -> None:
    owner = desk(public)
    owner.sign_in()
    form = {"content-type": "application/x-www-form-urlencoded", "origin": URL}

    answer = owner.visitor.post("/owner", content=body, headers=form)

    assert answer.status_code == status
    assert "Back to your page" in words(answer)


def test_other_ways_to_ask_are_answered(here: Desk) -> None:
    for path in ("/owner", "/owner/"):
        assert here.visitor.request("HEAD", path).status_code == 200
        refused = here.visitor.request("PUT", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
        assert refused.json()["error"] == "method_not_allowed"


def test_a_page_of_others_is_shown_a_page_and_no_data(here: Desk) -> None:
    here.sign_in()

    answer = here.visitor.get("/owner", headers={"origin": "https://evil.example"})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "set-cookie" not in answer.headers


class Away:
    """A store that can be cut off, and cannot list."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str | None, str], dict[str, Any]] = {}
        self.is_away = False

    def reach(self) -> None:
        if self.is_away:
            raise OSError("nobody there")

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        self.reach()
        return self.rows.get((collection, key))

    async def put(
        self, key: str, value: Any, *, collection: str | None = None, ttl: Any = None
    ) -> None:
        self.reach()
        self.rows[collection, key] = dict(value)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        self.reach()
        return self.rows.pop((collection, key), None) is not None


def test_a_store_that_cannot_list_or_is_away_is_said_with_a_wait(tmp_path: Path) -> None:
    store: Any = Away()
    server = AppServer(tmp_path / "state", client_storage=store)
    owner = desk(server)
    assert owner.post("sign-in", password=PASSWORD).status_code == 303

    cannot_list = owner.open()
    store.is_away = True
    away = [owner.open(), owner.post("revoke-all"), owner.post("sign-in", password=PASSWORD)]

    assert "This store cannot list" in words(cannot_list)
    for answer in (cannot_list, *away):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "Not possible now" in words(answer)
    server.stop()
