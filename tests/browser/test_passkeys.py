"""Passkeys in a real Chromium, with its virtual authenticator."""

from __future__ import annotations

import asyncio
import base64
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import pytest

from personal_auth.keyring import Passkey
from personal_auth.owner import Owner
from personal_auth.pages import FOLDER
from tests.browser.places import Place
from tests.support.authenticator import Authenticator, enrol
from tests.support.site import PASSWORD

Open = Callable[..., Any]
USUAL = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class Phone:
    """A browser whose device has a virtual authenticator."""

    page: Any
    place: Place
    tools: Any
    id: str

    @classmethod
    def of(cls, page: Any, place: Place, **options: Any) -> Phone:
        tools = page.context.new_cdp_session(page)
        tools.send("WebAuthn.enable")
        added = tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**USUAL, **options}})
        return cls(page, place, tools, added["authenticatorId"])

    def keep(self, device: Authenticator) -> None:
        """Puts a passkey into the authenticator."""
        credential = {
            "credentialId": base64.b64encode(device.credential).decode(),
            "isResidentCredential": True,
            "rpId": device.rp_id,
            "privateKey": device.private_key,
            "userHandle": base64.b64encode(base64.urlsafe_b64decode(device.user + "==")).decode(),
            "signCount": device.count,
        }
        self.tools.send(
            "WebAuthn.addCredential", {"authenticatorId": self.id, "credential": credential}
        )

    def kept(self) -> list[dict[str, Any]]:
        """Returns the passkeys in the authenticator."""
        found = self.tools.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        return list(found["credentials"])

    def count(self, count: int) -> None:
        """Sets the count of the one passkey, as a copy that was made earlier has it."""
        (credential,) = self.kept()
        self.tools.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})
        self.tools.send(
            "WebAuthn.addCredential",
            {"authenticatorId": self.id, "credential": {**credential, "signCount": count}},
        )

    def ask(self) -> None:
        """Opens the consent page of an app."""
        self.page.goto(self.place.address(self.place.app()))

    def press(self) -> None:
        self.page.get_by_role("button", name="Approve with a passkey").click()

    def arrive(self) -> dict[str, str]:
        self.page.wait_for_url(f"{self.place.callback}?**")
        return self.place.answers[-1]

    @property
    def alert(self) -> str:
        found = self.page.get_by_role("alert").filter(has_text=re.compile("."))
        found.wait_for()
        return str(found.inner_text())


def owner_of(place: Place) -> Owner:
    return place.site.provider.service.owner


def run(place: Place, call: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(call, place.site.loop).result(20)


@pytest.fixture
def phone(place: Place, open_page: Open) -> Phone:
    """A phone with a passkey that is enrolled."""
    phone = Phone.of(open_page(java_script_enabled=True), place)
    device = Authenticator(place.site.origin)
    run(place, enrol(owner_of(place), device))
    phone.keep(device)
    return phone


def passkeys(place: Place) -> list[Passkey]:
    listed: list[Passkey] = run(place, owner_of(place).keyring.listed())
    return listed


def test_a_passkey_approves_on_the_phone_that_adds_the_app(phone: Phone) -> None:
    app = phone.place.app()
    phone.page.goto(phone.place.address(app))

    phone.press()

    code = phone.arrive()["code"]
    assert app.redeem(code).status_code == 200
    (passkey,) = passkeys(phone.place)
    assert passkey.count > 0
    assert passkey.last_used is not None


def test_enter_on_the_button_suffices(phone: Phone) -> None:
    phone.ask()

    phone.page.keyboard.press("Tab")
    focused = phone.page.locator(":focus").inner_text()
    phone.page.keyboard.press("Enter")

    assert focused == "Approve with a passkey"
    assert "code" in phone.arrive()


def test_the_password_approves_beside_the_passkey_with_and_without_javascript(
    phone: Phone, open_page: Open
) -> None:
    without = open_page()
    for page in (phone.page, without):
        page.goto(phone.place.address(phone.place.app()))
        page.get_by_label("Password of this server").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{phone.place.callback}?**")

    without.goto(phone.place.address(phone.place.app(client_name="Another")))
    assert without.get_by_role("button", name="Approve with a passkey").count() == 0
    assert len(phone.place.answers) == 2


def test_two_quick_clicks_ask_once_and_give_one_code(phone: Phone) -> None:
    app = phone.place.app()
    phone.page.goto(phone.place.address(app))

    phone.page.get_by_role("button", name="Approve with a passkey").dblclick()

    code = phone.arrive()["code"]
    assert {each["code"] for each in phone.place.answers} == {code}
    assert app.redeem(code).status_code == 200


def test_a_page_that_asks_for_a_passkey_asks_for_nothing_else(phone: Phone) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    phone.page.context.on("request", lambda request: asked.append(request.url))
    phone.page.on("console", lambda message: complaints.append(message.text))
    phone.page.on("pageerror", lambda error: complaints.append(str(error)))

    phone.ask()
    phone.press()
    phone.arrive()

    ours = [url for url in asked if url.startswith(f"{phone.place.site.origin}/")]
    assert len(ours) == 2
    assert complaints == []


def test_the_policy_of_the_page_runs_no_other_script(phone: Phone) -> None:
    phone.ask()
    title = phone.page.title()

    broken = phone.page.evaluate(
        """async () => {
            const broken = [];
            addEventListener('securitypolicyviolation', e => broken.push(e.effectiveDirective));
            await import('data:text/javascript,document.title=1').catch(() => {});
            try { document.body.innerHTML = '<p>x' } catch (error) { broken.push(error.name) }
            const image = document.createElement('img');
            image.src = '/image';
            await new Promise(after => image.onerror = after);
            return broken;
        }"""
    )

    assert {"script-src-elem", "TypeError", "img-src"} <= set(broken)
    assert phone.page.title() == title


def test_a_phone_without_a_passkey_of_this_server_is_told_so_and_can_go_on(
    place: Place, open_page: Open
) -> None:
    run(place, enrol(owner_of(place), Authenticator(place.site.origin)))
    phone = Phone.of(open_page(java_script_enabled=True), place)
    phone.ask()

    phone.press()

    assert "this device has none for this server" in phone.alert
    assert "or use the password" in phone.alert
    assert phone.page.locator(":focus").inner_text() == "Approve with a passkey"
    phone.page.get_by_label("Password of this server").fill(PASSWORD)
    phone.page.keyboard.press("Enter")
    assert "code" in phone.arrive()


def test_a_device_that_does_not_verify_its_user_approves_nothing(
    phone: Phone,
) -> None:
    phone.tools.send(
        "WebAuthn.setUserVerified", {"authenticatorId": phone.id, "isUserVerified": False}
    )
    phone.ask()

    phone.press()

    assert "No passkey was used" in phone.alert
    assert phone.place.answers == []


def test_a_removed_passkey_is_refused_with_what_to_do(phone: Phone) -> None:
    place, (passkey,) = phone.place, passkeys(phone.place)
    run(place, enrol(owner_of(place), Authenticator(place.site.origin), "Another"))
    phone.ask()
    run(place, owner_of(place).keyring.remove(passkey.id))

    phone.press()

    assert "was removed, or made for another server" in phone.alert
    assert "Nothing is connected yet." in phone.alert
    assert place.answers == []


def test_a_cloned_passkey_is_refused_with_what_to_do(phone: Phone) -> None:
    phone.count(7)
    phone.ask()
    phone.press()
    phone.arrive()
    phone.count(7)
    phone.page.context.clear_cookies()
    phone.ask()

    phone.press()

    assert "its count went back, as that of a copy does" in phone.alert
    assert len(phone.place.answers) == 1


def test_a_replayed_answer_is_refused(phone: Phone, open_page: Open) -> None:
    sent: list[str] = []
    phone.page.on("request", lambda r: sent.append(r.post_data) if r.method == "POST" else None)
    phone.ask()
    cookies = phone.page.context.cookies()
    phone.press()
    phone.arrive()
    form = {name: value[0] for name, value in parse_qs(sent[0]).items()}

    thief = phone.place.site.visitor(origin=phone.place.site.origin)
    thief.cookies = {cookie["name"]: cookie["value"] for cookie in cookies}
    refused = thief.post("/authorize", data=form)

    assert refused.status_code == 403
    assert "was used already" in refused.text


def test_another_site_cannot_ask_for_a_passkey_of_this_server(
    public: Place, open_page: Open
) -> None:
    phone = Phone.of(open_page(java_script_enabled=True), public)
    device = Authenticator(public.site.origin)
    run(public, enrol(owner_of(public), device))
    phone.keep(device)
    public.host.show("/trap", "<p>A prize.")
    phone.ask()
    options = phone.page.locator("[data-options]").get_attribute("data-options")
    script = (FOLDER / "passkeys.js").read_text()
    trap = (
        f'<form method="post" action="{public.site.origin}/authorize"><input name="assertion">'
        '<p role="alert" data-passkey-trouble></p><button type="button" data-passkey="get"'
        f' data-options="{html.escape(options)}">Win a prize</button></form>'
        f"<script>{script}</script>"
    )
    public.host.show("/trap", trap)

    phone.page.goto("https://evil.example/trap")
    phone.page.get_by_role("button").click()

    assert "Browsers allow passkeys only at the server’s own name" in phone.alert
    assert public.answers == []


# The password switched off


def test_with_the_password_off_only_the_passkey_approves(phone: Phone, open_page: Open) -> None:
    place = phone.place
    run(place, owner_of(place).switch_password_off())
    without = open_page()
    without.goto(place.address(place.app()))
    words = without.locator("main").inner_text()
    without.get_by_role("button", name="Approve with a passkey").click()
    refused = without.get_by_role("alert").filter(has_text="JavaScript")
    refused.wait_for()

    phone.ask()
    fields = phone.page.locator("input[type=password]").count()
    buttons = phone.page.locator("button").evaluate_all("all => all.map(each => each.value)")
    phone.press()

    assert "password of this server is switched off, and a passkey needs JavaScript" in words
    assert (fields, buttons) == (0, ["approve", "deny"])
    assert "code" in phone.arrive()
    assert len(place.answers) == 1


def test_after_the_last_passkey_is_gone_the_password_approves_again(phone: Phone) -> None:
    place, (passkey,) = phone.place, passkeys(phone.place)
    run(place, owner_of(place).switch_password_off())
    run(place, owner_of(place).keyring.remove(passkey.id))

    phone.ask()
    phone.page.get_by_label("Password of this server").fill(PASSWORD)
    phone.page.keyboard.press("Enter")

    assert "code" in phone.arrive()


def test_a_browser_that_knows_no_passkeys_does_not_offer_them(
    place: Place, open_page: Open
) -> None:
    run(place, enrol(owner_of(place), Authenticator(place.site.origin)))
    page = open_page(java_script_enabled=True)
    page.add_init_script("delete window.PublicKeyCredential")

    page.goto(place.address(place.app()))
    hidden = page.get_by_role("button", name="Approve with a passkey").count()
    run(place, owner_of(place).switch_password_off())
    page.goto(place.address(place.app()))

    assert hidden == 0
    assert "open this page in another one" in page.get_by_role("alert").inner_text()


# On the owner's page


@pytest.fixture
def new_phone(place: Place, open_page: Open) -> Phone:
    """A phone that can keep passkeys and has none."""
    return Phone.of(open_page(java_script_enabled=True), place)


def open_owners_page(phone: Phone) -> None:
    phone.page.goto(f"{phone.place.site.origin}/owner")
    phone.page.get_by_label("Password of this server").fill(PASSWORD)
    phone.page.keyboard.press("Enter")
    phone.page.get_by_role("heading", name="Passkeys").wait_for()


def add_passkey(phone: Phone, name: str = "My phone") -> None:
    section = phone.page.get_by_role("region", name="Passkeys")
    section.get_by_text("Add a passkey").click()
    section.get_by_label("A name for it").fill(name)
    section.get_by_role("button", name="Make the passkey").click()


def said(phone: Phone, sentence: str) -> None:
    """Waits until the page says a sentence."""
    phone.page.get_by_role("status").filter(has_text=sentence).wait_for()


def test_a_passkey_is_made_on_the_owners_page_and_approves(new_phone: Phone) -> None:
    open_owners_page(new_phone)
    add_passkey(new_phone)
    said(new_phone, "The passkey is added")
    section = new_phone.page.get_by_role("region", name="Passkeys")
    listed = section.get_by_role("listitem").filter(has_text="My phone").inner_text()
    new_phone.page.context.clear_cookies()
    new_phone.ask()
    new_phone.press()

    assert "Never used" in listed
    (kept,) = new_phone.kept()
    assert kept["isResidentCredential"]
    assert "code" in new_phone.arrive()


def test_the_owner_signs_in_by_passkey_and_sees_how(phone: Phone) -> None:
    phone.page.goto(f"{phone.place.site.origin}/owner")

    phone.page.get_by_role("button", name="Sign in with a passkey").click()

    browsers = phone.page.get_by_role("region", name="Signed-in browsers")
    this = browsers.get_by_role("listitem").filter(has_text="this one")
    this.wait_for()
    assert "by the passkey A phone" in this.inner_text()


def test_from_a_password_to_passkeys_only_and_back(new_phone: Phone) -> None:
    page, place = new_phone.page, new_phone.place
    open_owners_page(new_phone)
    add_passkey(new_phone)
    said(new_phone, "The passkey is added")
    page.get_by_text("Sign in by passkey only").click()
    page.get_by_role("button", name="Switch the password off").click()
    said(new_phone, "Only your passkeys sign you in")
    page.get_by_role("button", name="Sign out", exact=True).click()
    button = page.get_by_role("button", name="Sign in with a passkey")
    button.wait_for()
    fields = page.locator("input[type=password]").count()
    button.click()
    page.get_by_text("It is switched off: only your passkeys sign you in.").wait_for()

    page.get_by_text("Remove it (My phone)").click()
    page.get_by_role("button", name="Remove it now").click()

    # On https the page is asked for again, and the session that the passkey opened has ended.
    page.get_by_text("The passkey is removed").wait_for()
    open_owners_page(new_phone)
    assert fields == 0
    assert run(place, owner_of(place).password_is_on())
    assert passkeys(place) == []


def test_a_device_is_enrolled_once(phone: Phone) -> None:
    open_owners_page(phone)

    add_passkey(phone)

    assert "has a passkey for this server already" in phone.alert
    assert len(phone.kept()) == 1
    assert len(passkeys(phone.place)) == 1


@pytest.mark.parametrize("missing", ["hasUserVerification", "hasResidentKey"])
def test_a_device_that_cannot_tell_who_uses_it_or_keep_a_passkey_enrols_none(
    place: Place, open_page: Open, missing: str
) -> None:
    more = {"isUserVerified": False} if missing == "hasUserVerification" else {}
    phone = Phone.of(open_page(java_script_enabled=True), place, **{missing: False, **more})
    open_owners_page(phone)

    add_passkey(phone)

    assert "Try again" in phone.alert
    assert (phone.kept(), passkeys(place)) == ([], [])
