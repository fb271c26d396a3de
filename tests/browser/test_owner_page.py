"""The owner at the page `/owner`, in a real Chromium: by keyboard, without JavaScript."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from personal_auth.client import Client
from tests.browser.places import House, Place
from tests.browser.test_passkeys import Phone
from tests.support.household import CHATGPT, CLAUDE, MINUTE, connect, furnish, sign_in_elsewhere
from tests.support.ownerpage import DEEDS, desk
from tests.support.site import PASSWORD, Clock

Open = Callable[..., Any]
WORDS = re.compile(r"\s+")
NEW = "another password of some length"


@pytest.fixture(params=["public", "local"])
def place(
    request: pytest.FixtureRequest, house: House, browser: Any, tmp_path: Any, clock: Clock
) -> Any:
    """A server on https and one on localhost; each keeps its password in its state."""
    with house.place(request.param, browser, tmp_path, clock=clock, password=None) as place:
        place.site.run(place.site.provider.service.owner.change_password(PASSWORD))
        place.site.provider.service.can_narrow = True
        yield place


def text(page: Any) -> str:
    return WORDS.sub(" ", page.locator("main").inner_text())


def sign_in(page: Any, place: Place, password: str = PASSWORD) -> None:
    page.goto(f"{place.site.origin}/owner")
    page.get_by_label("Password of this server").fill(password)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your server").wait_for()


def go_to(page: Any, role: str, name: str) -> None:
    """Moves the focus by Tab, as somebody without a mouse does, to what has a name."""
    target = page.get_by_role(role, name=name, exact=True)
    for _ in range(200):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            return
    raise AssertionError(f"Tab never reaches {name}")


def open_by_key(page: Any, name: str) -> None:
    """Opens what a summary hides, by keyboard."""
    target = page.locator("summary", has_text=name).first
    for _ in range(200):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"Tab never reaches {name}")


def posts(page: Any) -> list[str]:
    """Returns a list that grows by each form which the page sends."""
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    return sent


def test_an_app_is_named_narrowed_and_disconnected_by_keyboard(
    place: Place, open_page: Open
) -> None:
    _, tokens = connect(place.site, CLAUDE)
    page = open_page()
    sign_in(page, place)

    open_by_key(page, "Name it")
    go_to(page, "textbox", "Your name for it")
    page.keyboard.type("On the phone")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="On the phone").wait_for()
    said = page.locator(":focus").inner_text()
    go_to(page, "button", "Let it only read (On the phone)")
    page.keyboard.press("Enter")
    page.get_by_text("The app may only read from now on.").wait_for()
    narrowed = place.site.run(place.site.provider.verify_token(tokens.access))
    go_to(page, "button", "Disconnect On the phone")
    page.keyboard.press("Space")
    page.get_by_text("The app is disconnected.").wait_for()

    assert said == "The name is changed."
    assert narrowed.scopes == ["tools:read"]
    assert "Nothing is connected yet." in text(page)
    assert desk(place.site).visitor.call(tokens.access).status_code == 401


def test_every_app_is_disconnected_only_after_a_second_press(place: Place, open_page: Open) -> None:
    _, first = connect(place.site, CLAUDE)
    _, second = connect(place.site, CHATGPT)
    page = open_page()
    sign_in(page, place)
    button = page.get_by_role("button", name="Disconnect all 2 now")
    hidden = button.is_hidden()

    open_by_key(page, "Disconnect every app")
    go_to(page, "button", "Disconnect all 2 now")
    page.keyboard.press("Enter")
    page.get_by_text("Every app is disconnected.").wait_for()

    assert hidden
    call = desk(place.site).visitor.call
    assert [call(each.access).status_code for each in (first, second)] == [401, 401]


def test_a_reload_after_an_action_does_nothing_again(public: Place, open_page: Open) -> None:
    connect(public.site, CLAUDE)
    page = open_page()
    sign_in(page, public)
    page.get_by_role("button", name="Disconnect Claude").click()
    page.get_by_text("The app is disconnected.").wait_for()
    sent = posts(page)

    page.reload()
    page.get_by_role("heading", name="Your server").wait_for()

    assert sent == []
    assert "The app is disconnected." not in text(page)


def test_on_localhost_a_reload_asks_for_the_password(
    house: House, browser: Any, tmp_path: Any, open_page: Open
) -> None:
    with house.place("local", browser, tmp_path) as place:
        page = open_page()
        sign_in(page, place)

        page.goto(f"{place.site.origin}/owner")

        assert page.get_by_label("Password of this server").is_visible()
        names = {cookie["name"] for cookie in page.context.cookies()}
        assert not [name for name in names if "session" in name]


def test_a_wrong_password_is_corrected_where_the_focus_is(place: Place, open_page: Open) -> None:
    page = open_page()
    page.goto(f"{place.site.origin}/owner")
    page.get_by_label("Password of this server").fill("a wrong password")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()

    title = page.title()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your server").wait_for()

    assert title.startswith("Error: ")


def test_a_new_password_is_set_by_keyboard(place: Place, open_page: Open) -> None:
    page, other = open_page(), open_page()
    sign_in(other, place)
    sign_in(page, place)

    open_by_key(page, "Change the password")
    go_to(page, "textbox", "New password")
    page.keyboard.type(NEW)
    page.keyboard.press("Tab")
    page.keyboard.type(f"{NEW}, mistyped")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="The two passwords differ").wait_for()
    page.keyboard.type(NEW)
    page.keyboard.press("Tab")
    page.keyboard.type(NEW)
    page.keyboard.press("Enter")
    page.get_by_text("The password is changed.").wait_for()

    other.get_by_role("button", name="Sign out").first.click()
    other.get_by_label("Password of this server").wait_for()
    assert "You are signed out." in text(other)
    sign_in(open_page(), place, NEW)


def test_another_browser_is_signed_out(place: Place, open_page: Open) -> None:
    other = sign_in_elsewhere(place.site)
    page = open_page()
    sign_in(page, place)

    go_to(page, "button", "Sign out Safari on iPhone")
    page.keyboard.press("Enter")
    page.get_by_text("That browser is signed out.").wait_for()

    sessions = place.site.provider.service.owner.sessions
    assert not place.site.run(sessions.holds(other))
    assert "Chrome on Linux this one" in text(page)


def test_what_matters_most_asks_to_sign_in_again(
    place: Place, open_page: Open, clock: Clock
) -> None:
    page = open_page()
    sign_in(page, place)
    clock.advance(11 * MINUTE)

    page.get_by_text("Change the password").click()
    page.get_by_label("New password").fill(NEW)
    page.get_by_label("The same again").fill(NEW)
    page.keyboard.press("Enter")
    page.get_by_label("Password of this server").wait_for()
    asked = text(page)
    page.get_by_label("Password of this server").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your server").wait_for()

    assert "Sign in again to do this. Nothing was changed." in asked
    assert place.site.run(place.site.provider.service.owner.sessions.listed(None))
    assert desk(place.site).post("sign-in", password=NEW).status_code == 403


def test_a_passkey_is_made_and_opens_the_page(place: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    phone = Phone.of(page, place)
    sign_in(page, place)

    page.get_by_text("Add a passkey").click()
    page.get_by_label("A name for it").fill("My phone")
    page.get_by_role("button", name="Make the passkey").click()
    page.get_by_text("The passkey is added").wait_for()
    made = text(page)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_text("You are signed out.").wait_for()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("heading", name="Your server").wait_for()

    assert "My phone Never used" in made
    assert len(phone.kept()) == 1
    assert "My phone Used just now" in text(page)
    assert "by the passkey My phone" in text(page)


def test_without_a_passkey_at_hand_the_page_says_so(place: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    Phone.of(page, place, isUserVerified=False, automaticPresenceSimulation=False)
    sign_in(page, place)

    page.get_by_text("Add a passkey").click()
    page.evaluate(
        "() => { navigator.credentials.create = async () => { throw new DOMException() } }"
    )
    page.get_by_role("button", name="Make the passkey").click()

    page.get_by_role("alert").filter(has_text="No passkey was made").wait_for()


def test_when_the_password_is_off_a_passkey_signs_in(place: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    Phone.of(page, place)
    sign_in(page, place)
    page.get_by_text("Add a passkey").click()
    page.get_by_role("button", name="Make the passkey").click()
    page.get_by_text("The passkey is added").wait_for()

    page.get_by_text("Sign in by passkey only").click()
    page.get_by_role("button", name="Switch the password off").click()
    page.get_by_text("Only your passkeys sign you in from now on.").wait_for()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.get_by_text("You are signed out.").wait_for()
    asked = page.get_by_label("Password of this server").count()
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_role("heading", name="Your server").wait_for()

    assert asked == 0
    assert "It is switched off: only your passkeys sign you in." in text(page)


def test_a_page_of_somebody_else_can_do_none_of_it(place: Place, open_page: Open) -> None:
    gid, tokens = connect(place.site, CLAUDE)
    page = open_page(java_script_enabled=True)
    sign_in(page, place)
    inputs = "".join(
        f'<input name="{name}" value="{value}">'
        for name, value in {"id": gid, "name": "x", "again": NEW, "new-password": NEW}.items()
    )
    for do in DEEDS:
        place.host.show(
            "/lure",
            f'<form method="post" action="{place.site.origin}/owner">{inputs}'
            f'<input name="do" value="{do}"><button>Win</button></form>',
        )
        page.goto("https://evil.example/lure")
        page.get_by_role("button", name="Win").click()
        page.get_by_role("heading", name="That was not possible").wait_for()

    assert "The form was not sent from" in text(page)
    assert desk(place.site).visitor.call(tokens.access).status_code == 200
    assert desk(place.site).post("sign-in", password=NEW).status_code == 403


def test_a_page_of_somebody_else_cannot_frame_or_read_it(public: Place, open_page: Open) -> None:
    connect(public.site, CLAUDE)
    page = open_page(java_script_enabled=True)
    sign_in(page, public)
    address = f"{public.site.origin}/owner"
    public.host.show("/lure", f'<iframe src="{address}"></iframe>')

    page.goto("https://evil.example/lure")
    frame = page.frames[1]
    read = page.evaluate(
        "url => fetch(url, {credentials: 'include'}).then(a => a.text(), error => error.name)",
        address,
    )

    assert "Claude" not in frame.content()
    assert read == "TypeError"


def test_a_window_of_somebody_else_is_cut_off_from_it(public: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    sign_in(page, public)
    public.host.show("/lure", "<p>Hello.")
    page.goto("https://evil.example/lure")

    with page.expect_popup() as opened:
        page.evaluate("url => { window.there = window.open(url) }", f"{public.site.origin}/owner")
    opened.value.wait_for_load_state()

    assert opened.value.evaluate("window.opener") is None
    page.wait_for_function("window.there.closed")  # this page hears of it a moment later


def test_names_of_right_to_left_letters_turn_nothing_around(public: Place, open_page: Open) -> None:
    name = "\u202eedualC \u05e9\u05dc\u05d5\u05dd"
    connect(public.site, Client("c1.x", name, CHATGPT.redirect_uris))
    page = open_page()
    sign_in(page, public)

    heading = page.locator("h3").bounding_box()
    tag = page.get_by_text("unverified", exact=True).bounding_box()

    assert heading["x"] < tag["x"]


def test_the_links_lead_to_the_parts_of_the_page(public: Place, open_page: Open) -> None:
    furnish(public.site)
    page = open_page(viewport={"width": 320, "height": 640})
    sign_in(page, public)

    for name, heading in [("Passkeys", "Passkeys"), ("Browsers", "Signed-in browsers")]:
        go_to(page, "link", name)
        page.keyboard.press("Enter")
        box = page.get_by_role("heading", name=heading, exact=True).bounding_box()
        assert 0 <= box["y"] < 640
