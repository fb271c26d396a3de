"""The owner decides, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from personal_auth import PersonalAuthProvider
from tests.browser.places import House, Place
from tests.support.site import PASSWORD, App, Clock
from tests.support.site import ticket as ticket_of

Open = Callable[..., Any]
WORDS = re.compile(r"\s+")


def answer(page: Any, password: str | None = None, decision: str = "Approve") -> None:
    if password is not None:
        page.get_by_label("Password of this server").fill(password)
    page.get_by_role("button", name=decision).press("Enter")


def arrive(page: Any, place: Place) -> dict[str, str]:
    """Waits until the browser is at the app's callback; returns what came with it."""
    page.wait_for_url(f"{place.callback}?**")
    return place.answers[-1]


def text(page: Any) -> str:
    return WORDS.sub(" ", page.locator("main").inner_text())


def posts(page: Any) -> list[str]:
    """Returns a list that grows by each form which the page sends."""
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
    return sent


def test_approve_takes_the_code_to_the_app(place: Place, open_page: Open) -> None:
    page, app = open_page(), place.app()

    page.goto(place.address(app))
    page.get_by_label("Password of this server").fill(PASSWORD)
    page.get_by_role("button", name="Approve").click()

    came = arrive(page, place)
    assert came["iss"] == place.site.origin
    assert came["state"] == "some state"
    assert len(place.answers) == 1
    assert not [visit for visit in place.host.visits if visit.startswith("POST")]
    assert page.title() == "App"
    tokens = app.redeem(came["code"]).json()
    assert place.site.visitor().call(tokens["access_token"]).status_code == 200


def test_deny_takes_a_refusal_to_the_app_and_needs_no_password(
    place: Place, open_page: Open
) -> None:
    page = open_page()

    page.goto(place.address(place.app()))
    answer(page, decision="Deny")

    assert arrive(page, place) == {
        "error": "access_denied",
        "error_description": "The connection was denied on the server's page.",
        "iss": place.site.origin,
        "state": "some state",
    }


def test_a_wrong_password_can_be_corrected_at_once(public: Place, open_page: Open) -> None:
    page, app = open_page(), public.app()

    page.goto(public.address(app))
    answer(page, "a wrong password")
    field, alert = page.get_by_label("Password of this server"), page.get_by_role("alert")

    assert "That is not the password of this server." in alert.inner_text()
    assert page.title().startswith("Error: ")
    assert field.get_attribute("aria-invalid") == "true"
    assert alert.get_attribute("id") in (field.get_attribute("aria-describedby") or "").split()
    assert page.locator(":focus").get_attribute("name") == "password"
    assert field.input_value() == ""
    assert public.answers == []
    answer(page, PASSWORD)
    assert app.redeem(arrive(page, public)["code"]).status_code == 200


def test_a_wait_is_said_in_seconds_and_passes(public: Place, open_page: Open, clock: Clock) -> None:
    page, app = open_page(), public.app()
    page.goto(public.address(app))
    for _ in range(5):
        guess = public.site.visitor()
        form = {"ticket": ticket_of(guess.get("/authorize", params=app.query()))}
        guess.submit(**form, password="a wrong password", decision="approve")

    with page.expect_response("**/authorize*") as waiting:
        answer(page, PASSWORD)

    assert waiting.value.status == 429
    assert re.search(r"wait \d+ s, then try again", page.get_by_role("alert").inner_text())
    clock.advance(int(waiting.value.headers["retry-after"]))
    answer(page, PASSWORD)
    assert "code" in arrive(page, public)


def test_a_signed_in_owner_is_asked_for_no_password(public: Place, open_page: Open) -> None:
    page, second = open_page(), public.app(client_name="Second app")
    page.goto(public.address(public.app()))
    answer(page, PASSWORD)
    arrive(page, public)

    page.goto(public.address(second))
    fields, words = page.locator("input:not([type=hidden])").count(), text(page)
    answer(page)

    assert fields == 0
    assert "“Second app”" in words
    assert "no password is asked" in words
    page.wait_for_url(f"{public.callback}?**")
    assert second.redeem(public.answers[-1]["code"]).status_code == 200


def test_on_localhost_the_password_is_asked_each_time_and_no_other_port_gets_a_session(
    house: House, browser: Any, tmp_path: Path, clock: Clock, open_page: Open
) -> None:
    with house.place("local", browser, tmp_path, clock=clock) as local:
        page, second = open_page(), local.app(client_name="Second app")
        page.goto(local.address(local.app()))
        answer(page, PASSWORD)
        arrive(page, local)

        page.goto(local.address(second))

        assert page.get_by_label("Password of this server").count() == 1
        assert not [cookie for cookie in page.context.cookies() if "session" in cookie["name"]]


def test_an_expired_session_asks_for_the_password_again(
    public: Place, open_page: Open, clock: Clock
) -> None:
    page = open_page()
    page.goto(public.address(public.app()))
    answer(page, PASSWORD)
    arrive(page, public)
    page.goto(public.address(public.app()))
    before = page.locator("input[type=password]").count()

    clock.advance(12 * 60 * 60 + 1)
    answer(page)  # of a page that was shown while the session lasted: too old by now
    late = text(page)
    page.goto(public.address(public.app()))

    assert before == 0
    assert "This page is out of date" in late
    assert page.get_by_label("Password of this server").is_visible()
    assert len(public.answers) == 1


def test_two_quick_clicks_give_one_code(public: Place, open_page: Open) -> None:
    page, app = open_page(), public.app()
    page.goto(public.address(app))
    page.get_by_label("Password of this server").fill(PASSWORD)

    page.get_by_role("button", name="Approve").dblclick()

    came = arrive(page, public)
    assert {each["code"] for each in public.answers} == {came["code"]}
    assert app.redeem(came["code"]).status_code == 200


def test_approving_again_after_the_app_has_its_token_says_done(
    public: Place, open_page: Open
) -> None:
    page, app = open_page(java_script_enabled=True), public.app()
    page.goto(public.address(app))
    page.get_by_label("Password of this server").fill(PASSWORD)
    page.evaluate("document.forms[0].target = '_blank'")  # so that the page stays

    def press() -> Any:
        with page.context.expect_page() as opened:
            page.get_by_role("button", name="Approve").click()
        return opened.value

    codes = [arrive(press(), public)["code"] for _ in range(2)]
    redeemed = app.redeem(codes[0])
    third = press()

    assert codes[0] == codes[1]
    assert redeemed.status_code == 200
    third.wait_for_selector("h1")
    assert third.locator("h1").inner_text() == "Done"
    assert len(public.answers) == 2
    assert app.refresh(redeemed.json()["refresh_token"]).status_code == 200


def test_the_keyboard_suffices_and_enter_approves(public: Place, open_page: Open) -> None:
    page, app = open_page(), public.app()
    page.goto(public.address(app))

    page.keyboard.press("Tab")
    first = page.locator(":focus").get_attribute("name")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    assert first == "password"
    assert app.redeem(arrive(page, public)["code"]).status_code == 200


def test_the_keyboard_holds_an_app_to_reading(public: Place, open_page: Open) -> None:
    public.site.provider.service.can_narrow = True
    page, app = open_page(), public.app()

    page.goto(public.address(app))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("not the password")
    page.keyboard.press("Enter")
    box = page.get_by_role("checkbox", name="Only let it read")
    kept = box.is_checked()
    answer(page, PASSWORD)

    assert kept
    assert app.redeem(arrive(page, public)["code"]).json()["scope"] == "tools:read"


def test_the_keyboard_reaches_deny_with_the_field_empty(public: Place, open_page: Open) -> None:
    page, names = open_page(), []
    page.goto(public.address(public.app()))

    for _ in range(3):
        page.keyboard.press("Tab")
        names.append(page.locator(":focus").get_attribute("value"))
    page.keyboard.press("Enter")

    assert names == [None, "approve", "deny"]
    assert arrive(page, public)["error"] == "access_denied"


def test_enter_in_an_empty_field_sends_nothing(public: Place, open_page: Open) -> None:
    page = open_page()
    page.goto(public.address(public.app()))
    sent = posts(page)

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Approve").click()
    unsent = list(sent)
    answer(page, PASSWORD)  # the same listener hears this one

    assert unsent == []
    arrive(page, public)
    assert len(sent) == 1


def test_cookies_of_an_https_server_are_locked_to_it(public: Place, open_page: Open) -> None:
    page = open_page()
    page.goto(public.address(public.app()))
    answer(page, PASSWORD)
    arrive(page, public)

    cookies = page.context.cookies()

    assert {cookie["name"] for cookie in cookies} == {
        "__Host-pa_browser",
        "__Host-pa_session",
        "__Host-pa_device",
    }
    for cookie in cookies:
        assert (cookie["secure"], cookie["httpOnly"]) == (True, True)
        assert (cookie["sameSite"], cookie["path"]) == ("Lax", "/")
        assert cookie["domain"] == "mcp.example.com"


def test_nothing_but_the_page_itself_is_asked_for(place: Place, open_page: Open) -> None:
    page, asked, complaints = open_page(), [], []
    page.context.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(place.address(place.app(client_name="<img src=https://evil.example/x>")))
    answer(page, "a wrong password")
    page.get_by_role("alert").wait_for()
    page.goto(place.address(place.app(), client_id="unknown"))
    page.wait_for_load_state("networkidle")

    assert len(asked) == 3, asked
    assert {urlsplit(url).path for url in asked} == {"/authorize"}
    assert all(url.startswith(f"{place.site.origin}/") for url in asked)
    assert not [each for each in complaints if "Content Security Policy" in each]


def test_an_unknown_app_is_told_what_to_delete(place: Place, open_page: Open) -> None:
    page, app = open_page(), place.app()

    response = page.goto(place.address(app, client_id="c1-7-from-another-time"))

    words = text(page)
    assert response.status == 400
    assert page.locator("h1").inner_text() == "This server does not know the app"
    assert ".mcp-auth" in words
    assert "Remove this server there and add it again." in words
    assert place.answers == []


def test_a_foreign_redirect_stays_on_a_page_of_ours(public: Place, open_page: Open) -> None:
    foreign = "https://evil.example/callback"
    page, app = open_page(), App.register(public.site, foreign)

    page.goto(public.address(app))

    assert "evil.example" in text(page)
    assert page.locator("form").count() == 0
    assert page.url.startswith(public.site.origin)
    assert public.host.visits == []


def test_with_every_host_allowed_a_strangers_deny_stays_here(
    house: House, browser: Any, tmp_path: Path, open_page: Open
) -> None:
    page = open_page()
    with house.place("public", browser, tmp_path, allowed_redirect_domains=None) as place:
        page.goto(place.address(App.register(place.site, "https://evil.example/callback")))
        answer(page, decision="Deny")
        page.get_by_role("heading", name="Denied").wait_for()

        assert place.host.visits == []


def test_the_page_does_not_show_in_a_frame(public: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    ours, theirs = public.address(public.app()), "https://claude.ai/hello"
    frames = f'<iframe src="{theirs}"></iframe><iframe src="{ours.replace("&", "&amp;")}"></iframe>'
    public.host.show("/trap", frames)

    page.goto("https://evil.example/trap")
    page.wait_for_load_state("networkidle")

    shown = [frame.url for frame in page.frames]
    assert shown == ["https://evil.example/trap", theirs, "chrome-error://chromewebdata/"]
    assert all(frame.locator("form").count() == 0 for frame in page.frames)


@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_a_form_on_another_site_decides_nothing(
    public: Place, open_page: Open, decision: str
) -> None:
    page = open_page()
    page.goto(public.address(public.app()))
    answer(page, PASSWORD)
    arrive(page, public)
    public.host.forget()
    page.goto(public.address(public.app()))
    ticket = page.locator("input[name=ticket]").get_attribute("value")  # even if it leaks
    public.host.show(
        "/trap",
        f'<form method="post" action="{public.site.origin}/authorize">'
        f'<input name="ticket" value="{ticket}"><input name="password" value="{PASSWORD}">'
        f'<button name="decision" value="{decision}">Win a prize</button></form>',
    )

    page.goto("https://evil.example/trap")
    with page.expect_response(f"{public.site.origin}/authorize") as refused:
        page.get_by_role("button").click()

    assert refused.value.status == 400
    assert "The form was not sent from https://mcp.example.com" in text(page)
    assert public.answers == []


def test_a_click_meant_for_a_window_that_just_closed_does_not_approve(
    public: Place, open_page: Open
) -> None:
    page = open_page()
    page.goto(public.address(public.app()))
    answer(page, PASSWORD)
    arrive(page, public)
    page.goto(public.address(public.app()))
    sent = posts(page)
    box = page.get_by_role("button", name="Approve").bounding_box()
    page.mouse.move(1, 1)
    time = page.context.new_cdp_session(page)
    time.send("Animation.enable")
    time.send("Animation.setPlaybackRate", {"playbackRate": 0})  # the moment of arrival lasts

    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.up()
    page.locator("h1").click()
    at_once = list(sent)
    time.send("Animation.setPlaybackRate", {"playbackRate": 1})
    page.get_by_role("button", name="Approve").click()

    assert at_once == []
    arrive(page, public)
    assert len(sent) == 1


def test_an_app_that_opened_a_popup_hears_of_the_answer(public: Place, open_page: Open) -> None:
    page = open_page(java_script_enabled=True)
    address = public.address(public.app())
    hears = "<script>onmessage = event => { document.title = event.data }</script>"
    button = f"<button onclick='window.open(`{address}`)'>Connect</button>"
    public.host.show("/app", button + hears)
    public.host.show(public.path, "<script>opener.postMessage('connected', origin)</script>")

    page.goto("https://claude.ai/app")
    with page.expect_popup() as popup:
        page.get_by_role("button").click()
    answer(popup.value, PASSWORD)
    page.wait_for_function("document.title === 'connected'", polling=50)

    assert "code" in public.answers[-1]


class FormAction:
    """Adds to the page's policy what stops the way to the app."""

    def __init__(self, app: ASGIApp, answered: list[int]) -> None:
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered.append(message["status"])
                headers = MutableHeaders(scope=message)
                if policy := headers.get("content-security-policy"):
                    headers["content-security-policy"] = f"{policy}; form-action 'self'"
            await send(message)

        await self._app(scope, receive, sending)


def test_form_action_in_the_policy_would_be_noticed_here(
    house: House, browser: Any, tmp_path: Path, open_page: Open
) -> None:
    answered: list[int] = []

    class WithFormAction(PersonalAuthProvider):
        def get_middleware(self) -> list[Middleware]:
            return [Middleware(FormAction, answered=answered), *super().get_middleware()]

    page, options = open_page(), {"provider_class": WithFormAction}
    with house.place("public", browser, tmp_path, **options) as place:
        page.goto(place.address(place.app()))
        with page.expect_console_message() as complaint:
            answer(page, PASSWORD)

        assert "form-action 'self'" in complaint.value.text
        assert answered[-1] == 303
        assert place.answers == []
